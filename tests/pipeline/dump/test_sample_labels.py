"""Labels of samples, from the .jsonl file to the store, and texts in it for the model's encoder."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from gradtrace.exporters.models import SampleError
from gradtrace.pipeline.dump.dump import Settings, dump
from gradtrace.pipeline.dump.models import OpenedModel
from gradtrace.pipeline.dump.samples import read_samples
from gradtrace.queries import open_store

from ..studies import Ran, gradtrace, rows, write_lines

INPUTS = {"input_ids": [[1, 2, 3]], "targets": [[2, 3, 1]]}
LABELS = {"condition": "plural", "correct": True, "attractors": 2, "distance": 0.5, "unknown": None}


def samples_file(tmp_path: Path, *objects: object) -> Path:
    return write_lines(tmp_path / "s.jsonl", *map(json.dumps, objects))


def test_texts_and_labels_reach_the_store(rnn: OpenedModel, tmp_path: Path) -> None:
    text = "the cat sees me"
    file = samples_file(tmp_path, {"text": text, "labels": LABELS}, {**INPUTS, "labels": {"condition": "x"}}, INPUTS)
    dump(rnn.traced, read_samples(file, rnn.encode), tmp_path / "store", Settings())
    found = rows(tmp_path / "store", "samples").to_pylist()
    assert [row["status"] for row in found] == ["ok", "ok", "ok"]
    assert [tuple(row.values()) for row in rows(tmp_path / "store", "labels").to_pylist()] == [
        (0, "attractors", "2"),
        (0, "condition", "plural"),
        (0, "correct", "true"),
        (0, "distance", "0.5"),
        (1, "condition", "x"),
    ]
    assert (found[0]["text"], found[0]["tokens"]) == (text, ["<eos>", *text.split()])
    assert [row["checkpoint"] for row in found] == [None] * 3
    with open_store(tmp_path / "store") as store:
        assert [check for check in store.verify() if not check.ok] == []
        assert store.importance(by=["correct"]).select("correct", "samples").fetchall() == [("true", 1), (None, 2)]


def test_a_text_is_encoded_as_a_line_of_it_is(rnn: OpenedModel, tmp_path: Path) -> None:
    (line,) = read_samples(write_lines(tmp_path / "s.txt", "a dog likes us"), rnn.encode).samples
    (given,) = read_samples(samples_file(tmp_path, {"text": "a dog likes us"}), rnn.encode).samples
    assert line.encode().tokens == given.encode().tokens
    assert all((line.encode().inputs[name] == value).all() for name, value in given.encode().inputs.items())


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ({"text": "a dog", "labels": ["plural"]}, r"s\.jsonl:1: 'labels' is \[\"plural\"\]; names with texts"),
        ({"text": "a dog", "labels": {"condition": ["plural"]}}, "as in {.condition.: .plural.}"),
        ({**INPUTS, "labels": "plural"}, "'labels' is \"plural\""),
        ({**INPUTS, "labels": None}, "'labels' is null"),
        ({"text": "a dog", "tokens": ["a", "dog"]}, "'tokens' is for lines that give inputs"),
        ({"text": " "}, "'text' is \" \", a text is wanted"),
        ({"text": 3}, "'text' is 3, a text is wanted"),
        ({"text": "a dog", "label": {"condition": "plural"}}, "not an object of nested lists of numbers"),
    ],
)
def test_wrong_lines(rnn: OpenedModel, tmp_path: Path, sample: object, message: str) -> None:
    samples = read_samples(samples_file(tmp_path, sample), rnn.encode).samples
    assert samples[0].labels == {}
    with pytest.raises(SampleError, match=message):
        samples[0].encode()


def test_a_text_without_an_encoder(tmp_path: Path) -> None:
    (sample,) = read_samples(samples_file(tmp_path, {"text": "a dog", "labels": {"a": 1}}), None).samples
    assert sample.labels == {"a": "1"}
    with pytest.raises(SampleError, match="no encoder for text"):
        sample.encode()


def test_labels_are_printed(rnn: OpenedModel, tmp_path: Path) -> None:
    file = samples_file(tmp_path, {"text": "a dog likes us", "labels": LABELS})
    dump(rnn.traced, read_samples(file, rnn.encode), tmp_path / "store", Settings())
    said = "select map_from_entries(list((label, value) order by value)) as labels from labels"
    ask = ("sql", tmp_path / "store", said)
    wanted = {"distance": "0.5", "attractors": "2", "condition": "plural", "correct": "true"}
    assert json.loads(gradtrace(*ask, "--format", "json").out) == [{"labels": wanted}]
    said = "distance = 0.5, attractors = 2, condition = plural, correct = true"
    assert gradtrace(*ask) == Ran(0, f"labels\n{said}\n", "")
    (row,) = csv.DictReader(io.StringIO(gradtrace(*ask, "--format", "csv").out))
    assert json.loads(row["labels"]) == wanted
