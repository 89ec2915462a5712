"""Which heavy packages a command imports, looked at in a process of its own. Pandas is never needed, if installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MAKERS = {"torch", "onnx", "onnxscript", "gradtrace.exporters.tape.tape"}
LIGHT = {
    "queries": (),
    "queries --format csv": (),
    "info": ("STORE",),
    "info --format json": ("STORE",),
    "sql": ("STORE", "select op_type, n, [n] as many from (select op_type, count(*) as n from nodes group by all)"),
    "query": ("STORE", "samples_summary"),
    "trace": ("STORE", "rnn.weight_hh_l0[3,2]"),
}
COUNTING = {"importance": ("STORE",), "stability": ("STORE",), "compare": ("STORE", "STORE"), "verify": ("STORE",)}


def imported(store: Path, command: str, arguments: tuple[str, ...], packages: set[str]) -> str:
    """Those of the packages that one run of a command imports, and what it says on stderr."""
    given = [str(store) if argument == "STORE" else argument for argument in arguments]
    name, *options = command.split()
    given = [name, *given, *options]
    code = (
        "import sys\nfrom gradtrace.pipeline import cli\n"
        f"sys.argv = ['gradtrace', *{given!r}]\n"
        "try:\n    cli.main()\nexcept SystemExit as ended:\n    assert not ended.code\n"
        f"print(sorted({packages!r} & set(sys.modules)), file=sys.stderr)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout
    return ran.stderr


@pytest.mark.parametrize("command", LIGHT)
def test_commands_that_look_up(lstm_store: Path, command: str) -> None:
    assert imported(lstm_store, command, LIGHT[command], {*MAKERS, "pandas", "numba"}) == "[]\n"


@pytest.mark.parametrize("command", COUNTING)
def test_commands_that_count(lstm_store: Path, command: str) -> None:
    assert imported(lstm_store, command, COUNTING[command], {*MAKERS}) == "[]\n"
