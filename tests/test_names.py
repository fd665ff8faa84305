"""Names: what other modules import has one owner, and what a docstring points to is there."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

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


#: Rooms that there were once, and endings by which a name in backticks is a file.
FORMER, FILES = ("scan",), (".csv", ".json", ".yaml")


def dead_references(text: str) -> list[str]:
    """Return what stands in backticks, begins with a room's name and a dot, and leads nowhere."""
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    dotted = re.findall(r"`((?:\w+\.)+\w+)(?:\(\))?`", text)
    return [
        name
        for name in dotted
        if name.split(".")[0] in {*rooms, *FORMER} and not name.endswith(FILES) and not _leads_somewhere(name)
    ]


def _leads_somewhere(name: str) -> bool:
    """Return whether a dotted name is a module, or what a module has; nothing is imported."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        path = PACKAGE.joinpath(*parts[:end])
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if file.is_file():
            body = ast.parse(file.read_text(encoding="utf-8")).body
            return all(_names(body, part) for part in parts[end : end + 1])
    return False


def _names(body: list[ast.stmt], wanted: str) -> bool:
    return any(
        wanted == getattr(node, "name", getattr(node, "id", None))
        for statement in body
        for node in (statement, *ast.walk(statement))
    )


SOURCES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("room", sorted({file.relative_to(PACKAGE).parts[0] for file in SOURCES}))
def test_names_in_backticks_lead_somewhere(room):
    found = {
        str(file.relative_to(PACKAGE)): dead
        for file in SOURCES
        if file.relative_to(PACKAGE).parts[0] == room
        and (dead := dead_references(file.read_text(encoding="utf-8")))
    }
    assert found == {}


def test_a_name_that_leads_nowhere_is_found():
    assert (
        dead_references("`faces.finder.open_finder`, `faces.finder`, `cards.ModelCard`, `np.ndarray`") == []
    )
    assert dead_references("see `faces.finder.gone` and `scanning.claimed`") == [
        "faces.finder.gone",
        "scanning.claimed",
    ]
