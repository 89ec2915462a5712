"""The commands that ask a store, and how rows are printed."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from gradtrace.pipeline import output
from gradtrace.pipeline.commands import ask as asking
from gradtrace.pipeline.commands import compare as comparing
from gradtrace.queries import Store, StoreError

APP = typer.Typer()
asking.register(APP)
comparing.register(APP)


def run(*arguments: str, fails: bool = False, stdin: str | None = None) -> str:
    result = CliRunner().invoke(APP, list(arguments), input=stdin)
    if not fails and result.exception is not None:
        raise result.exception
    assert (result.exit_code != 0) == fails
    return result.stdout


def test_trace(drawn: Store) -> None:
    printed = run("trace", str(drawn.path), "lstm.weight[0,1]", "--sample", "1")
    assert printed.startswith("greedy path of lstm.weight[0,1], sample 1: 5 edges, reaches the loss\nhop ")
    hops = json.loads(run("trace", str(drawn.path), "out.bias", "--format", "json"))
    assert [hop["vertex_name"] for hop in hops] == ["out.bias", "loss"]


def test_importance(drawn: Store) -> None:
    table = run("importance", str(drawn.path))
    assert table.splitlines()[0].split()[:4] == ["parameter_group", "component", "samples", "traced"]
    rows = list(csv.DictReader(io.StringIO(run("importance", str(drawn.path), "--by", "step", "--format", "csv"))))
    assert [row["step"] for row in rows] == ["0", "1", ""]
    assert "edge_share_high" in rows[0]
    assert "sample" in run("importance", str(drawn.path), "--by", "sample,layer", "--sample", "0").splitlines()[0]


def test_importance_of_groups_of_samples(drawn: Store) -> None:
    rows = json.loads(run("importance", str(drawn.path), "--by", "n_tokens", "--format", "json"))
    assert [(row["n_tokens"], row["samples"]) for row in rows] == [(1, 1), (2, 2)]


def test_stability(drawn: Store) -> None:
    table = run("stability", str(drawn.path)).splitlines()
    assert [line.split()[0] for line in table[-2:]] == ["out.bias", "(all)"]
    (row,) = json.loads(run("stability", str(drawn.path), "--group", "(all)", "--by", "layer", "--format", "json"))
    assert (row["samples"], row["ranked"]) == (3, 2)


def test_compare(drawn: Store, drawn_path: Path) -> None:
    table = run("compare", str(drawn.path), str(drawn_path), "--measure", "mean_edges").splitlines()
    assert table[0].startswith("mean_edges of greedy paths, paired: ")
    assert table[1].split()[:4] == ["parameter_group", "component", "left", "right"]
    rows = json.loads(
        run("compare", str(drawn.path), "--between", "n_tokens=2,1", "--by", "component", "--format", "json")
    )
    assert {row["design"] for row in rows} == {"unpaired"}
    with pytest.raises(StoreError, match="compare either two stores"):
        run("compare", str(drawn.path))


def test_importance_reads_files(drawn: Store, tmp_path: Path) -> None:
    file = tmp_path / "components.toml"
    file.write_text(
        "[[component]]\nname = 'cells'\nop_type = 'Add'\n[[parameter_group]]\nname = 'all'\nparameter = '*'\n"
    )
    printed = run("importance", str(drawn.path), "--components", str(file), "--groups", str(file))
    assert printed.splitlines()[1].split()[:3] == ["all", "cells", "3"]


def test_sql(drawn: Store) -> None:
    assert (
        run("sql", str(drawn.path), "select 1 as a, null as b, [1, 2] as c", "--format", "csv") == 'a,b,c\n1,,"[1,2]"\n'
    )
    assert run("sql", str(drawn.path), "-", stdin="select count(*) as n from samples").split() == ["n", "4"]


def test_query_and_queries(drawn: Store) -> None:
    rows = json.loads(run("query", str(drawn.path), "margins", "-p", "narrow=0.5", "--format", "json"))
    assert rows[0]["narrow_share"] == 0.5
    with pytest.raises(StoreError, match="wanted NAME=VALUE"):
        run("query", str(drawn.path), "margins", "-p", "narrow")
    assert "trace_groups" in run("queries")
    assert {"name", "parameters", "answers", "grain", "unit"} == set(json.loads(run("queries", "--format", "json"))[0])


def test_info_and_verify(drawn: Store, drawn_path: Path) -> None:
    assert "samples_recorded" in run("info", str(drawn.path))
    assert "FAILED" not in run("verify", str(drawn.path))
    (drawn_path / "nodes.parquet").unlink()
    assert "nodes.parquet is missing" in run("verify", str(drawn_path), fails=True)


def test_errors_are_errors_of_the_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not a graph store"):
        run("info", str(tmp_path))


def test_every_command_says_what_it_reads_and_shows_an_example() -> None:
    for command in APP.registered_commands:
        assert command.callback is not None
        text = command.callback.__doc__ or ""
        assert "Example: gradtrace " in text
        assert "STORE" in text or command.callback.__name__ == "queries"
        assert run(command.callback.__name__, "--help")


ROWS = pa.table({"name": ["a", "b"], "share": [0.123456, None], "n": [1, 20000]})


def test_print_a_table_of_aligned_text(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_rows(ROWS, "table")
    assert capsys.readouterr().out.splitlines() == [
        "name   share      n",
        "a     0.1235      1",
        "b             20000",
    ]


def test_print_a_table_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    output.print_rows(ROWS, "table")
    assert "0.1235" in capsys.readouterr().out
    with pytest.raises(StoreError, match="not for terminals"):
        output.print_rows(ROWS, "parquet")


def test_print_csv_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_rows(ROWS, "csv")
    assert capsys.readouterr().out == "name,share,n\na,0.123456,1\nb,,20000\n"
    output.print_rows(pa.table({"x": [float("nan"), 1.5]}), "json")
    assert json.loads(capsys.readouterr().out) == [{"x": None}, {"x": 1.5}]
    output.print_rows(ROWS.slice(0, 0), "json")
    assert json.loads(capsys.readouterr().out) == []


def test_print_parquet(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    output.print_rows(ROWS, "parquet")
    assert pq.read_table(pa.BufferReader(capfdbinary.readouterr().out)).equals(ROWS)
    output.print_rows(ROWS, "parquet", tmp_path / "rows.parquet")
    assert pq.read_table(tmp_path / "rows.parquet").equals(ROWS)


def test_print_to_a_file(tmp_path: Path) -> None:
    output.print_rows(ROWS, "csv", tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_text() == "name,share,n\na,0.123456,1\nb,,20000\n"
    with pytest.raises(StoreError, match="cannot be written"):
        output.print_rows(ROWS, "csv", tmp_path / "nowhere" / "rows.csv")
