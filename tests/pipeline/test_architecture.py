"""The rooms of the house (DESIGN section 2): who may import whom, and how large a file may be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("exporters", "queries", "pipeline")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

FORBIDDEN = {
    "exporters": {"duckdb", "queries", "pipeline", "typer", "rich", "tests"},
    "queries": {"torch", "onnx", "onnxscript", "onnx_ir", "safetensors", "exporters", "pipeline", "typer", "tests"},
    "pipeline": {"duckdb", "onnxscript", "tests"},
}
# The rooms of each package from the ground up: a room imports rooms of the floors below its own only.
FLOORS = {
    "exporters": (
        {"models", "kernels", "operators"},
        {"tape"},
        {"lowering"},
        {"onnx_graph"},
        {"torch_export"},
        {"recording"},
        {"edges"},
        {"paths"},
        {"store"},
    ),
    "queries": (
        {"errors", "schema", "walk", "sql"},
        {"methods"},
        {"manifest"},
        {"database"},
        {"components", "show"},
        {"importance", "paths"},
        {"verify"},
        {"store"},
    ),
    "pipeline": (
        {"corpora", "limits", "output", "progress"},
        {"zoo"},
        {"training"},
        {"dump", "interchange"},
        {"api", "demo"},
        {"commands"},
        {"cli"},
    ),
}
ALLOWED = {
    "exporters": {
        "queries.errors",
        "queries.schema",
        "queries.manifest",
        "queries.methods",
        "queries.walk.path_counts",
        "queries.walk.steps",
        "queries.walk.visits",
        "queries.walk.walker",
    },
    "queries": set[str](),
    "pipeline": {"duckdb for types"},
}


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every module that a file imports, anywhere in it, and whether for type checkers only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    types_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in types_only) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for module in absolute(path, node):
                yield module, id(node) in types_only


def absolute(path: Path, node: ast.ImportFrom) -> Iterator[str]:
    """The modules that a `from ... import` names, ours by their path in the repository."""
    if node.level == 0:
        assert node.module is not None
        assert node.module.partition(".")[0] not in PACKAGES, f"{path}: ours are imported relatively"
        yield node.module
        return
    folder = path.parents[node.level - 1].relative_to(ROOT)
    module = ".".join([*folder.parts, *([node.module] if node.module else [])])
    if (ROOT / module.replace(".", "/")).is_dir():
        for alias in node.names:
            found = ROOT / module.replace(".", "/") / alias.name
            yield f"{module}.{alias.name}" if found.is_dir() or found.with_suffix(".py").is_file() else module
    else:
        yield module


def test_sources_are_found() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in SOURCES} == set(PACKAGES)
    assert len(SOURCES) > 50


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_one_way(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in SOURCES
        if path.relative_to(ROOT).parts[0] == package
        for name, types_only in imports(path)
        if name.partition(".")[0] in FORBIDDEN[package]
        and name not in ALLOWED[package]
        and not (types_only and f"{name} for types" in ALLOWED[package])
    ]
    assert wrong == []


def room(path: Path) -> str:
    """The folder of a package that a file is in, or the file itself; '' for the package's own face."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return "" if parts[1] == "__init__" else parts[1]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_room_has_its_floor(package: str) -> None:
    rooms = {room(path) for path in SOURCES if path.relative_to(ROOT).parts[0] == package} - {""}
    assert rooms == set().union(*FLOORS[package])
    assert len(rooms - {"sql"}) <= 12  # which holds no code


@pytest.mark.parametrize("package", PACKAGES)
def test_rooms_import_those_below_them(package: str) -> None:
    floor = {name: number for number, names in enumerate(FLOORS[package]) for name in names}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in SOURCES
        if path.relative_to(ROOT).parts[0] == package and room(path)
        for name, types_only in imports(path)
        if name.startswith(f"{package}.") and name.split(".")[1] != room(path)
        if floor[name.split(".")[1]] >= floor[room(path)] and not types_only
    ]
    assert wrong == []


def test_nothing_imports_the_face() -> None:
    assert [path for path in SOURCES for name, _ in imports(path) if name.partition(".")[0] in ("", "gradtrace")] == []


def test_no_files_import_each_other_in_a_circle() -> None:
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in SOURCES
    }
    behind = {
        name: {found for found, types_only in imports(path) if found in modules and not types_only}
        for name, path in modules.items()
    }
    TopologicalSorter({name: found - {name} for name, found in behind.items()}).prepare()  # raises CycleError


def test_numba_stays_in_its_rooms() -> None:
    found = {".".join(path.relative_to(ROOT).parts[:2]) for path in SOURCES if "numba" in dict(imports(path))}
    assert found == {"exporters.kernels", "queries.walk"}


def test_the_schema_knows_pyarrow_only() -> None:
    files = (ROOT / "queries" / "schema").glob("*.py")
    names = {name.removeprefix("gradtrace.").rpartition(".")[0] or name for file in files for name, _ in imports(file)}
    assert {name for name in names if name.startswith("queries")} <= {"queries.schema"}
    assert {name.partition(".")[0] for name in names} == {"__future__", "collections", "pyarrow", "queries", "typing"}


def test_the_walker_is_a_pure_module_over_arrays() -> None:
    names = {name.partition(".")[0] for name, _ in imports(ROOT / "queries" / "walk" / "walker.py")}
    assert {"numba", "numpy"} <= names
    assert names.isdisjoint({"duckdb", "pyarrow", "queries", "pathlib", "os"})


@pytest.mark.parametrize("file", ["ask.py", "compare.py"])
def test_commands_that_ask_import_nothing_that_makes(file: str) -> None:
    makers = ("torch", "exporters", "pipeline.dump", "pipeline.training", "pipeline.demo")
    found = [name for name, _ in imports(ROOT / "pipeline" / "commands" / file)]
    assert {name for name in found if name.startswith(makers)} <= {"pipeline.dump.recompute"}  # for --model only


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_is_short_and_says_what_it_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    assert ast.get_docstring(ast.parse(text))


def test_no_other_source_folder() -> None:
    ours = {path.parent.name for path in ROOT.glob("*/*.py") if not path.parent.name.startswith(".")}
    assert ours <= {*PACKAGES, "docs", "tests"}  # docs: the site's settings, and what makes pages of the code
