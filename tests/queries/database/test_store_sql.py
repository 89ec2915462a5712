"""A store in SQL: what it answers, what it refuses, and damaged stores."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from gradtrace.queries import Store, StoreError, open_store

from ..drawing import edit_manifest, write_store
from ..drawn_cell import drawn_samples


def test_tables_are_views_with_the_columns_of_the_schema(drawn: Store) -> None:
    assert drawn.rows("select count(*) as n from best_edges")["n"].to_pylist() == [60]
    assert drawn.sql("from edges where sample = ? and src = ?", [0, 12]).fetchall() == [
        (0, 0, 12, 14, 5, 7, 2, 1.0, 1.6),
        (0, 0, 12, 17, 5, 9, 2, 0.5, 1.0),
    ]
    assert drawn.sql("select $a + 1", {"a": 1}).fetchall() == [(2,)]
    assert ("nodes",) in drawn.sql("show tables").fetchall()
    assert drawn.sql("describe samples").fetchall()[0][:2] == ("sample", "BIGINT")


def test_a_table_without_files_is_empty_and_typed(drawn_parameters: Store) -> None:
    assert drawn_parameters.sql("select count(*), sum(contribution) from edges").fetchall() == [(0, None)]
    types = {row[0]: row[1] for row in drawn_parameters.sql("describe edges").fetchall()}
    assert types["src"] == "BIGINT"
    assert types["derivative"] == "DOUBLE"
    assert types["slot"] == "SMALLINT"


def test_vertex_names(drawn: Store) -> None:
    names = "select vertex_name(0, 5), vertex_name(0, 7), vertex_name(0, 14), vertex_name(1, 13), vertex_name(0, 99)"
    assert drawn.sql(names).fetchall() == [("lstm.weight[1,0]", "out.bias", "gates_1[1]", "loss", None)]
    graph = drawn.graph(0)
    in_sql = drawn.sql("select vertex, vertex_name(graph, vertex) from vertices where sample = 0").fetchall()
    assert in_sql == [(vertex, graph.vertex_name(vertex)) for vertex, _ in in_sql]


@pytest.mark.parametrize("store", ["drawn", "drawn_parameters"])
def test_neighbours(store: str, request: pytest.FixtureRequest) -> None:
    opened: Store = request.getfixturevalue(store)
    successors = opened.sql("select dst, vertex_name, contribution from successors(0, 12)").fetchall()
    assert successors == [(14, "gates_1[1]", 1.6), (17, "cell_1[0]", 1.0)]
    predecessors = opened.sql("select src, vertex_name from predecessors(0, 12)").fetchall()
    assert predecessors == [(10, "sigmoid_0[0]"), (11, "sigmoid_0[1]")]


def test_trace_macro(drawn: Store) -> None:
    assert drawn.sql("select hop, dst from trace(0, 4)").fetchall() == list(enumerate([8, 10, 12, 14, 16, 17, 18], 1))
    assert drawn.sql("select dst from trace(1, 4)").fetchall() == [(8,), (10,), (12,), (17,), (18,)]
    assert drawn.sql("from trace(0, 6)").fetchall() == []


@pytest.mark.parametrize(
    "text",
    [
        "copy (select 1) to '{store}/stolen.csv'",
        "explain analyze copy (select 1) to '{store}/stolen.csv'",
        "attach '/tmp/other.db'",
        "install httpfs",
        "load httpfs",
        "set memory_limit = '1GB'",
        "pragma version",
        "create table t as select 1",
        "create view samples as select 1",
        "insert into samples select 1",
        "drop view samples",
        "delete from samples",
        "call pragma_version()",
        "select 1; select 2",
        "select 1; copy (select 1) to '{store}/stolen.csv'",
        "",
        "-- nothing",
    ],
)
def test_only_one_select_is_answered(drawn: Store, text: str) -> None:
    with pytest.raises(StoreError, match="exactly one SELECT"):
        drawn.sql(text.format(store=drawn.path))
    assert not (drawn.path / "stolen.csv").exists()


OUTSIDE = [
    "select content from read_text('{secret}')",
    "select content from read_blob('{secret}')",
    "from read_csv('{secret}')",
    "from '{secret}'",
    "from '/etc/passwd'",
    "from read_json('{secret}')",
    "from read_parquet('{secret}')",
    "from parquet_metadata('{secret}')",
    "from sniff_csv('{secret}')",
    "from glob('{secret}')",
    "from glob('{outside}/*')",
    "from glob('*')",
    "from read_text('{store}/../secret.csv')",
    "from read_text('file://{secret}')",
    "from read_text('{store}-more/secret.csv')",
    "from query('from read_text(''{secret}'')')",
    "from query('copy (select 1) to ''{store}/stolen.csv''')",
    "from query_table('{secret}')",
    "from read_csv('https://example.com/a.csv')",
    "select getenv('HOME')",
    "from read_text((select '{secret}'))",
    "from duckdb_secrets()",
    "from importance_measures('{secret}')",
    "from continued_scores('{secret}')",
]


@pytest.mark.parametrize("text", OUTSIDE)
def test_nothing_outside_the_store_can_be_read(drawn_path: Path, text: str) -> None:
    outside = drawn_path.parent
    more = outside / f"{drawn_path.name}-more"
    more.mkdir()
    for folder in (outside, more):
        (folder / "secret.csv").write_text("a,b\n1,2\n")
    with pytest.raises(StoreError):
        open_store(drawn_path).rows(text.format(store=drawn_path, outside=outside, secret=outside / "secret.csv"))
    assert not (drawn_path / "stolen.csv").exists()


def test_python_variables_are_not_tables(drawn: Store) -> None:
    secret = drawn.rows("select 1 as a")
    assert secret.num_rows == 1
    with pytest.raises(StoreError, match="secret does not exist"):
        drawn.sql("from secret")


def test_settings_are_locked(drawn: Store) -> None:
    with pytest.raises(StoreError):
        drawn.sql("from query('set enable_external_access = true')")
    assert drawn.sql("select current_setting('enable_external_access')").fetchall() == [(False,)]


SLOW = "select count(*) from range(3000) as a, range(3000) as b where (a.range * b.range) % 7 = 1"


def test_long_queries_print_no_progress_among_the_rows(
    drawn_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    connect = duckdb.connect

    def impatient() -> duckdb.DuckDBPyConnection:
        connection = connect()
        connection.execute("set progress_bar_time = 0")
        return connection

    impatient().sql(SLOW).fetchall()
    assert "%" in capfd.readouterr().out  # what DuckDB does by itself
    monkeypatch.setattr(duckdb, "connect", impatient)
    store = open_store(drawn_path)
    assert store.connection
    capfd.readouterr()  # of the statement that forbids it
    assert store.rows(SLOW).num_rows == store.sql(SLOW).to_arrow_table().num_rows == len(store.fetch(SLOW)) == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("select nonsense from samples", "nonsense"),
        ("selec 1", "syntax error"),
        ("select $a", "a"),
        ("select error('broken here')", "broken here"),
    ],
)
def test_errors_of_the_sql_say_what_duckdb_says(drawn: Store, text: str, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        drawn.rows(text)


def test_a_folder_that_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no manifest.json.*gradtrace dump"):
        open_store(tmp_path)
    with pytest.raises(StoreError, match="does not exist"):
        open_store(tmp_path / "nowhere")


def test_other_versions_are_refused(drawn_path: Path) -> None:
    edit_manifest(drawn_path, format_version=1, tool_version="0.1.0")
    with pytest.raises(
        StoreError, match=r"format version 1; .*reads version 3\. Dump it again with this one, or .* gradtrace 0\.1\.0"
    ):
        open_store(drawn_path)
    edit_manifest(drawn_path, format_version=2)
    with pytest.raises(StoreError, match=r"format version 2; .*reads version 3\. `gradtrace upgrade .*/store` writes"):
        open_store(drawn_path)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"format": "other"}', '{"format": "gradtrace", "format_version": 3}']
)
def test_damaged_manifests_are_refused(drawn_path: Path, content: str) -> None:
    (drawn_path / "manifest.json").write_text(content)
    with pytest.raises(StoreError, match="damaged"):
        open_store(drawn_path)


def test_missing_and_half_written_files_are_refused(drawn_path: Path) -> None:
    file = drawn_path / "best_edges/shard=00001/part-0.parquet"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(StoreError, match=r"best_edges/shard=00001/part-0.parquet has \d+ bytes, the manifest says"):
        open_store(drawn_path)
    file.unlink()
    with pytest.raises(StoreError, match="is missing"):
        open_store(drawn_path)


def test_files_outside_the_manifest_are_not_read(drawn_path: Path) -> None:
    # A killed dump leaves the files of its open shard behind.
    shard = drawn_path / "samples/shard=00002"
    shard.mkdir()
    (shard / "part-0.parquet").write_bytes((drawn_path / "samples/shard=00000/part-0.parquet").read_bytes())
    (shard / ".part-1.parquet.tmp").write_bytes(b"half")
    assert open_store(drawn_path).sql("select count(*) from samples").fetchall() == [(4,)]


def test_an_unreadable_file_of_the_right_size_is_an_error_of_the_store(drawn_path: Path) -> None:
    file = drawn_path / "samples/shard=00000/part-0.parquet"
    file.write_bytes(bytes(file.stat().st_size))
    with pytest.raises(StoreError, match="its sum is another one"):
        open_store(drawn_path).sql("from samples")


def test_a_store_without_a_finished_shard_opens(tmp_path: Path) -> None:
    path = write_store(tmp_path / "store", drawn_samples())
    edit_manifest(path, shards=[], complete=False)
    store = open_store(path)
    assert store.sql("from samples").fetchall() == []
    assert store.info()["samples_recorded"] == 0
    with pytest.raises(StoreError, match="no sample 0"):
        store.trace("out.bias")


def test_a_path_with_quotes_opens(tmp_path: Path) -> None:
    path = write_store(tmp_path / "it's a store", drawn_samples())
    assert open_store(path).sql("select count(*) from samples").fetchall() == [(4,)]


def test_relative_paths_open(drawn_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(drawn_path.parent)
    with open_store(drawn_path.name) as store:
        assert store.sql("select count(*) from samples").fetchall() == [(4,)]
        assert repr(store) == f"Store({str(drawn_path)!r})"


def test_info(drawn: Store) -> None:
    info = drawn.info()
    assert (info["samples_recorded"], info["samples_failed"], info["graphs"], info["shards"]) == (3, 1, 2, 2)
    assert (info["parameters"], info["edges_of_all_samples"], info["detail"]) == (8, 60, "all")
    assert info["table best_edges"].startswith("60 rows, ")
    json.dumps(info)


def test_asking_in_sql_loads_neither_numba_nor_torch(drawn: Store) -> None:
    code = (
        "import sys\nfrom gradtrace import open_store\n"
        f"open_store({str(drawn.path)!r}).sql('from samples').fetchall()\n"
        "heavy = ('torch', 'numba', 'pandas', 'onnx', 'gradtrace.exporters', 'typer', 'rich')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
