"""Samples that are no samples: each is marked with what is wrong with it, the others are as if it were not there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradtrace.exporters.models import SampleError
from gradtrace.pipeline.dump.dump import Settings, dump
from gradtrace.pipeline.dump.models import OpenedModel, open_model
from gradtrace.pipeline.dump.samples import read_samples
from gradtrace.queries import open_store

from ..studies import Ran, assert_one_line_error, assert_same_tables, gradtrace, rows, write_lines

GOOD = ("the cat sees me", "a dog likes us")
# eleven words, which no other sample of these tests has: the model is exported, and compared with torch, for lengths it
# has not seen
ELEVEN = '{"input_ids": [[1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2]], "targets": [[2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3]]}'


def statuses(store: Path) -> list[tuple[str, str | None]]:
    """Status and message of every sample."""
    found = rows(store, "samples").to_pylist()
    return [(row["status"], row["message"]) for row in found]


@pytest.fixture(scope="module")
def good_store(rnn: OpenedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The samples GOOD, alone."""
    folder = tmp_path_factory.mktemp("good")
    dump(rnn.traced, read_samples(write_lines(folder / "good.txt", *GOOD), rnn.encode), folder / "store", Settings())
    return folder / "store"


def dump_lines(model: OpenedModel, tmp_path: Path, *lines: str, name: str = "s.txt") -> Path:
    samples = read_samples(write_lines(tmp_path / name, *lines), model.encode)
    dump(model.traced, samples, tmp_path / "store", Settings())
    return tmp_path / "store"


@pytest.mark.parametrize("empty", ["", "   ", "\t", "\u00a0"])
def test_an_empty_line(rnn: OpenedModel, good_store: Path, tmp_path: Path, empty: str) -> None:
    store = dump_lines(rnn, tmp_path, GOOD[0], empty, GOOD[1])
    assert statuses(store) == [("ok", None), ("invalid", "s.txt:2 is empty; every line is one sample"), ("ok", None)]
    assert_same_tables(store, good_store, (0, 0))
    assert_same_tables(store, good_store, (2, 1))
    with open_store(store) as opened:
        assert [check for check in opened.verify() if not check.ok] == []


def test_the_command_says_which_samples_failed_and_why(models_file: Path, tmp_path: Path) -> None:
    samples = write_lines(tmp_path / "s.txt", "", GOOD[0], " ", GOOD[1])
    out = tmp_path / "store"
    command = ("dump", f"{models_file}:rnn", "--samples", samples, "--out", out)
    for before in ("", " (4 samples were there before)"):
        assert gradtrace(*command) == Ran(
            1,
            f"{out}: 2 samples stored{before}\n",
            "sample 0 is invalid: s.txt:1 is empty; every line is one sample\n"
            "sample 2 is invalid: s.txt:3 is empty; every line is one sample\n"
            "2 samples were not recorded, for the reasons above\n",
        )


def test_a_word_out_of_vocabulary_is_the_models_affair(rnn: OpenedModel, tmp_path: Path) -> None:
    store = dump_lines(rnn, tmp_path, "the xyzzy sees me")
    (row,) = rows(store, "samples").to_pylist()
    assert (row["status"], row["tokens"]) == ("ok", ["<eos>", "the", "xyzzy", "sees", "me"])
    with open_store(store) as opened:
        assert opened.trace("embedding.weight[0,0]").end == "loss"  # the row of <unk>


ENCODERS = """
import torch
from gradtrace import Encoded, Traceable
import language_models
WORDS = language_models.WORDS

def strict(text):
    ids = [WORDS.index(token) for token in text.split()]
    return Encoded({"input_ids": torch.tensor([[1, *ids]]), "targets": torch.tensor([[*ids, 1]])})

def by_dict(text):
    ids = [{word: i for i, word in enumerate(WORDS)}[token] for token in text.split()]
    return Encoded({"input_ids": torch.tensor([[1, *ids]]), "targets": torch.tensor([[*ids, 1]])})

def out_of_range(text):
    ids = [WORDS.index(token) if token in WORDS else 99 for token in text.split()]
    return Encoded({"input_ids": torch.tensor([[1, *ids]]), "targets": torch.tensor([[*ids, 1]])})

def sometimes_none(text):
    return None if "xyzzy" in text else strict(text)

def sometimes_lists(text):
    return Encoded({"input_ids": [[1]], "targets": [[1]]}) if "xyzzy" in text else strict(text)

def build(encode):
    return lambda: Traceable(language_models.rnn().model, encode, "rnn")

all_of_them = (strict, by_dict, out_of_range, sometimes_none, sometimes_lists)
build_strict, build_by_dict, build_out_of_range, build_sometimes_none, build_sometimes_lists = map(build, all_of_them)
"""


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("strict", "s.txt:2: the encoder failed: ValueError: 'xyzzy' is not in list (encoders.py, line 8)"),
        pytest.param(
            "by_dict", "s.txt:2: the encoder failed: KeyError: 'xyzzy' (encoders.py, line 12)", marks=pytest.mark.slow
        ),
        (
            "out_of_range",
            "operator Gather 'embedding' in module 'embedding': index 99 is out of range for an axis of size 19",
        ),
        ("sometimes_none", "the encoder returned something else than gradtrace.Encoded(inputs: dict of tensors)"),
        ("sometimes_lists", "the encoder returned something else than gradtrace.Encoded(inputs: dict of tensors)"),
    ],
)
def test_an_encoder_that_fails(models_file: Path, good_store: Path, tmp_path: Path, encoder: str, message: str) -> None:
    file = models_file.with_name("encoders.py")
    file.write_text(ENCODERS)
    model = open_model(f"{file}:build_{encoder}", "float32")
    store = dump_lines(model, tmp_path, GOOD[0], "the xyzzy sees me", GOOD[1])
    assert statuses(store) == [("ok", None), ("invalid", message), ("ok", None)]
    wanted, found = (rows(path, "best_edges") for path in (good_store, store))
    for column in ("src", "dst", "derivative"):
        assert found[column].equals(wanted[column])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"input_ids": [[1, 2]]', "s.jsonl:2 is not an object of nested lists of numbers"),
        ("[[1, 2]]", "s.jsonl:2 is not an object of nested lists of numbers"),
        ("", "s.jsonl:2 is not an object of nested lists of numbers"),
        ('{"input_ids": [[1, 2], [3]], "targets": [[1, 2]]}', "s.jsonl:2 is not an object of nested lists of numbers"),
        ('{"input_ids": [["the"]], "targets": [[1]]}', "s.jsonl:2 is not an object of nested lists of numbers"),
        ('{"input_ids": [[1]], "targets": null}', "s.jsonl:2 is not an object of nested lists of numbers"),
        ('{"input_ids": [[1]], "targets": [[1]], "tokens": null}', "s.jsonl:2: 'tokens' is null, a list of words"),
        ('{"input_ids": [[1]], "targets": [[1]], "tokens": "the"}', "s.jsonl:2: 'tokens' is \"the\", a list of words"),
        ('{"ids": [[1, 2]], "targets": [[2, 1]]}', "unexpected keyword argument 'ids'"),
        ('{"input_ids": [[1, 2]]}', "targets"),
        ("{}", "input_ids"),
        (ELEVEN.replace("1,", "1.5,", 1), "the model's forward failed on this sample: Expected tensor for argument"),
        ('{"input_ids": [[1, 2]], "targets": [[1]]}', "the model's forward failed on this sample"),
        (ELEVEN.replace("1,", "19,", 1), "the model's forward failed on this sample: index out of range in self"),
        (ELEVEN.replace("1,", "-1,", 1), "the model's forward failed on this sample: index out of range in self"),
        (ELEVEN.replace("3]", "19]"), "the model's forward failed on this sample: Target 19 is out of bounds."),
        ('{"input_ids": [[]], "targets": [[]]}', "the model's forward failed on this sample"),
    ],
)
def test_a_line_that_is_no_object_of_inputs(
    rnn: OpenedModel, good_store: Path, tmp_path: Path, line: str, message: str
) -> None:
    good = [rnn.encode(text) for text in GOOD] if rnn.encode else []
    lines = [
        json.dumps({**{n: x.tolist() for n, x in encoded.inputs.items()}, "text": text, "tokens": encoded.tokens})
        for text, encoded in zip(GOOD, good, strict=True)
    ]
    store = dump_lines(rnn, tmp_path, lines[0], line, lines[1], name="s.jsonl")
    (_, first), (status, said), (_, last) = statuses(store)
    assert (first, status, last) == (None, "invalid", None)
    assert said is not None
    assert message in said
    assert "\n" not in said
    assert_same_tables(store, good_store, (0, 0))  # text and tokens among them
    assert_same_tables(store, good_store, (2, 1))


@pytest.mark.parametrize("name", ["input_ids", "targets"])
def test_a_negative_index_in_a_sample_of_a_known_length(rnn: OpenedModel, tmp_path: Path, name: str) -> None:
    good = {"input_ids": [[1, 2, 4]], "targets": [[2, 4, 1]]}
    bad = {**good, name: [[2, -1, 1]]}
    store = dump_lines(rnn, tmp_path, json.dumps(good), json.dumps(bad), name="s.jsonl")
    assert [status for status, _ in statuses(store)] == ["ok", "invalid"]


def test_an_index_out_of_range_in_a_sample_of_a_known_length(rnn: OpenedModel, tmp_path: Path) -> None:
    good = {"input_ids": [[1, 2, 4]], "targets": [[2, 4, 1]]}
    bad = [{**good, name: [[2, 19, 1]]} for name in good]
    store = dump_lines(rnn, tmp_path, *map(json.dumps, [good, *bad]), name="s.jsonl")
    assert statuses(store) == [
        ("ok", None),
        (
            "invalid",
            "operator Gather 'embedding' in module 'embedding': index 19 is out of range for an axis of size 19",
        ),
        ("invalid", "operator GatherElements 'cross_entropy': index 19 is out of range for an axis of size 19"),
    ]


def test_arrays(rnn: OpenedModel, good_store: Path, tmp_path: Path) -> None:
    assert rnn.encode is not None
    inputs = [rnn.encode(text).inputs for text in GOOD]
    bad = {"input_ids": np.full((1, 5), 77), "targets": np.ones((1, 5), np.int64)}
    parts = [{n: np.asarray(x) for n, x in inputs[0].items()}, bad, {n: np.asarray(x) for n, x in inputs[1].items()}]
    np.savez(tmp_path / "s.npz", **{n: np.concatenate([part[n] for part in parts]) for n in bad})
    dump(rnn.traced, read_samples(tmp_path / "s.npz", None), tmp_path / "store", Settings())
    found = statuses(tmp_path / "store")
    assert [status for status, _ in found] == ["ok", "invalid", "ok"]
    kept = rows(tmp_path / "store", "best_edges")
    assert kept["dst"].equals(rows(good_store, "best_edges")["dst"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("s.txt", None, "does not exist"),
        ("s.txt", b"", "is empty"),
        ("s.jsonl", b"", "is empty"),
        ("s.npz", b"", "cannot be read as .npz"),
        ("s.npz", b"PK\x03\x04 and so on", "cannot be read as .npz"),
        ("s.txt", b"\xe9\n", "no sample can be recorded; the last one: s.txt:1 is not UTF-8 text"),
        ("s.jsonl", b"\xff\xfe{}", "is UTF-16 text; UTF-8 is wanted"),
        ("s.txt", b"\n\n", "no sample can be recorded; the last one: s.txt:2 is empty"),
    ],
)
def test_files_that_hold_no_samples(
    models_file: Path, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    ran = gradtrace("dump", f"{models_file}:rnn", "--samples", path, "--out", tmp_path / "store")
    assert_one_line_error(ran, message)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.zeros((2, 3)), "b": np.zeros((3, 3))}, r"must agree, got \[2, 3\]"),
        ({"a": np.array(["the", "cat"])}, "is not a number"),
        ({"a": np.array([{}], dtype=object)}, "cannot be read as .npz"),
        ({"a": np.zeros((0, 3))}, "is empty"),
        ({"a": np.array(3)}, "is empty"),
        ({}, "first axes"),
    ],
)
def test_arrays_that_are_no_samples(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "s.npz", **arrays)
    with pytest.raises(SampleError, match=message):
        read_samples(tmp_path / "s.npz", None)


def test_lines_are_those_an_editor_counts(rnn: OpenedModel, tmp_path: Path) -> None:
    """Windows' line ends and byte order mark belong to the file; other separators belong to the line."""
    text = "\ufeffthe cat\r\nthe\u2028cat \x0csees\r\ndog"
    (tmp_path / "s.txt").write_bytes(text.encode())
    samples = read_samples(tmp_path / "s.txt", rnn.encode).samples
    assert [sample.text for sample in samples] == ["the cat", "the\u2028cat \x0csees", "dog"]
    assert samples[0].encode().tokens == ["<eos>", "the", "cat"]


def test_limit(models_file: Path, sentences_file: Path, rnn_store: Path, tmp_path: Path) -> None:
    command = ("dump", f"{models_file}:rnn", "--samples", sentences_file, "--out", tmp_path / "store", "--limit", 2)
    assert gradtrace(*command).out == f"{tmp_path / 'store'}: 2 samples stored\n"
    for sample in (0, 1):
        assert_same_tables(tmp_path / "store", rnn_store, (sample, sample))
    assert rows(tmp_path / "store", "samples").num_rows == 2
    assert gradtrace(*command[:-1], 0).code == 2


POISONED = """
import torch
import language_models

def poisoned(value):
    def build():
        traceable = language_models.rnn()
        with torch.no_grad():
            traceable.model.embedding.weight[language_models.WORDS.index("bird")] = value
        return traceable
    return build

nan, inf = poisoned(float("nan")), poisoned(float("inf"))

class Root(language_models.LanguageModel):  # a finite loss with an infinite gradient
    def forward(self, input_ids, targets):
        zero = (input_ids == language_models.WORDS.index("bird")).any()
        weight = torch.where(zero, 0.0 * self.decoder.bias[0], 1.0 + 0.0 * self.decoder.bias[0])
        return super().forward(input_ids, targets) + torch.sqrt(weight)

def root():
    traceable = language_models.rnn()
    traceable.model.__class__ = Root
    return traceable
"""


@pytest.mark.parametrize(
    ("factory", "bad", "message"),
    [
        ("nan", 0, "the loss is nan"),
        pytest.param("inf", 1, "the loss is nan", marks=pytest.mark.slow),
        ("root", 1, "gradients of [0-9]+ tensors are NaN or infinite, nearest to the loss: "),
    ],
)
def test_gradients_that_are_not_finite(
    models_file: Path, good_store: Path, tmp_path: Path, factory: str, bad: int, message: str
) -> None:
    file = models_file.with_name("poisoned.py")
    file.write_text(POISONED)
    lines = [*GOOD]
    lines.insert(bad, "the bird sees me")
    out = tmp_path / "store"
    samples = write_lines(tmp_path / "s.txt", *lines)
    ran = gradtrace("dump", f"{file}:{factory}", "--samples", samples, "--out", out)
    assert (ran.code, ran.out) == (1, f"{out}: 2 samples stored\n")
    assert ran.err.startswith(f"sample {bad} is non-finite: ")
    assert ran.err.count("\n") == 2
    found = statuses(out)
    assert [status for status, _ in found] == ["non-finite" if i == bad else "ok" for i in range(3)]
    assert re.match(message, found[bad][1] or "")
    with open_store(out) as opened:
        assert [check for check in opened.verify() if not check.ok] == []
    if factory != "root":  # which is another model
        for wanted, sample in enumerate(i for i in range(3) if i != bad):
            # the norm of all words is not finite
            assert_same_tables(out, good_store, (sample, wanted), but="node_gradients")
