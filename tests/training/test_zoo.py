"""The families of the zoo, and the sentences they take."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from exporters.models import ModelError, SampleError
from pipeline.vocabulary import Vocabulary
from pipeline.zoo import family, family_names, hyperparameter_values, make_hyperparameters
from pipeline.zoo._language_model import IGNORED, encode_sentence

VOCABULARY = Vocabulary(("<unk>", "<eos>", "the", "cat", "sleeps", "."))
LANGUAGE_MODELS = [name for name in family_names() if name.endswith("_lm")]


def build(name: str, **hyperparameters: float) -> nn.Module:
    torch.manual_seed(0)
    return family(name).build(len(VOCABULARY), make_hyperparameters(name, hyperparameters))


def test_every_file_is_a_family() -> None:
    assert {"lstm_lm", "rnn_lm"} <= set(family_names())
    for name in family_names():
        assert isinstance(build(name), nn.Module)


def test_names_are_listed_without_torch() -> None:
    code = "import sys, pipeline.zoo; pipeline.zoo.family_names(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_unknown_names_come_with_the_nearest() -> None:
    with pytest.raises(ModelError, match=r"'ltsm_lm'. Did you mean lstm_lm"):
        family("ltsm_lm")
    with pytest.raises(ModelError, match=r"'hiden_size'. Did you mean hidden_size"):
        make_hyperparameters("lstm_lm", {"hiden_size": 3})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden_size": "8"}, "must be of type int"),
        ({"hidden_size": True}, "must be of type int"),
        ({"layers": 0}, "must be 1 or more"),
        ({"dropout": 1.0}, "below 1"),
    ],
)
def test_hyperparameters_out_of_range(values: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        make_hyperparameters("lstm_lm", values)


def test_defaults_are_filled_in() -> None:
    values = hyperparameter_values("lstm_lm", {"hidden_size": 8, "dropout": 0})
    assert values == {"embedding_size": 64, "hidden_size": 8, "layers": 1, "dropout": 0}


@pytest.mark.parametrize(("name", "layer"), [("lstm_lm", "lstm"), ("rnn_lm", "rnn")])
def test_submodule_names(name: str, layer: str) -> None:
    parameters = dict(build(name, layers=2).named_parameters())
    assert {"embedding.weight", f"{layer}.weight_hh_l1", "decoder.bias"} <= set(parameters)
    assert {parameter.split(".")[0] for parameter in parameters} == {"embedding", layer, "decoder"}


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_a_padded_batch_has_the_loss_of_its_sentences(name: str) -> None:
    model = build(name, layers=2, dropout=0.5).eval()
    task = family(name).task
    samples = [task.encode(text, VOCABULARY) for text in ("the cat sleeps .", "cat", "the cat")]
    batch = task.collate(samples)
    counts = [task.scored(sample.inputs) for sample in samples]
    alone = [model(**sample.inputs) for sample in samples]
    assert counts == [5, 2, 3]
    assert task.scored(batch) == sum(counts)
    mean = sum(n * loss for n, loss in zip(counts, alone, strict=True)) / sum(counts)
    torch.testing.assert_close(model(**batch), mean)
    assert model(**batch).shape == ()


def test_a_sentence_for_the_dump() -> None:
    encoded = encode_sentence("The zebra sleeps.\n", VOCABULARY)
    assert encoded.tokens == ["<eos>", "the", "<unk>", "sleeps", "."]
    assert encoded.inputs["input_ids"].tolist() == [[1, 2, 0, 4, 5]]
    assert encoded.inputs["targets"].tolist() == [[2, 0, 4, 5, 1]]
    assert encoded.inputs["input_ids"].dtype == torch.int64
    assert IGNORED not in encoded.inputs["targets"]


@pytest.mark.parametrize("line", ["", "  \n"])
def test_an_empty_line_is_no_sample(line: str) -> None:
    with pytest.raises(SampleError, match="empty"):
        encode_sentence(line, VOCABULARY)
