"""Stores that gradtrace 0.1.0 wrote, in format 2, written again in this format: every number is the same.

tests/fixtures/format_2.tar.xz holds four of them, of a small RNN and two sentences: `study` (greedy), `statistics` (the
same with --statistics), `soft` (detail study, greedy and soft) and `all` (greedy and product). Their model.onnx is a
placeholder.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from gradtrace.exporters.store import upgrade as upgrades
from gradtrace.exporters.store.upgrade import find_gradients, upgrade
from gradtrace.queries import open_store
from gradtrace.queries.errors import StoreError
from gradtrace.queries.manifest import MANIFEST, MODEL, read_manifest
from gradtrace.queries.schema import GRAIN, GRAPH_TABLES, SHARD_TABLES

from ..studies import assert_one_line_error, fingerprints, gradtrace

FIXTURE = Path(__file__).parents[2] / "fixtures" / "format_2.tar.xz"
STORES = ("study", "statistics", "all")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the old stores, to be read only."""
    folder = tmp_path_factory.mktemp("format_2")
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def old(kept: Path, tmp_path: Path) -> Path:
    """A copy of the old store of detail study, to damage as one likes."""
    return Path(shutil.copytree(kept / "study", tmp_path / "old"))


def old_rows(store: Path, table: str) -> pa.Table:
    """A table of format 2 in the order of its grain."""
    manifest = json.loads((store / MANIFEST).read_text())
    listed = [file["path"] for shard in manifest["shards"] for file in shard["files"].get(table, [])]
    listed = listed if table in SHARD_TABLES else [manifest["graph_files"][table]["path"]]
    rows = pa.concat_tables([pq.read_table(store / path, partitioning=None) for path in listed])
    return rows.take(pc.sort_indices(_texts(rows), [(column, "ascending") for column in GRAIN[table]]))


def _texts(rows: pa.Table) -> pa.Table:
    """Labels as texts, which are sorted as texts."""
    fields = [f.with_type(pa.string()) if pa.types.is_dictionary(f.type) else f for f in rows.schema]
    return rows.cast(pa.schema(fields))


def has_rows(store: Path, table: str) -> bool:
    return table in GRAPH_TABLES or table in json.loads((store / MANIFEST).read_text())["shards"][0]["files"]


@pytest.mark.parametrize("name", STORES)
def test_every_number_is_the_same(kept: Path, tmp_path: Path, name: str) -> None:
    before = fingerprints(kept / name)
    upgrade(kept / name, tmp_path / "new")
    assert fingerprints(kept / name) == before
    with open_store(tmp_path / "new") as store:
        assert [check.name for check in store.verify() if not check.ok] == []
        assert store.manifest.complete
        for table in (*GRAPH_TABLES, *SHARD_TABLES):
            if not has_rows(kept / name, table) or (name == "statistics" and table == "vertices"):
                continue
            wanted = old_rows(kept / name, table)
            found = store.rows(f"select * from {table} order by {', '.join(GRAIN[table])}")
            assert found.num_rows == wanted.num_rows > 0, table
            # a score is null in the files where it is the contribution, and labels are a table of their own
            for column in set(wanted.column_names) - {"score", "labels"}:
                assert found[column].to_pylist() == wanted[column].to_pylist(), (table, column)
    assert (tmp_path / "new" / MODEL).read_bytes() == (kept / name / MODEL).read_bytes()


@pytest.mark.parametrize("name", ["statistics", "all"])
def test_scores_are_the_same(kept: Path, tmp_path: Path, name: str) -> None:
    upgrade(kept / name, tmp_path / "new")
    rows = old_rows(kept / name, "best_edges")
    wanted = [(row["contribution"] or None) if row["method"] == "greedy" else row["score"] for row in rows.to_pylist()]
    with open_store(tmp_path / "new") as store:
        found = store.rows(f"select score from best_edges order by {', '.join(GRAIN['best_edges'])}")
    assert found["score"].to_pylist() == wanted


def test_vertices_that_were_there_stay_and_targets_join_them(kept: Path, tmp_path: Path) -> None:
    upgrade(kept / "statistics", tmp_path / "new")
    wanted = old_rows(kept / "statistics", "vertices").to_pylist()
    with open_store(tmp_path / "new") as store:
        found = {(row["sample"], row["vertex"]): row for row in store.rows("select * from vertices").to_pylist()}
    assert len(found) > len(wanted) > 0
    for row in wanted:
        assert found[row["sample"], row["vertex"]] == row
        del found[row["sample"], row["vertex"]]
    assert all(row["value"] is None for row in found.values())


def test_labels_become_a_table(old: Path, tmp_path: Path) -> None:
    (listed,) = json.loads((old / MANIFEST).read_text())["shards"][0]["files"]["samples"]
    path = old / listed["path"]
    rows = pq.read_table(path, partitioning=None)
    labels = pa.array([[("number", "plural"), ("a", "b")], []], rows.schema.field("labels").type)
    pq.write_table(rows.set_column(rows.schema.get_field_index("labels"), "labels", labels), path)
    _edit_sizes(old, listed["path"], path.stat().st_size)
    upgrade(old, tmp_path / "new")
    with open_store(tmp_path / "new") as store:
        assert store.fetch("from labels order by all") == [(0, "a", "b"), (0, "number", "plural")]
        assert store.fetch("select sample_label(0, 'number')") == [("plural",)]


def _edit_sizes(store: Path, listed: str, size: int) -> None:
    """Have the manifest list a file with another size."""
    manifest = json.loads((store / MANIFEST).read_text())
    for shard in manifest["shards"]:
        for files in shard["files"].values():
            for file in files:
                file["bytes"] = size if file["path"] == listed else file["bytes"]
    (store / MANIFEST).write_text(json.dumps(manifest))


def test_paths_of_soft_do_not_follow(kept: Path, tmp_path: Path) -> None:
    before = fingerprints(kept / "soft")
    with pytest.raises(StoreError, match="the method soft, whose path_links and path_spans do not follow"):
        upgrade(kept / "soft", tmp_path / "new")
    assert fingerprints(kept / "soft") == before
    assert not (tmp_path / "new").exists()


def test_nodes_learn_whether_they_saturate(kept: Path, tmp_path: Path) -> None:
    upgrade(kept / "study", tmp_path / "new")
    with open_store(tmp_path / "new") as store:
        assert store.fetch("select distinct op_type, gate from nodes where saturates") == [("Tanh", False)]


def test_the_command(kept: Path, old: Path, tmp_path: Path) -> None:
    ran = gradtrace("upgrade", old)
    assert ran.code == 0, ran
    assert "old-format3" in ran.out
    upgrade(kept / "study", tmp_path / "wanted")
    found, wanted = fingerprints(tmp_path / "old-format3"), fingerprints(tmp_path / "wanted")
    assert found == wanted
    assert gradtrace("importance", tmp_path / "old-format3").code == 0
    assert_one_line_error(gradtrace("importance", old), "format version 2", f"gradtrace upgrade {old}")
    again = gradtrace("upgrade", tmp_path / "wanted")
    assert (again.code, again.out) == (
        0,
        f"{tmp_path / 'wanted'}: of format version 3 already, there is nothing to upgrade\n",
    )
    assert not (tmp_path / "wanted-format3").exists()


@pytest.mark.parametrize(("after", "shards"), [(0, 0), (3, 0), (20, 1)])
def test_interrupted_it_goes_on(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int, shards: int
) -> None:
    """Whenever it ends, the old store is as it was, the new one says that it is unfinished; the next run goes on."""
    before = fingerprints(kept / "all")
    write, written = upgrades.ShardWriter.write, 0

    def fail(writer: upgrades.ShardWriter, table: str, rows: pa.Table) -> None:
        nonlocal written
        written += 1
        if written > after:
            raise KeyboardInterrupt
        write(writer, table, rows)

    monkeypatch.setattr(upgrades.ShardWriter, "write", fail)
    with pytest.raises(KeyboardInterrupt):
        upgrade(kept / "all", tmp_path / "new")
    monkeypatch.undo()
    assert fingerprints(kept / "all") == before
    manifest = read_manifest(tmp_path / "new")
    assert (len(manifest.shards), manifest.complete) == (shards, False)
    done: list[int] = []
    upgrade(kept / "all", tmp_path / "new", done.append)
    assert done == [1, 2][shards:]
    upgrade(kept / "all", tmp_path / "wanted")
    assert fingerprints(tmp_path / "new") == fingerprints(tmp_path / "wanted")


def _edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def edit(store: Path) -> None:
        values = json.loads((store / MANIFEST).read_text())
        change(values)
        (store / MANIFEST).write_text(json.dumps(values))

    return edit


def _nodes_of_others(store: Path) -> None:
    rows = pq.read_table(store / "nodes.parquet").drop_columns(["role"])
    pq.write_table(rows, store / "nodes.parquet")
    size = (store / "nodes.parquet").stat().st_size
    _edit(lambda values: values["graph_files"]["nodes"].update(bytes=size))(store)


def _contribution(store: Path) -> None:
    path = next(store.glob("best_edges/*/*.parquet"))
    rows = pq.read_table(path, partitioning=None)
    numbers = rows["contribution"].to_numpy().copy()
    dst, counts = np.unique(rows["dst"].to_numpy(), return_counts=True)
    numbers[np.flatnonzero(rows["dst"].to_numpy() == dst[counts.argmax()])[0]] += 1
    rows = rows.set_column(rows.schema.get_field_index("contribution"), "contribution", pa.array(numbers))
    pq.write_table(rows, path)
    size = path.stat().st_size
    _edit(lambda values: values["shards"][0]["files"]["best_edges"][0].update(bytes=size))(store)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (_edit(lambda values: values.update(complete=False)), "is unfinished"),
        (_edit(lambda values: values.update(format_version=1)), "has format version 1; stores of version 2"),
        (_edit(lambda values: values["graph_files"]["nodes"].update(path="../x")), "path of a file in the store"),
        (_edit(lambda values: values["settings"].update(detail="x")), "one of study, parameters, all"),
        (_edit(lambda values: values.pop("shards")), "has no 'shards'"),
        (lambda store: (store / MANIFEST).write_text("{"), "is damaged"),
        (lambda store: (store / MANIFEST).unlink(), "is not a graph store"),
        (lambda store: (store / "nodes.parquet").unlink(), "nodes.parquet is missing"),
        (lambda store: (store / "nodes.parquet").write_bytes(b"x" * 4018), "nodes.parquet"),
        (_nodes_of_others, "has not the columns of format 2"),
        (_contribution, "no gradient of vertex"),
    ],
)
def test_what_cannot_be_upgraded_is_refused(old: Path, harm: Callable[[Path], object], reason: str) -> None:
    harm(old)
    assert_one_line_error(gradtrace("upgrade", old), reason)


def test_a_folder_with_something_else_is_refused(old: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    assert_one_line_error(gradtrace("upgrade", old, "--out", tmp_path / "full"), "is not empty")
    assert_one_line_error(gradtrace("upgrade", old, "--out", old), "Choose another folder")
    assert_one_line_error(gradtrace("upgrade", old, "--out", old / "new"), "Choose another folder")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradients_that_explain_contributions_are_found(dtype: Any) -> None:
    draw = np.random.default_rng(0)
    gradient = (draw.standard_normal(2000) * 10.0 ** draw.integers(-30, 3, 2000)).astype(dtype)
    gradient[:100] = 0
    dst = draw.integers(0, 2000, 5000)
    derivative = (draw.standard_normal(5000) * 10.0 ** draw.integers(-12, 3, 5000)).astype(dtype)
    derivative[draw.integers(0, 5000, 500)] = 0
    contribution = derivative * gradient[dst]
    vertex, found = find_gradients(dst, derivative, contribution)
    assert found.dtype == dtype
    np.testing.assert_array_equal(vertex, np.unique(dst))
    np.testing.assert_array_equal(derivative * found[np.searchsorted(vertex, dst)], contribution)
    assert [array.size for array in find_gradients(dst[:0], derivative[:0], contribution[:0])] == [0, 0]
