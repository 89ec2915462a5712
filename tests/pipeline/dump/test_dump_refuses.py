"""A dump never mixes two studies, never writes over anything, and says in one line what it found and what it wanted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gradtrace.pipeline.dump.dump import Settings, dump
from gradtrace.pipeline.dump.models import OpenedModel
from gradtrace.pipeline.dump.samples import Samples, read_samples
from gradtrace.queries import StoreError
from gradtrace.queries.manifest import MANIFEST

from ..studies import SENTENCES, assert_one_line_error, fingerprints, gradtrace, write_lines


def refused(model: OpenedModel, samples: Samples, out: Path, settings: Settings) -> str:
    """The one line of the refusal; nothing on disk has changed."""
    before = fingerprints(out)
    with pytest.raises(StoreError) as error:
        dump(model.traced, samples, out, settings)
    after = fingerprints(out)
    after.pop(".lock", None)
    before.pop(".lock", None)
    assert after == before
    assert "\n" not in str(error.value)
    return str(error.value)


def test_another_model(lstm: OpenedModel, sentences: Samples, rnn_store: Path) -> None:
    message = refused(lstm, sentences, rnn_store, Settings())
    assert f"{rnn_store} holds another dump: it has " in message
    assert "model name 'rnn'; this command has " in message
    assert "'lstm'" in message
    assert "Choose another folder" in message


def test_another_checkpoint(models_file: Path, sentences: Samples, rnn_store: Path) -> None:
    """One number of one parameter differs."""
    from gradtrace.pipeline.dump.models import open_model

    other = open_model(f"{models_file}:rnn", "float32")
    with torch.no_grad():
        next(other.traced._module.parameters())[0, 0] += 1e-3  # type: ignore[attr-defined]
    message = refused(other, sentences, rnn_store, Settings())
    assert "it has model fingerprint '" in message


@pytest.mark.parametrize(
    ("lines", "limit"),
    [
        ((*SENTENCES[:-1], "the dog likes me"), None),
        (SENTENCES[::-1], None),
        ((*SENTENCES, "dog"), None),
        (SENTENCES, 3),
    ],
    ids=["a word", "the order", "one more", "one fewer"],
)
def test_other_samples(
    rnn: OpenedModel, rnn_store: Path, tmp_path: Path, lines: tuple[str, ...], limit: int | None
) -> None:
    samples = read_samples(write_lines(tmp_path / "sentences.txt", *lines), rnn.encode, limit)
    message = refused(rnn, samples, rnn_store, Settings())
    assert "it has samples " in message
    assert ("count" in message) == (len(lines) != len(SENTENCES) or limit is not None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"detail": "all"}, "settings detail 'parameters'; this command has 'all'."),
        ({"dtype": "float64"}, "settings dtype 'float32'; this command has 'float64'."),
        ({"keep": 3}, "settings keep 2; this command has 3."),
        ({"parameter_vertices": False}, "settings parameter_vertices True; this command has False."),
        ({"methods": ("product",)}, "settings methods ['greedy']; this command has ['product']."),
    ],
)
def test_other_settings(
    rnn: OpenedModel, sentences: Samples, rnn_store: Path, change: dict[str, Any], message: str
) -> None:
    assert message in refused(rnn, sentences, rnn_store, replace(Settings(), **change))


@pytest.mark.parametrize("name", ["thesis.tex", "samples/mine.tmp", "edges.parquet", "edges/part-0.parquet", "a/b.txt"])
def test_a_folder_with_other_files(rnn: OpenedModel, sentences: Samples, tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("years of work")
    message = refused(rnn, sentences, tmp_path, Settings())
    assert message == f"{tmp_path} is not empty and holds no graph store. Choose another folder for --out."


def test_files_of_the_user_in_a_store_are_left_alone(
    rnn: OpenedModel, sentences: Samples, rnn_store: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(rnn_store, tmp_path / "store"))
    for name in ("notes.tmp", "edges.parquet", "plots/samples.parquet", "samples/part-0.parquet"):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("mine")
    before = fingerprints(out)
    dump(rnn.traced, sentences, out, Settings())
    assert fingerprints(out) == before


def test_out_is_a_file(models_file: Path, sentences_file: Path, tmp_path: Path) -> None:
    out = write_lines(tmp_path / "file", "mine")
    ran = gradtrace("dump", f"{models_file}:rnn", "--samples", sentences_file, "--out", out)
    assert_one_line_error(ran, str(out))
    assert out.read_text() == "mine\n"


def _edit(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def damage(store: Path) -> None:
        values = json.loads((store / MANIFEST).read_text())
        change(values)
        (store / MANIFEST).write_text(json.dumps(values))

    return damage


def _write(text: str) -> Callable[[Path], None]:
    return lambda store: (store / MANIFEST).write_text(text) and None  # type: ignore[func-returns-value]


def _shorten(name: str) -> Callable[[Path], None]:
    def damage(store: Path) -> None:
        data = (store / name).read_bytes()
        (store / name).write_bytes(data[:-7])

    return damage


@pytest.mark.parametrize("name", ["\udcff", "a\udce9b"])
def test_a_folder_whose_name_is_no_text(models_file: Path, sentences_file: Path, tmp_path: Path, name: str) -> None:
    out = f"--out={tmp_path}/{name}"
    ran = gradtrace("dump", f"{models_file}:rnn", "--samples", sentences_file, out)
    assert_one_line_error(ran, "has a name that is not UTF-8 text")
    assert not list(tmp_path.iterdir())
    for command in ("info", "verify", "repair"):
        assert_one_line_error(gradtrace(command, f"{tmp_path}/{name}"), "has a name that is not UTF-8 text")


@pytest.mark.parametrize("name", [" ", "new\nline", "\x1b[31m", "-x", "~", "{a}", "%s", "'q\"", ".hidden", "caf\u00e9"])
def test_a_folder_with_an_odd_name(
    models_file: Path, sentences_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ("dump", f"{models_file}:rnn", "--samples", sentences_file, "--limit", 1, "--detail", "study")
    ran = gradtrace(*command, f"--out={name}")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.removesuffix("\n").isprintable()
    for asked in ("info", "verify", "repair"):
        ran = gradtrace(asked, "--", name)
        assert (ran.code, ran.err) == (0, "")
        assert ran.out.replace("\n", "").isprintable()


EDGES = "best_edges/shard=00000/part-0.parquet"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_write(""), "manifest.json is damaged"),
        (_write('{"format": "gradtrace", "format_'), "manifest.json is damaged"),
        (_write("[]"), "manifest.json is damaged"),
        (_write('{"format": "other"}'), "manifest.json is damaged"),
        (lambda store: (store / MANIFEST).write_bytes(b"\xff\xfe\x00"), "manifest.json is damaged"),
        (_edit(lambda values: values.pop("settings")), "manifest.json is damaged"),
        (_edit(lambda values: values.update(shards=[{"shard": 0}])), "manifest.json is damaged"),
        (_edit(lambda values: values.update(format_version=0)), "has format version 0; this gradtrace reads version 3"),
        (
            _edit(lambda values: values.update(format_version=2)),
            "has format version 2; this gradtrace reads version 3. `gradtrace upgrade",
        ),
        (_shorten(EDGES), f"{EDGES} has "),
        (_shorten("nodes.parquet"), "nodes.parquet has "),
        (lambda store: (store / EDGES).unlink(), f"{EDGES} is missing, the manifest says "),
        (lambda store: (store / "graphs.parquet").unlink(), "graphs.parquet is missing"),
        (lambda store: (store / MANIFEST).unlink(), "is not empty and holds no graph store"),
    ],
)
def test_a_damaged_store(
    rnn: OpenedModel,
    sentences: Samples,
    rnn_store: Path,
    tmp_path: Path,
    damage: Callable[[Path], None],
    message: str,
) -> None:
    out = Path(shutil.copytree(rnn_store, tmp_path / "store"))
    damage(out)
    said = refused(rnn, sentences, out, Settings())
    assert message in said
    assert str(out) in said


@pytest.mark.parametrize("name", ["samples/shard=00000/part-0.parquet", "graphs.parquet"])
def test_a_file_of_the_right_size_with_other_bytes(
    models_file: Path, sentences_file: Path, rnn_store: Path, tmp_path: Path, name: str
) -> None:
    out = Path(shutil.copytree(rnn_store, tmp_path / "store"))
    size = (out / name).stat().st_size
    (out / name).write_bytes(b"\0" * size)
    ran = gradtrace("dump", f"{models_file}:rnn", "--samples", sentences_file, "--out", out)
    assert_one_line_error(ran, str(out), "damaged")


def test_the_command_says_it_in_one_line(models_file: Path, sentences_file: Path, rnn_store: Path) -> None:
    before = fingerprints(rnn_store)
    ran = gradtrace("dump", f"{models_file}:rnn", "--samples", sentences_file, "--out", rnn_store, "--keep", "5")
    assert_one_line_error(ran, "settings keep 2; this command has 5.")
    assert fingerprints(rnn_store) == before
