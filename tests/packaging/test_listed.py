"""What pyproject.toml lists is what there is."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONSTRAINED = {
    line.partition("==")[0].lower().replace("_", "-")
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()[1:]
}


def test_every_folder_is_a_package() -> None:
    folders = {path.parent for name in ("exporters", "queries", "pipeline") for path in ROOT.glob(f"{name}/**/*.py")}
    names = {".".join(("gradtrace", *folder.relative_to(ROOT).parts)) for folder in folders}
    wanted = names | {"gradtrace", "gradtrace.data.components"}
    listed = PROJECT["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(set(listed))
    assert set(listed) == wanted
    assert all((folder / "__init__.py").is_file() for folder in folders)


def test_what_is_needed_is_constrained() -> None:
    extras = PROJECT["project"]["optional-dependencies"].values()
    needed = {name for group in (PROJECT["project"]["dependencies"], *extras) for name in map(package, group)}
    assert needed - {"gradtrace"} <= CONSTRAINED


def package(requirement: str) -> str:
    """The name at the beginning of a requirement."""
    return requirement.partition(">")[0].partition("[")[0].lower().replace("_", "-")


def test_importing_gradtrace_loads_nothing_heavy() -> None:
    code = (
        "import sys, gradtrace\n"
        "assert gradtrace.__version__ and dir(gradtrace)\n"
        "heavy = {'torch', 'duckdb', 'numpy', 'pyarrow', 'numba', 'onnx', 'typer'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_citation_agrees() -> None:
    import yaml

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == PROJECT["project"]["version"]
    assert citation["license"] == PROJECT["project"]["license"]
    assert citation["repository-code"] == PROJECT["project"]["urls"]["Source"]
    assert {"message", "title", "authors", "type"} <= citation.keys()
