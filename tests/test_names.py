"""Names: each imported name is defined in one module, and names in docstrings exist."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

import deepscan

PACKAGE = Path(deepscan.__file__).parent


def owners(package: Path) -> dict[str, set[str]]:
    """Return the modules that define each name that is imported somewhere.

    Names that are used through their module (`runfile.read`) may be short and repeat, and those of commands
    are only for the command line.
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


def test_each_imported_name_is_defined_in_one_module():
    assert {name: found for name, found in owners(PACKAGE).items() if len(found) > 1} == {}


def test_a_second_definition_is_found(tmp_path):
    package = tmp_path / "toy"
    package.mkdir()
    for name, text in (
        ("one", "class Thing:\n    pass\n\n\ndef read():\n    pass\n"),
        ("two", "Thing: int = 3\n\n\ndef read():\n    pass\n"),
        ("user", "from toy.one import Thing\n\n\ndef use():\n    from toy.two import Thing\n"),
    ):
        (package / f"{name}.py").write_text(text)
    assert owners(package) == {"Thing": {"toy.one", "toy.two"}}


#: Names of former packages, and suffixes by which a name in backticks is a file.
FORMER, FILES = ("scan",), (".csv", ".json", ".yaml")


def dead_references(text: str) -> list[str]:
    """Return the dotted names in backticks that begin with a module of deepscan but do not exist."""
    roots = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    dotted = re.findall(r"`((?:\w+\.)+\w+)(?:\(\))?`", text)
    return [
        name
        for name in dotted
        if name.split(".")[0] in {*roots, *FORMER} and not name.endswith(FILES) and not _exists(name)
    ]


def _exists(name: str) -> bool:
    """Return whether a dotted name is a module or a name in one, without importing anything."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        path = PACKAGE.joinpath(*parts[:end])
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if file.is_file():
            body = ast.parse(file.read_text(encoding="utf-8")).body
            return all(_defines(body, part) for part in parts[end : end + 1])
    return False


def _defines(body: list[ast.stmt], wanted: str) -> bool:
    return any(
        wanted == getattr(node, "name", getattr(node, "id", None))
        for statement in body
        for node in (statement, *ast.walk(statement))
    )


SOURCES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("part", sorted({file.relative_to(PACKAGE).parts[0] for file in SOURCES}))
def test_names_in_backticks_exist(part):
    found = {
        str(file.relative_to(PACKAGE)): dead
        for file in SOURCES
        if file.relative_to(PACKAGE).parts[0] == part
        and (dead := dead_references(file.read_text(encoding="utf-8")))
    }
    assert found == {}


def test_a_name_that_does_not_exist_is_found():
    assert (
        dead_references("`faces.finder.open_finder`, `faces.finder`, `cards.ModelCard`, `np.ndarray`") == []
    )
    assert dead_references("see `faces.finder.gone` and `scanning.claimed`") == [
        "faces.finder.gone",
        "scanning.claimed",
    ]
