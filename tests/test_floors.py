"""Modules import only from layers below their own, without cycles."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import deepscan

PACKAGE = Path(deepscan.__file__).parent
#: Modules and packages of deepscan, from the bottom layer up; docs/architecture.md describes them.
LAYERS = (
    *(
        "version",
        "errors",
        "arguments",
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
    *("storage", "media", "faces", "backbones", "detectors", "engines", "models", "scanning", "cluster"),
    *("api", "face_scoring"),
    *("report", "data", "training", "evaluation", "analyses"),
    *("bench", "doctor", "cli", "__main__"),
)
TERMINAL = {"typer", "rich"}
Imports = dict[str, set[str]]


def imports(package: Path) -> Imports:
    """Return the imports of each module of a package, including those inside functions."""
    files = {}
    for file in package.rglob("*.py"):
        parts = file.relative_to(package.parent).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    found: Imports = {}
    for module, file in files.items():
        targets = found.setdefault(module, set())
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                targets |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                targets |= {name if name in files else node.module for name in inner}
    return found


def part_of(module: str) -> str:
    """Return the part of a module's name that determines its layer."""
    return module.split(".")[1]


def upward(found: Imports, layers: tuple[str, ...]) -> list[str]:
    """Describe the imports from a higher layer."""
    name = next(iter(found)).split(".")[0]
    return [
        f"{module} imports {target}"
        for module, targets in sorted(found.items())
        for target in sorted(targets)
        if module != name and target.startswith(f"{name}.")
        if layers.index(part_of(target)) > layers.index(part_of(module))
    ]


@pytest.fixture(scope="module")
def product() -> Imports:
    return imports(PACKAGE)


def test_every_module_is_in_a_layer(product):
    assert {part_of(module) for module in product if module != "deepscan"} == set(LAYERS)


def test_no_module_imports_from_a_higher_layer(product):
    assert upward(product, LAYERS) == []


def test_there_are_no_import_cycles(product):
    TopologicalSorter(
        {module: {target for target in targets if target in product} for module, targets in product.items()}
    ).prepare()


def test_only_the_command_line_imports_terminal_libraries(product):
    importers = {
        module
        for module, targets in product.items()
        if TERMINAL & {target.split(".")[0] for target in targets}
    }
    assert {part_of(module) for module in importers} == {"cli"}


def test_an_upward_import_inside_a_function_is_found(tmp_path):
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
