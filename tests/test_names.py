"""Each name that other modules import has one owner, so that a reader who meets it knows whose it is."""

import ast
from collections import defaultdict
from pathlib import Path

import deepscan

PACKAGE = Path(deepscan.__file__).parent


def owners(package: Path) -> dict[str, set[str]]:
    """Return, for each name that is imported by name somewhere, the modules that define it.

    What is called through its module (`runfile.read`) may be short, and the functions of commands are for
    the command line alone.
    """
    defined: dict[str, set[str]] = defaultdict(set)
    imported: set[tuple[str, str]] = set()
    for file in package.rglob("*.py"):
        parts = file.relative_to(package.parent).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                defined[node.name].add(module)
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            for target in targets:
                if isinstance(target, ast.Name):
                    defined[target.id].add(module)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                imported |= {(node.module, alias.name) for alias in node.names}
    return {
        name: found
        for name, modules in defined.items()
        if (found := {module for module in modules if (module, name) in imported and ".cli" not in module})
    }


def test_each_imported_name_has_one_owner():
    assert {name: found for name, found in owners(PACKAGE).items() if len(found) > 1} == {}


def test_a_second_owner_is_found(tmp_path):
    package = tmp_path / "toy"
    package.mkdir()
    for name, text in (
        ("one", "class Thing:\n    pass\n\n\ndef read():\n    pass\n"),
        ("two", "Thing: int = 3\n\n\ndef read():\n    pass\n"),
        ("user", "from toy.one import Thing\n\n\ndef use():\n    from toy.two import Thing\n"),
    ):
        (package / f"{name}.py").write_text(text)
    assert owners(package) == {"Thing": {"toy.one", "toy.two"}}
