"""`--shuffle`: which samples a store holds, and in which order."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradtrace.exporters.store.settings import Settings
from gradtrace.pipeline.dump.dump import dump
from gradtrace.pipeline.dump.models import OpenedModel
from gradtrace.pipeline.dump.samples import Sample, read_samples

from ..studies import SENTENCES, assert_one_line_error, assert_same_tables, gradtrace, rows, write_lines


def texts(samples: list[Sample]) -> list[str | None]:
    return [sample.text for sample in samples]


def test_the_order_is_the_seeds_alone(rnn: OpenedModel, tmp_path: Path) -> None:
    lines = [str(i) for i in range(100)]
    path = write_lines(tmp_path / "s.txt", *lines)
    first, again, other = (read_samples(path, rnn.encode, shuffle=seed) for seed in (0, 0, 1))
    assert texts(first.samples) == texts(again.samples)
    assert sorted(map(str, texts(first.samples))) == sorted(lines)
    assert len({tuple(texts(s.samples)) for s in (first, other, read_samples(path, rnn.encode))}) == 3
    assert texts(first.samples)[:5] == ["61", "92", "72", "68", "44"]  # on every machine, in every version
    few = read_samples(path, rnn.encode, 7, 0)
    assert texts(few.samples) == texts(first.samples)[:7]
    marks = [first, other, few, read_samples(path, rnn.encode), read_samples(path, rnn.encode, 7)]
    assert len({samples.fingerprint for samples in marks}) == len(marks)
    assert first.fingerprint == again.fingerprint


def test_a_line_keeps_its_number_in_messages(rnn: OpenedModel, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "s.txt", "dog", "a cat", "", "the bird")
    samples = read_samples(path, rnn.encode, shuffle=3).samples
    dump(rnn.traced, read_samples(path, rnn.encode, shuffle=3), tmp_path / "store", Settings())
    found = rows(tmp_path / "store", "samples").to_pylist()
    assert [row["text"] for row in found] == texts(samples)
    ((message,),) = [[row["message"]] for row in found if row["status"] != "ok"]
    assert message.startswith("s.txt:3 is empty")


def test_the_number_of_a_sample_is_its_place_in_the_store(
    models_file: Path, sentences_file: Path, rnn_store: Path, tmp_path: Path
) -> None:
    out = tmp_path / "store"
    command = ("dump", f"{models_file}:rnn", "--samples", sentences_file, "--out", out, "--limit", 3)
    assert gradtrace(*command, "--shuffle", "--seed", 1).code == 0
    chosen = rows(out, "samples")["text"].to_pylist()
    assert chosen != list(SENTENCES[:3])
    for number, text in enumerate(chosen):
        assert_same_tables(out, rnn_store, (number, SENTENCES.index(text)))
    assert (
        gradtrace(*command, "--shuffle", "--seed", 1).out == f"{out}: 3 samples stored (3 samples were there before)\n"
    )
    for other in ((), ("--shuffle",), ("--shuffle", "--seed", 2)):
        assert_one_line_error(gradtrace(*command, *other), "holds another dump", "samples fingerprint")
    assert (
        "samples                  3"
        in gradtrace(*command[:-3], tmp_path / "x", *command[-2:], "--shuffle", "--dry-run").out
    )


def test_a_seed_of_nothing(models_file: Path, sentences_file: Path, tmp_path: Path) -> None:
    command = ("dump", f"{models_file}:rnn", "--samples", sentences_file, "--out", tmp_path / "store", "--seed", 1)
    ran = gradtrace(*command)
    assert (ran.code, ran.out) == (2, "")
    assert "it decides the order of --shuffle" in " ".join(ran.err.split())


@pytest.mark.parametrize("seed", [0, 5])
def test_every_place_is_as_likely(rnn: OpenedModel, tmp_path: Path, seed: int) -> None:
    """Not a permutation that leaves most samples near their places."""
    path = write_lines(tmp_path / "s.txt", *map(str, range(400)))
    order = [int(text or 0) for text in texts(read_samples(path, rnn.encode, shuffle=seed).samples)]
    moved = sum(abs(place - number) for place, number in enumerate(order)) / len(order)
    assert 110 < moved < 157  # a third of 400, more or less
