"""Every command as a user runs it: exit codes, what goes to stdout and what to stderr, formats, and no tracebacks."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import onnx
import pyarrow.parquet as pq
import pytest

from gradtrace.exporters.store.annotate import COMPONENT
from gradtrace.pipeline.cli import THREADS
from gradtrace.pipeline.dump.models import open_traceable
from gradtrace.queries import open_store
from gradtrace.queries.schema import COLUMNS

from .studies import Ran, assert_one_line_error, fingerprints, gradtrace, rows, write_lines

GRADTRACE = Path(sys.executable).with_name("gradtrace")
COMMANDS = (
    "demo", "train", "export", "dump", "trace", "importance", "sql", "query", "queries", "info", "verify",
    "stability", "compare",
)  # fmt: skip
PARAMETER = "rnn.weight_hh_l0[3,2]"


def process(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run the installed command in a process of its own."""
    return subprocess.run([GRADTRACE, *map(str, arguments)], capture_output=True, check=False, **options)


@pytest.mark.parametrize("variable", THREADS)
@pytest.mark.parametrize("number", ["0", "-1", "abc", "1.5", "9" * 5000, "100000", "4,0", "\x1b[31m", ","])
def test_a_number_of_threads_that_is_none(monkeypatch: pytest.MonkeyPatch, variable: str, number: str) -> None:
    monkeypatch.setenv(variable, number)
    for command in (("zoo",), ("info", "nowhere"), ("dump", "nowhere", "--out", "nowhere")):
        assert_one_line_error(gradtrace(*command), f"{variable} is '", "a whole number from 1 to 1024 is wanted")


@pytest.mark.parametrize("number", ["", " ", "1", " 2 ", "4,2,1"])
def test_numbers_of_threads(monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    for variable in THREADS:
        monkeypatch.setenv(variable, number)
    assert gradtrace("zoo").code == 0


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_help(command: tuple[str, ...]) -> None:
    ran = gradtrace(*command, "--help")
    assert ran.code == 0
    assert ran.err == ""
    assert "Usage: " in ran.out
    assert all(name in ran.out for name in COMMANDS if not command)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nothing",),
        ("dump",),
        ("dump", "MODEL", "--out"),
        ("dump", "MODEL", "--out", "x", "--detail", "some"),
        ("dump", "MODEL", "--out", "x", "--keep", "0"),
        ("dump", "MODEL", "--out", "x", "--dtype", "float16"),
        ("trace", "STORE"),
        ("trace", "STORE", "x", "--sample", "one"),
        ("sql", "STORE", "select 1", "--format", "xml"),
        ("train", "lstm_lm", "--out", "x", "--epochs", "0"),
    ],
)
def test_usage_errors(arguments: tuple[str, ...]) -> None:
    assert gradtrace(*arguments).code == 2


@pytest.mark.parametrize("command", ["--help", "sql", "trace"])
def test_commands_that_ask_start_without_the_heavy_packages(lstm_store: Path, command: str) -> None:
    arguments = [str(argument) for argument in asking(lstm_store).get(command, (command,))]
    code = (
        "import sys\nfrom gradtrace.pipeline import cli\n"
        f"sys.argv = ['gradtrace', *{arguments!r}]\n"
        "try:\n    cli.main()\nexcept SystemExit as ended:\n    assert not ended.code\n"
        "heavy = {'torch', 'numba', 'pandas', 'onnx', 'gradtrace.exporters.tape.tape'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


def asking(store: Path) -> dict[str, tuple[object, ...]]:
    """One call of every command that asks a store, without its format."""
    return {
        "trace": ("trace", store, PARAMETER, "--sample", "2"),
        "importance": ("importance", store, "--by", "parameter_group,component"),
        "stability": ("stability", store),
        "compare": ("compare", store, store),
        "sql": ("sql", store, "select sample, text, tokens, loss, message from samples order by sample"),
        "query": ("query", store, "trace", "-p", "sample=0", "-p", "vertex=700"),
        "queries": ("queries",),
        "info": ("info", store),
        "verify": ("verify", store),
    }


@pytest.mark.parametrize("command", list(asking(Path())))
def test_formats(lstm_store: Path, tmp_path: Path, command: str) -> None:
    """A table for people on stdout; csv, json and parquet carry the same rows, on stdout or in a file."""
    arguments = asking(lstm_store)[command]
    table = gradtrace(*arguments)
    assert (table.code, table.err) == (0, "")
    objects = json.loads(gradtrace(*arguments, "--format", "json").out)
    lines = list(csv.DictReader(io.StringIO(gradtrace(*arguments, "--format", "csv").out)))
    file = tmp_path / "rows.parquet"
    assert gradtrace(*arguments, "--format", "parquet", "--out", file) == Ran(0, "", "")
    parquet = pq.read_table(file).to_pylist()
    assert len(objects) == len(lines) == len(parquet) > 0
    assert [list(row) for row in objects] == [list(row) for row in lines] == [list(row) for row in parquet]
    for row, same in zip(objects, parquet, strict=True):
        assert row == {name: None if value != value else value for name, value in same.items()}
    # the table has a title and a header, or a header
    shown = table.out.splitlines()
    assert len(shown) in (len(objects) + 1, len(objects) + 2)


def test_version() -> None:
    """One version, from pyproject.toml, in front of a command, in Python and in every store."""
    assert gradtrace("--version") == Ran(0, f"gradtrace {installed('gradtrace')}\n", "")
    module = subprocess.run([sys.executable, "-m", "gradtrace", "--version"], capture_output=True, check=True)
    assert module.stdout.decode() == f"gradtrace {installed('gradtrace')}\n"


def test_completion() -> None:
    """A shell asks by an environment variable; nothing heavy is loaded for the answer."""
    asked = {"_GRADTRACE_COMPLETE": "complete_bash", "COMP_WORDS": "gradtrace imp", "COMP_CWORD": "1"}
    ran = subprocess.run([GRADTRACE], env={**os.environ, **asked}, capture_output=True, text=True, check=False)
    assert ran.stdout.split() == ["importance"]
    code = (
        "import os, sys\n"
        f"os.environ.update({asked!r})\n"
        "sys.argv = ['gradtrace']\n"
        "from gradtrace.pipeline import cli\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "print({'torch', 'numba', 'onnx', 'pandas', 'rich.table'} & set(sys.modules), file=sys.stderr)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr == "set()\n"


def test_columns_are_explained_in_sql(lstm_store: Path) -> None:
    sql = "select table_name, column_name, comment from duckdb_columns() where not internal and schema_name = 'main'"
    found = json.loads(gradtrace("sql", lstm_store, sql, "--format", "json").out)
    said = {(row["table_name"], row["column_name"]): row["comment"] for row in found}
    assert said == {(table, column.name): column.text for table, columns in COLUMNS.items() for column in columns}


def test_components_by_name(lstm_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that comes along, as good as the path of its file; a file of that name goes before it."""
    names = ("--components", "lstm_gates", "--groups", "lstm_gates", "--format", "csv")
    file = Path(__file__).parents[2] / "data" / "components" / "lstm_gates.toml"
    files = ("--components", file, "--groups", file, "--format", "csv")
    for command in (("importance", lstm_store), ("stability", lstm_store, "--measure", "path_rate")):
        by_name = gradtrace(*command, *names)
        assert by_name.code == 0, by_name.err
        assert by_name == gradtrace(*command, *files)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lstm_gates").write_text('[[component]]\nname = "mine"\nmodule = "*"\n')
    mine = gradtrace("importance", lstm_store, "--by", "component", "--components", "lstm_gates", "--format", "csv")
    assert [line.split(",")[0] for line in mine.out.splitlines()] == ["component", "mine"]
    unknown = gradtrace("importance", lstm_store, "--components", "lstm_gate")
    assert_one_line_error(unknown, "Did you mean lstm_gates", "transformer_heads", "docs/components.md")


def test_info_says_what_a_store_reveals(lstm_store: Path) -> None:
    found = json.loads(gradtrace("info", lstm_store, "--format", "json").out)
    said = {row["name"]: row["value"] for row in found if row["name"].startswith("reveals ")}
    assert said == {
        "reveals texts": "those of 4 samples",
        "reveals tokens": "those of 4 samples",
        "reveals labels": "none",
        "reveals checkpoints": "none",
        "reveals names": "model lstm, samples file sentences.txt, modules and parameters",
        "reveals weights": "all, in model.onnx",
        "reveals paths": "none",
    }


def test_parquet_through_a_pipe(lstm_store: Path) -> None:
    ran = process("sql", lstm_store, "select sample, loss from samples", "--format", "parquet")
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert pq.read_table(io.BytesIO(ran.stdout)).num_rows == 4


def test_a_reader_that_has_seen_enough(lstm_store: Path) -> None:
    command = f"{GRADTRACE} sql {lstm_store} 'select * from edges' --format csv | head -n 1"
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("sample,graph,src,dst")
    assert ran.stderr == ""


def test_sql_from_stdin(lstm_store: Path) -> None:
    ran = process("sql", lstm_store, "-", "--format", "csv", input=b"select count(*) as n from samples")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"n\n4\n", b"")


def test_the_line_as_a_user_types_it(models_file: Path, sentences_file: Path, tmp_path: Path) -> None:
    """Processes of their own, relative paths, output away from a terminal: nothing but results on stdout."""
    environment = {**os.environ, "COLUMNS": "80"}
    model, samples = f"{os.path.relpath(models_file, tmp_path)}:rnn", os.path.relpath(sentences_file, tmp_path)
    dumped = process("dump", model, "--samples", samples, "--out", "store", cwd=tmp_path, env=environment)
    assert (dumped.returncode, dumped.stdout, dumped.stderr) == (0, b"store: 4 samples stored\n", b"")
    traced = process("trace", "store", PARAMETER, cwd=tmp_path, env=environment)
    assert traced.returncode == 0
    assert re.match(rb"greedy path of rnn.weight_hh_l0\[3,2\], sample 0: \d+ edges, reaches the loss\n", traced.stdout)
    unknown = process("trace", "store", "rnn.weight_hh_l9[3,2]", cwd=tmp_path, env=environment)
    assert (unknown.returncode, unknown.stdout) == (1, b"")
    assert unknown.stderr.startswith(b"error: there is no tensor named 'rnn.weight_hh_l9'")
    assert b"rnn.weight_hh_l0" in unknown.stderr


@pytest.mark.parametrize("detail", [pytest.param("parameters", marks=pytest.mark.slow), "all"])
def test_dry_run(models_file: Path, tmp_path: Path, detail: str) -> None:
    """Counts vertices and edges exactly, guesses bytes, and writes nothing."""
    samples = write_lines(tmp_path / "s.txt", "the cat sees me", "a dog likes us", "", "the bird hears me")
    before = fingerprints(tmp_path)
    command = ("dump", f"{models_file}:lstm", "--samples", samples, "--out", tmp_path / "out", "--detail", detail)
    ran = gradtrace(*command, "--dry-run")
    assert (ran.code, ran.err) == (0, "")
    assert fingerprints(tmp_path) == before
    said = {name: int(n.replace(",", "")) for name, n in re.findall(r"(\w+) +([\d,]+)", ran.out)}
    assert gradtrace(*command).code == 1  # the empty line
    out = tmp_path / "out"
    found = [row for row in rows(out, "samples").to_pylist() if row["status"] == "ok"]
    assert said["vertices"] == sum(row["n_vertices"] for row in found)
    assert said["edges"] == sum(row["n_edges"] for row in found)
    if detail == "all":
        with open_store(out) as store:
            assert [(said["edges"],)] == store.sql("select count(*) from edges").fetchall()
    n_bytes = sum(path.stat().st_size for path in out.glob("*/shard=*/*"))
    assert n_bytes / 2 <= said["bytes"] <= n_bytes * 2
    assert "1 cannot be recorded" in ran.out


def test_export(models_file: Path, sentences_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "new" / "model.onnx"
    ran = gradtrace("export", f"{models_file}:lstm", "--samples", sentences_file, "--out", path)
    assert (ran.code, ran.err) == (0, "")
    assert re.fullmatch(
        rf"{path}: \d+ nodes, 11 parameter tensors; \d+ primitive operators on the first sample, loss [\d.]+\n", ran.out
    )
    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(path)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    state = open_traceable(f"{models_file}:lstm").model.state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()}.items() <= shapes.items()
    found = {
        node.op_type: prop.value for node in model.graph.node for prop in node.metadata_props if prop.key == COMPONENT
    }
    assert "rnn.l1.forget_gate" in found["LSTM"]
    assert found["SoftmaxCrossEntropyLoss"]
    assert all(component for component in found.values())


def test_the_model_in_the_store(lstm_store: Path) -> None:
    onnx.checker.check_model(str(lstm_store / "model.onnx"), full_check=True)
    model = onnx.load(lstm_store / "model.onnx")
    said = [[p.value for p in node.metadata_props if p.key == COMPONENT] for node in model.graph.node]
    assert all(len(values) == 1 for values in said)
    named = {part for (value,) in said for part in value.split(", ")}
    # nodes that only copy have components, too, which are none of those that edges are counted by
    assert {row["component"] for row in rows(lstm_store, "components").to_pylist()} < named


def test_bad_input_to_commands_that_make(models_file: Path, sentences_file: Path, tmp_path: Path) -> None:
    model = f"{models_file}:lstm"
    bad: list[tuple[tuple[Any, ...], str]] = [
        (("export", model, "--out", tmp_path / "m.onnx"), "give --samples FILE"),
        (("dump", model, "--samples", tmp_path, "--out", tmp_path / "s"), str(tmp_path)),
        (("dump", model, "--samples", sentences_file, "--out", "/proc/nowhere/s"), "/proc/nowhere"),
        (("export", model, "--samples", sentences_file, "--out", "/proc/nowhere/m.onnx"), "/proc/nowhere"),
        (("export", model, "--samples", sentences_file, "--out", tmp_path), str(tmp_path)),
        (("train", "ltsm_lm", "--out", tmp_path / "r"), "Did you mean lstm_lm"),
        (("train", "lstm_lm", "--out", tmp_path / "r", "--corpus", tmp_path / "none.txt"), "none.txt"),
        (("train", "lstm_lm", "--out", sentences_file), str(sentences_file)),
    ]
    for arguments, word in bad:
        assert_one_line_error(gradtrace(*arguments), word)


def test_bad_input_to_commands_that_ask(lstm_store: Path, tmp_path: Path) -> None:
    bad: list[tuple[tuple[Any, ...], str]] = [
        (("info", tmp_path / "none"), "does not exist"),
        (("info", tmp_path), "has no manifest.json"),
        (("verify", tmp_path), "has no manifest.json"),
        (("trace", lstm_store, "rnn.weight_hh_l0[24,0]"), "out of range"),
        (("trace", lstm_store, "rnn.weight_hh_l0[0]"), "has 1 indices"),
        (("trace", lstm_store, "rnn.weight_hh_l0"), "has 0 indices"),
        (("trace", lstm_store, ""), "wanted the name of one element"),
        (("trace", lstm_store, PARAMETER, "--sample", "4"), "no sample 4; it holds 4 samples"),
        (("trace", lstm_store, PARAMETER, "--sample", "-1"), "no sample -1"),
        (("trace", lstm_store, PARAMETER, "--method", "product"), "no paths of method 'product'"),
        (("importance", lstm_store, "--by", "words"), "Choose among sample"),
        (("importance", lstm_store, "--components", tmp_path / "none.toml"), "none.toml"),
        (("importance", lstm_store, "--sample", "9"), "9"),
        (("sql", lstm_store, ""), "exactly one SELECT"),
        (("sql", lstm_store, "drop table samples"), "exactly one SELECT"),
        (("sql", lstm_store, "select 1; select 2"), "exactly one SELECT"),
        (("query", lstm_store, "nothing"), "no query 'nothing'"),
        (("query", lstm_store, "trace", "-p", "sample"), "wanted NAME=VALUE"),
        (("query", lstm_store, "trace", "-p", "sample=one", "-p", "vertex=1"), "sample"),
        (("sql", lstm_store, "select 1", "--out", tmp_path / "no" / "x"), "cannot be written"),
    ]
    before = fingerprints(lstm_store)
    for arguments, word in bad:
        assert_one_line_error(gradtrace(*arguments), word)
    assert fingerprints(lstm_store) == before


@pytest.mark.slow
def test_train_export_dump(tmp_path: Path) -> None:
    """A run of the zoo, with its own held-out sentences as samples."""
    corpus = write_lines(tmp_path / "corpus.txt", *[f"the {a} sees the {b} ." for a in "abcdefgh" for b in "ijklmnop"])
    run = tmp_path / "run"
    size = ("-p", "embedding_size=4", "-p", "hidden_size=5", "--epochs", 2, "--checkpoint-every", 3)
    assert process("train", "rnn_lm", "--corpus", corpus, "--out", run, *size).returncode == 0
    samples = ("--samples", run / "held_out.txt", "--limit", 2)
    first = process("dump", run, "--checkpoint", "3", "--out", tmp_path / "first", *samples)
    assert (first.returncode, first.stderr) == (0, b"")
    assert gradtrace("dump", run, "--out", tmp_path / "last", *samples).code == 0
    ran = gradtrace("dump", run, "--out", tmp_path / "first", *samples)
    assert_one_line_error(ran, "model fingerprint")
    assert gradtrace("export", run, "--out", tmp_path / "model.onnx").code == 0  # held-out sentences of its own
    assert_one_line_error(
        gradtrace("dump", run, "--checkpoint", "4", "--out", tmp_path / "x", *samples),
        "has no checkpoint '4'. It has steps 0, 3",
    )
