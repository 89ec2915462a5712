"""A store that was made to do harm: its sums are right, and nothing of it is run, read elsewhere or believed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gradtrace.queries import StoreError, open_store
from gradtrace.queries.manifest import MANIFEST, read_manifest, sealed, write_manifest

from ..drawing import stored_file, write_store
from ..drawn_cell import drawn_samples

Values = dict[str, Any]


def edited(store: Path, change: Callable[[Values], object]) -> None:
    """Change the manifest and give it the sum it then has."""
    path = store / MANIFEST
    values = json.loads(path.read_text())
    change(values)
    path.write_bytes(sealed(values))


def use(store: Path) -> None:
    """Everything that a command asks of a store."""
    with open_store(store) as opened:
        opened.info()
        opened.importance().fetchall()
        opened.trace("out.bias")
        opened.rows("select * from edges")


SQL = "x'; copy (select 42) to '{out}'; select '"
HARM: dict[str, Callable[[Values, str], object]] = {
    "method": lambda m, sql: m["settings"].update(methods=[sql]),
    "a second method": lambda m, sql: m["settings"].update(methods=["greedy", sql]),
    "methods as text": lambda m, sql: m["settings"].update(methods=sql),
    "methods as object": lambda m, sql: m["settings"].update(methods={"greedy": sql}),
    "detail": lambda m, sql: m["settings"].update(detail=sql),
    "dtype": lambda m, sql: m["settings"].update(dtype=sql),
    "keep": lambda m, sql: m["settings"].update(keep=sql),
    "graph rows": lambda m, sql: m["graph_files"]["graphs"].update(rows=sql),
    "shard rows": lambda m, sql: m["shards"][0]["files"]["edges"][0].update(rows=sql),
    "table": lambda m, sql: m["graph_files"].update({sql: m["graph_files"]["graphs"]}),
    "shard table": lambda m, sql: m["shards"][0]["files"].update({sql: m["shards"][0]["files"]["edges"]}),
    "path": lambda m, sql: m["graph_files"]["graphs"].update(path=sql),
    "shard path": lambda m, sql: m["shards"][0]["files"]["edges"][0].update(path=sql),
    "field": lambda m, sql: m.update({sql: 1}),
    "setting": lambda m, sql: m["settings"].update({sql: 1}),
    "fields of a file": lambda m, sql: m["graph_files"]["graphs"].update({sql: 1}),
    "complete": lambda m, sql: m.update(complete=sql),
    "count": lambda m, sql: m["samples"].update(count=sql),
}


@pytest.mark.parametrize("harm", HARM)
def test_sql_in_a_manifest_is_refused(drawn_path: Path, harm: str) -> None:
    out = drawn_path.parent / "stolen.csv"
    edited(drawn_path, lambda values: HARM[harm](values, SQL.format(out=out)))
    with pytest.raises(StoreError, match="damaged") as error:
        use(drawn_path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500 + len(str(drawn_path))
    assert not out.exists()


@pytest.mark.parametrize("harm", ["name", "source", "fingerprint", "tool_version"])
def test_sql_in_a_text_of_a_manifest_is_a_text(drawn_path: Path, harm: str) -> None:
    out = drawn_path.parent / "stolen.csv"
    text = SQL.format(out=out)
    place: dict[str, Callable[[Values], object]] = {
        "name": lambda m: m["model"].update(name=text),
        "source": lambda m: m["samples"].update(source=text),
        "fingerprint": lambda m: m["samples"].update(fingerprint=text),
        "tool_version": lambda m: m.update(tool_version=text),
    }
    edited(drawn_path, place[harm])
    use(drawn_path)
    assert text in open_store(drawn_path).info().values()
    assert not out.exists()


@pytest.mark.parametrize(
    "path",
    [
        "../secret.parquet",
        "/etc/passwd",
        "edges/../../secret.parquet",
        "./graphs.parquet",
        "*.parquet",
        "graphs.parquet\0",
        "~/x",
        "C:\\x",
        "",
        "..",
        "edges//part-0.parquet",
        "https://example.com/x.parquet",
        None,
        1,
        ["graphs.parquet"],
    ],
)
def test_paths_stay_inside(drawn_path: Path, path: object) -> None:
    edited(drawn_path, lambda values: values["graph_files"]["graphs"].update(path=path))
    with pytest.raises(StoreError, match="path of a file in the store"):
        open_store(drawn_path)


def test_links_lead_nowhere_else(drawn_path: Path) -> None:
    outside = drawn_path.parent / "outside.parquet"
    file = drawn_path / "graphs.parquet"
    file.rename(outside)
    file.symlink_to(outside)
    with pytest.raises(StoreError, match=r"graphs.parquet is a link to a file outside the store"):
        open_store(drawn_path)
    assert any(not check.ok for check in open_store(drawn_path, check=False).verify())
    file.unlink()
    outside.rename(drawn_path / "elsewhere.parquet")
    file.symlink_to("elsewhere.parquet")
    use(drawn_path)


def test_a_linked_folder_leads_nowhere_else(drawn_path: Path) -> None:
    (drawn_path / "edges").rename(drawn_path.parent / "edges")
    (drawn_path / "edges").symlink_to(drawn_path.parent / "edges")
    with pytest.raises(StoreError, match="is a link to a file outside the store"):
        open_store(drawn_path)


def test_a_store_may_stand_behind_a_link(drawn_path: Path) -> None:
    link = drawn_path.parent / "link"
    link.symlink_to(drawn_path)
    use(link)


def test_what_is_no_file_is_not_read(drawn_path: Path) -> None:
    (drawn_path / "graphs.parquet").unlink()
    os.mkfifo(drawn_path / "graphs.parquet")
    with pytest.raises(StoreError, match=r"graphs.parquet is no file"):
        open_store(drawn_path)
    assert any(not check.ok for check in open_store(drawn_path, check=False).verify())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m["settings"].pop("keep"), "has no 'keep'"),
        (lambda m: m["settings"].update(keep=True), "wanted a whole number"),
        (lambda m: m["settings"].update(keep=-1), "wanted a whole number"),
        (lambda m: m["settings"].update(keep=2.0), "wanted a whole number"),
        (lambda m: m["samples"].update(count=10**30), "wanted a whole number"),
        (lambda m: m["samples"].update(count=float("nan")), "NaN is no number of JSON"),
        (lambda m: m["settings"].update(methods=[]), "wanted a list of at least 1"),
        (lambda m: m["settings"].update(methods=["greedy", "greedy"]), "wanted each name once"),
        (lambda m: m["settings"].update(methods=["\u001b[31m"]), r"'\x1b[31m'"),
        (lambda m: m["shards"][0].update(count=0), "wanted a whole number from 1"),
        (lambda m: m["shards"][0].update(first=-1), "wanted a whole number"),
        (lambda m: m.update(shards={}), "wanted a list"),
        (lambda m: m.update(shards=[None]), "wanted an object"),
        (lambda m: m["graph_files"]["graphs"].update(sha256="0" * 63), "wanted a SHA-256 sum"),
        (lambda m: m["graph_files"]["graphs"].update(bytes=-1), "wanted a whole number"),
        (lambda m: m["shards"].pop(0), "shard 0 with sample 0 is lost"),
        (lambda m: m["shards"].pop(), "shards hold 2 samples, and it says it has 4"),
        (lambda m: m["shards"][1].update(first=3), "shard 1 with sample 2 is lost"),
        (lambda m: m["graph_files"].pop("nodes"), "has no file of nodes"),
        (lambda m: m["shards"][1]["files"].pop("samples"), "has no file of samples"),
        (
            lambda m: m["shards"][1]["files"].update(edges=m["shards"][0]["files"]["edges"]),
            "lists edges/shard=00000/part-0.parquet twice",
        ),
    ],
)
def test_a_manifest_is_held_against_its_schema(drawn_path: Path, change: Callable[[Values], object], said: str) -> None:
    edited(drawn_path, change)
    with pytest.raises(StoreError) as error:
        open_store(drawn_path)
    assert said in str(error.value)


def test_a_deep_or_huge_manifest(drawn_path: Path) -> None:
    (drawn_path / MANIFEST).write_text("[" * 200_000)
    with pytest.raises(StoreError, match="nested too deeply"):
        open_store(drawn_path)
    with (drawn_path / MANIFEST).open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(StoreError, match=r"it has 1099511627776 bytes"):
        open_store(drawn_path)


def test_a_changed_manifest_is_found(drawn_path: Path) -> None:
    """Every byte of it, also one that changes no value."""
    path = drawn_path / MANIFEST
    content = path.read_bytes()
    for at in range(0, len(content), 97):
        for changed in (content[at] ^ 1, content[at] ^ 0x20):
            path.write_bytes(content[:at] + bytes([changed]) + content[at + 1 :])
            with pytest.raises(StoreError):
                open_store(drawn_path)
    path.write_bytes(content + b"\n")
    with pytest.raises(StoreError):
        open_store(drawn_path)


@pytest.mark.parametrize(
    "name", ["a?b", "g[1]", "*", "it's", 'say "x"', "é ü", "{a,b}", "[!x]", "a\\b", "--", ";", "~"]
)
def test_folders_of_any_name(tmp_path: Path, name: str) -> None:
    """Beside folders that a glob of that name would find."""
    for other in ("axb", "g1", "a", "b", "y"):
        write_store(tmp_path / other, drawn_samples()[:1])
    store = write_store(tmp_path / name, drawn_samples())
    use(store)
    assert open_store(store).sql("select count(*) from samples").fetchall() == [(4,)]
    if name == "a?b":
        assert [check for check in open_store(store).verify() if not check.ok] == []


def test_only_the_files_of_the_tables_can_be_read(drawn_path: Path) -> None:
    (drawn_path / "notes.csv").write_text("a\n1\n")
    (drawn_path / "link.csv").symlink_to("/etc/passwd")
    (drawn_path / "more.parquet").write_bytes((drawn_path / "graphs.parquet").read_bytes())
    with open_store(drawn_path) as store:
        for name in ("notes.csv", "link.csv", "more.parquet", MANIFEST, "*", "*.parquet"):
            with pytest.raises(StoreError):
                store.rows(f"from read_text('{drawn_path / name}')")
        assert store.rows(f"from read_parquet('{drawn_path / 'graphs.parquet'}')").num_rows == 2


def _numbers(table: str, column: str, value: object) -> Any:
    return pytest.param(table, column, value, id=f"{table}.{column}={value}")


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        _numbers(table, column, value)
        for table, columns in {
            "graphs": ("n_parameters", "n_vertices", "loss_vertex"),
            "nodes": ("node",),
            "tensors": ("tensor", "node", "first_vertex", "size"),
            "best_edges": ("src", "dst"),
            "entries": ("vertex",),
        }.items()
        for column in columns
        for value in (-1, 2**30)
    ]
    + [
        _numbers("tensors", "shape", [2**40, 2**40]),
        _numbers("parameter_groups", "parameter", "elsewhere"),
        _numbers("path_totals", "parameter_group", "elsewhere"),
        _numbers("edges", "dst", 2**40),
        _numbers("vertices", "vertex", 2**40),
    ],
)
def test_numbers_that_lead_over_an_end(drawn_path: Path, table: str, column: str, value: object) -> None:
    """One row whose number names nothing: an error of the store or a failed check, and the process lives."""
    manifest = read_manifest(drawn_path)
    file = manifest.stored_files(table)[0]
    old = pq.read_table(drawn_path / file.path)
    rows = old.to_pylist()
    rows[-1][column] = value
    pq.write_table(pa.Table.from_pylist(rows, schema=old.schema), drawn_path / file.path)
    vars(file).update(vars(stored_file(drawn_path, drawn_path / file.path, len(rows))))
    write_manifest(drawn_path, manifest)
    with open_store(drawn_path) as store:
        assert not all(check.ok for check in store.verify())
        for ask in (
            lambda: store.importance(by=["sample", "layer"]).fetchall(),
            lambda: store.trace("out.bias", 1).text(),
            lambda: store.k_best("out.bias", 1).text(),
            lambda: store.rows("from vertices"),
        ):
            with suppress(StoreError):
                ask()
