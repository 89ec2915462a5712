"""What the wheel installs: one top-level name, with its types, and nobody else's modules are touched or taken."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from .conftest import FOLDERS, Environment

pytestmark = pytest.mark.slow

PARAMETER = "rnn.weight_hh_l0[1,2]"
SCRIPT = """from gradtrace import open_store
import gradtrace as gt

store = open_store("store")
reveal_type(store)
reveal_type(store.sql)
reveal_type(gt.open_store)
reveal_type(gt.__version__)
open_store(3)
gt.opn_store("store")
"""


def test_one_top_level_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"gradtrace"}
    assert {"gradtrace/py.typed", "gradtrace/data/components/lstm_gates.toml", "gradtrace/__main__.py"} <= set(names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_console_script(environment: Environment, work: Path) -> None:
    traced = environment.run("gradtrace", "trace", "store", PARAMETER, cwd=work)
    assert traced.startswith(f"greedy path of {PARAMETER}, sample 0: ")
    by_name = ("--components", "lstm_gates", "--groups", "lstm_gates", "--format", "csv")
    assert "forget gate" in environment.run("gradtrace", "importance", "store", *by_name, cwd=work)
    assert "FAILED" not in environment.run("gradtrace", "verify", "store", cwd=work)
    assert environment.run("gradtrace", "query", "store", "samples_summary", cwd=work)


def test_python_m(environment: Environment, work: Path) -> None:
    same = ("gradtrace", "trace", "store", PARAMETER)
    assert environment.run("python", "-m", *same, cwd=work) == environment.run(*same, cwd=work)
    again = ("dump", "models/my_model.py:build", "--samples", "samples.txt", "--out", "again")
    assert environment.run("python", "-m", "gradtrace", *again, cwd=work) == "again: 2 samples stored\n"
    assert environment.run("gradtrace", "--version", cwd=work) == environment.run(
        "python", "-m", "gradtrace", "--version", cwd=work
    )


def test_python_as_in_a_notebook(environment: Environment, work: Path) -> None:
    """The working folder is first on the path: its modules are the user's, before and after ours are loaded."""
    code = (
        "import pipeline, data\n"
        "import gradtrace as gt\n"
        f"print(gt.open_store('store').trace({PARAMETER!r}))\n"
        "rows = gt.open_store('store').importance(['component'], components='lstm_gates').fetchall()\n"
        "import queries, exporters\n"
        "print(len(rows) > 0, {m.OWNER for m in (pipeline, data, queries, exporters)})\n"
    )
    *traced, last = environment.run("python", "-c", code, cwd=work).splitlines()
    assert last == "True {'the user'}"
    assert "\n".join(traced) + "\n" == environment.run("gradtrace", "trace", "store", PARAMETER, cwd=work)


@pytest.mark.parametrize("name", FOLDERS)
def test_packages_of_others_stay_theirs(environment: Environment, name: str, tmp_path: Path) -> None:
    code = f"import gradtrace; gradtrace.open_store; import {name}; print({name}.OWNER)"
    assert environment.run("python", "-c", code, cwd=tmp_path) == f"another {name}\n"


def test_types_are_seen(environment: Environment, work: Path) -> None:
    (work / "script.py").write_text(SCRIPT)
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--python-executable", environment.python, "script.py"],
        cwd=work,
        capture_output=True,
        text=True,
        check=False,
    )
    said = ran.stdout
    assert 'Revealed type is "gradtrace.queries.store.Store"' in said
    assert "DuckDBPyRelation" in said
    assert (
        'Revealed type is "def (path: str | pathlib.Path, *, check: bool =) -> gradtrace.queries.store.Store"' in said
    )
    assert 'script.py:9: error: Argument 1 to "open_store" has incompatible type "int"' in said
    assert 'script.py:10: error: Module has no attribute "opn_store"' in said
    assert 'Revealed type is "str"' in said
    assert said.count("error:") == 2, said
