"""What is damaged in a store is made again, alone; the store is then what it was."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gradtrace.exporters.store.settings import Settings
from gradtrace.exporters.store.writer import StoreWriter
from gradtrace.pipeline.dump.dump import dump
from gradtrace.pipeline.dump.models import OpenedModel
from gradtrace.pipeline.dump.repair import find_damage, repair
from gradtrace.pipeline.dump.samples import Samples
from gradtrace.pipeline.dump.study import StudySource
from gradtrace.queries import StoreError, open_store
from gradtrace.queries.manifest import Manifest, read_manifest, write_manifest

from ..studies import MODELS, Ran, assert_one_line_error, assert_same_tables, fingerprints, gradtrace, write_lines

LINES = (
    "dog",
    "the cat",
    "",
    "a big bird hears us",
    "a dog",
    "the cat sees me",
)  # four graphs, one sample that is none


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model's file `models.py` and the samples `lines.txt`."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "models.py").write_text(MODELS)
    write_lines(folder / "lines.txt", *LINES)
    return folder


@pytest.fixture(scope="module")
def wanted(place: Path) -> Path:
    """Their store, a shard for each sample; not to be changed."""
    ran = gradtrace(
        *("dump", f"{place}/models.py:rnn", "--samples", place / "lines.txt", "--out", place / "store"),
        *("--detail", "all"),
    )
    assert (ran.code, ran.out) == (1, f"{place}/store: 5 samples stored\n")
    return place / "store"


@pytest.fixture
def store(wanted: Path, in_memory: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(wanted, in_memory / "store"))


def flip(path: Path) -> None:
    """Change one byte in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def take_away(path: Path) -> None:
    path.unlink()


def swap(path: Path) -> None:
    """With the same file of another shard."""
    other = path.parent.parent / ("shard=00003" if path.parent.name != "shard=00003" else "shard=00001") / path.name
    data = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(data)


def assert_healthy(store: Path, wanted: Path) -> None:
    """It holds what the other one does, and every byte is as it was written."""
    assert_same_tables(store, wanted)
    assert (store / "model.onnx").read_bytes() == (wanted / "model.onnx").read_bytes()
    assert find_damage(store, read_manifest(store)).n_parts == 0
    assert {name for name in fingerprints(store) if name != ".lock"} == {
        name for name in fingerprints(wanted) if name != ".lock"
    }
    with open_store(store) as opened:
        assert [check for check in opened.verify() if not check.ok] == []


@pytest.mark.parametrize("damage", [flip, cut, empty, take_away, swap])
@pytest.mark.parametrize("table", ["samples", "edges", "path_edges"])
def test_a_file_of_a_shard(store: Path, wanted: Path, damage: Callable[[Path], None], table: str) -> None:
    before = fingerprints(store)
    damage(store / table / "shard=00003" / "part-0.parquet")
    shards = (1, 3) if damage is swap else (3,)
    ran = gradtrace("repair", store)
    said = [f"shard {number}, samples {number} to {number}: {table}/shard={number:05d}" for number in shards]
    assert (ran.code, ran.err) == (0, "")
    *lines, last = ran.out.splitlines()
    assert all(line.startswith(f"repaired {part}") for line, part in zip(lines, said, strict=True))
    assert last == f"{store}: {len(shards)} part{'s' if damage is swap else ''} made again"
    assert_healthy(store, wanted)
    after = fingerprints(store)
    alone = {f"shard={number:05d}" for number in shards}
    changed = {name for name in before if after[name] != before[name]}
    assert {Path(name).parent.name for name in changed} - {""} <= alone  # '': the manifest
    assert gradtrace("repair", store) == Ran(0, f"{store}: healthy, every byte is as it was written\n", "")


@pytest.mark.parametrize("table", ["graphs", "nodes", "tensors", "components", "parameter_groups"])
def test_a_table_of_graphs(store: Path, wanted: Path, table: str) -> None:
    flip(store / f"{table}.parquet")
    (said,) = repair(store)
    assert said.startswith(f"the tables of graphs: {table}.parquet holds other bytes")
    assert_healthy(store, wanted)


def test_the_model(store: Path, wanted: Path) -> None:
    take_away(store / "model.onnx")
    (said,) = repair(store)
    assert said.startswith("the model: model.onnx is missing")
    assert_healthy(store, wanted)


def test_everything(store: Path, wanted: Path) -> None:
    """All that is left is the manifest."""
    for folder in [path for path in store.iterdir() if path.is_dir()]:
        shutil.rmtree(folder)
    for path in [*store.glob("*.parquet"), store / "model.onnx"]:
        path.unlink()
    parts: list[int] = []
    assert len(repair(store, on_part=parts.append)) == len(LINES) + 2
    assert parts == list(range(1, len(LINES) + 3))
    assert_healthy(store, wanted)


def test_a_healthy_store_is_not_touched(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    monkeypatch.setattr(StudySource, "open", None)
    assert repair(store) == []
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*")} == before


def test_shuffled_samples_in_shards_of_several(place: Path, in_memory: Path) -> None:
    write_lines(in_memory / "many.txt", *(f"the {'big ' * (i % 3)}cat" for i in range(20)))
    command = ("dump", f"{place}/models.py:lstm", "--samples", in_memory / "many.txt", "--shuffle", "--seed", 5)
    command = (*command, "--limit", 18, "--method", "soft", "--method", "greedy", "--out")
    assert gradtrace(*command, in_memory / "wanted").code == 0
    out = Path(shutil.copytree(in_memory / "wanted", in_memory / "store"))
    flip(out / "best_edges" / "shard=00001" / "part-0.parquet")
    cut(out / "tensors.parquet")
    assert [line.partition(":")[0] for line in repair(out)] == ["shard 1, samples 8 to 15", "the tables of graphs"]
    assert_healthy(out, in_memory / "wanted")


def test_an_unfinished_store(rnn: OpenedModel, place: Path, wanted: Path, in_memory: Path) -> None:
    """It is repaired, and then goes on."""

    class StopError(Exception):
        pass

    def until(done: int) -> None:
        if done == 4:
            raise StopError

    out = in_memory / "store"
    source = StudySource(f"{place}/models.py:rnn", place / "lines.txt")
    opened = source.open()
    with pytest.raises(StopError):
        dump(opened.traced, opened.samples, out, Settings("all"), until, source=source.in_manifest())
    flip(out / "edges" / "shard=00001" / "part-0.parquet")
    flip(next(out.glob("nodes-*.parquet")))
    ran = gradtrace("repair", out)
    assert ran.out.endswith(f"{out}: 2 parts made again; its dump is not finished: the command that began it goes on\n")
    assert not read_manifest(out).complete
    dump(opened.traced, opened.samples, out, Settings("all"))
    assert_healthy(out, wanted)
    del rnn


class KilledError(Exception):
    """Raised in the middle of a repair."""


@pytest.mark.parametrize("moment", [0, 1, 2, 5, 9, 14, 20, 25, 30])
def test_interrupted_at_any_moment(store: Path, wanted: Path, monkeypatch: pytest.MonkeyPatch, moment: int) -> None:
    """Nothing more is lost than was damaged; run again, it is made again."""
    flip(store / "edges" / "shard=00001" / "part-0.parquet")
    flip(store / "samples" / "shard=00003" / "part-0.parquet")
    flip(store / "graphs.parquet")
    flip(store / "model.onnx")
    calls = iter(range(1000))
    replaced = Path.replace

    def counted(path: Path, target: Any) -> Path:
        if next(calls) == moment:
            raise KilledError
        return replaced(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", counted)
        patch.setattr(StoreWriter, "_remove_unlisted", lambda _: None)  # killed, it removes nothing
        with pytest.raises(KilledError):
            repair(store)
    found = find_damage(store, read_manifest(store))
    assert found.shards.keys() <= {1, 3}
    repair(store)
    if found.n_parts:
        assert_healthy(store, wanted)
    else:  # stopped when only files of before were left to be removed, which a healthy store may hold
        assert_same_tables(store, wanted)


# What it refuses


def changed_manifest(store: Path, change: Callable[[Manifest], None]) -> None:
    """A manifest that says something else, as whoever makes a store can write it."""
    manifest = read_manifest(store)
    change(manifest)
    write_manifest(store, manifest)


def test_model_and_samples_that_moved(store: Path, wanted: Path, place: Path, tmp_path: Path) -> None:
    changed_manifest(store, lambda m: m.source.update(model="gone/models.py:rnn", samples="gone.txt"))
    flip(store / "edges" / "shard=00001" / "part-0.parquet")
    damaged = fingerprints(store)
    assert_one_line_error(gradtrace("repair", store), "gone/models.py does not exist", "--model MODEL --samples FILE")
    ran = gradtrace("repair", store, "--model", f"{place}/models.py:rnn")
    assert_one_line_error(ran, "samples file gone.txt does not exist", "--samples FILE")
    other = write_lines(tmp_path / "other.txt", *LINES[1:], LINES[0])
    given = ("repair", store, "--model", f"{place}/models.py:rnn", "--samples")
    assert_one_line_error(gradtrace(*given, other), "other.txt is not the samples that", "--samples FILE")
    ran = gradtrace("repair", store, "--model", f"{place}/models.py:lstm", "--samples", place / "lines.txt")
    assert_one_line_error(ran, "models.py:lstm is not the model that", "--model MODEL")
    assert fingerprints(store) == damaged
    moved = Path(shutil.copy(place / "lines.txt", tmp_path / "moved.txt"))
    assert gradtrace(*given, moved).code == 0
    assert_same_tables(store, wanted)


def test_a_model_in_memory(rnn: OpenedModel, sentences: Samples, place: Path, in_memory: Path) -> None:
    out = in_memory / "store"
    dump(rnn.traced, sentences, out, Settings("study"))
    cut(out / "samples" / "shard=00000" / "part-0.parquet")
    assert_one_line_error(gradtrace("repair", out), "from a model in memory", "--model MODEL --samples FILE")
    del place


def test_code_that_a_store_brings_along_is_not_run(store: Path, tmp_path: Path) -> None:
    (store / "evil.py").write_text(f"open({str(tmp_path / 'owned')!r}, 'w')")
    flip(store / "edges" / "shard=00001" / "part-0.parquet")
    for named in (f"{store}/evil.py:build", f"{os.path.relpath(store)}/../store/evil.py:build", f"hf:{store}"):
        changed_manifest(store, lambda m, named=named: m.source.update(model=named))  # type: ignore[misc]
        assert_one_line_error(gradtrace("repair", store), "names a model in its own folder", "--model")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("fingerprint", ["", "x", "12-", "12-1-shuffled-", "12-1-shuffled-a", "12-1-2", "--"])
def test_a_fingerprint_that_is_none(store: Path, fingerprint: str) -> None:
    changed_manifest(store, lambda m: m.samples.update(fingerprint=fingerprint))
    flip(store / "edges" / "shard=00001" / "part-0.parquet")
    assert_one_line_error(gradtrace("repair", store), "is no fingerprint of samples")


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[" * 10_000])
def test_a_manifest_that_is_none(store: Path, content: bytes | None) -> None:
    (store / "manifest.json").unlink()
    if content is not None:
        (store / "manifest.json").write_bytes(content)
    assert_one_line_error(gradtrace("repair", store), "manifest.json")


def test_a_store_that_is_none(tmp_path: Path) -> None:
    assert_one_line_error(gradtrace("repair", tmp_path / "nowhere"), "is not a graph store: it does not exist")


def test_another_version_that_makes_other_graphs(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flip(store / "edges" / "shard=00001" / "part-0.parquet")
    monkeypatch.setattr("gradtrace.exporters.store.graphs.fingerprint", lambda _: "another")
    with pytest.raises(
        StoreError, match=r"has no graph as that of a sample of shard 1, made again: gradtrace .* wrote"
    ):
        repair(store)
    assert find_damage(store, read_manifest(store)).shards.keys() == {1}


def test_what_the_manifest_says(place: Path, wanted: Path) -> None:
    assert read_manifest(wanted).source == {
        "model": f"{place}/models.py:rnn",
        "samples": f"{place}/lines.txt",
        "objective": "loss",
        "check": "some",
    }
    assert (
        f'reveals paths,"{place}/models.py:rnn, {place}/lines.txt"' in gradtrace("info", wanted, "--format", "csv").out
    )


def test_names_that_no_text_can_hold() -> None:
    assert StudySource("m\udcff.py:rnn", Path("lines.txt")).in_manifest() == {}
    assert StudySource("m.py:rnn", Path("li\x1bnes.txt")).in_manifest() == {}
