"""Imports run one way: from a floor to those below it, and never in a circle."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import deepscan

PACKAGE = Path(deepscan.__file__).parent
#: Rooms of the package, from the ground up; docs/architecture.md says what each is for.
FLOORS = (
    *(
        "version",
        "errors",
        "logs",
        "json_objects",
        "registry",
        "versions",
        "files",
        "cache",
        "offline",
        "devices",
        "onnx_session",
        "batching",
        "progress",
    ),
    *(
        "crop_recipe",
        "error_rates",
        "outcomes",
        "records",
        "run_description",
        "cards",
        "metrics",
        "calibration",
    ),
    *("media", "faces", "backbones", "detectors", "engines", "models", "scanning"),
    *("api", "face_scoring"),
    *("report", "data", "training", "evaluation", "analyses"),
    *("bench", "doctor", "cli", "__main__"),
)
TERMINAL = {"typer", "rich"}
Imports = dict[str, set[str]]


def imports(package: Path) -> Imports:
    """Return what each module of a package imports, wherever in it the import stands."""
    files = {}
    for file in package.rglob("*.py"):
        parts = file.relative_to(package.parent).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    found: Imports = {}
    for module, file in files.items():
        named = found.setdefault(module, set())
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                named |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                named |= {name if name in files else node.module for name in inner}
    return found


def room(module: str) -> str:
    """Return the part of a module's name that says on which floor it is."""
    return module.split(".")[1]


def upward(found: Imports, floors: tuple[str, ...]) -> list[str]:
    """Return the imports from a floor above, in words."""
    name = next(iter(found)).split(".")[0]
    return [
        f"{module} imports {target}"
        for module, targets in sorted(found.items())
        for target in sorted(targets)
        if module != name and target.startswith(f"{name}.")
        if floors.index(room(target)) > floors.index(room(module))
    ]


@pytest.fixture(scope="module")
def product() -> Imports:
    return imports(PACKAGE)


def test_every_room_is_on_a_floor(product):
    assert {room(module) for module in product if module != "deepscan"} == set(FLOORS)


def test_no_module_imports_from_a_floor_above(product):
    assert upward(product, FLOORS) == []


def test_no_modules_import_each_other_in_a_circle(product):
    TopologicalSorter(
        {module: {target for target in targets if target in product} for module, targets in product.items()}
    ).prepare()


def test_only_the_command_line_imports_what_draws_in_a_terminal(product):
    drawing = {
        module
        for module, targets in product.items()
        if TERMINAL & {target.split(".")[0] for target in targets}
    }
    assert {room(module) for module in drawing} == {"cli"}


def test_an_upward_import_is_found_inside_a_function_too(tmp_path):
    package = tmp_path / "toy"
    for name, text in (
        ("low/__init__", ""),
        ("low/tool", "def use():\n    from toy.high import thing\n"),
        ("high", "import toy.low.tool\n"),
        ("__init__", ""),
    ):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / f"{name}.py").write_text(text)
    assert upward(imports(package), ("low", "high")) == ["toy.low.tool imports toy.high"]
