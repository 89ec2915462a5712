"""The families of the zoo, and the sentences they take."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from gradtrace.exporters.models import ModelError, SampleError
from gradtrace.pipeline.corpora.vocabulary import Vocabulary
from gradtrace.pipeline.zoo import (
    family,
    family_names,
    hyperparameter_values,
    make_hyperparameters,
    read_hyperparameters,
)
from gradtrace.pipeline.zoo._language_model import encode_sentence
from gradtrace.pipeline.zoo._targets import PADDING

VOCABULARY = Vocabulary(("<unk>", "<eos>", "the", "cat", "sleeps", "."))


def build(name: str, **hyperparameters: object) -> nn.Module:
    torch.manual_seed(0)
    return family(name).build(len(VOCABULARY), make_hyperparameters(name, hyperparameters))


def test_every_file_is_a_family() -> None:
    assert {"lstm_lm", "transformer_nmt", "text_cnn"} <= set(family_names())
    for name in family_names():
        task = family(name).task
        sizes = [2 if part.is_label else len(VOCABULARY) for part in task.layout.parts]
        assert isinstance(family(name).build(*sizes, make_hyperparameters(name, {})), nn.Module)


def test_names_are_listed_without_torch() -> None:
    code = "import sys; from gradtrace.pipeline import zoo; zoo.family_names(); sys.exit('torch' in sys.modules)"
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


@pytest.mark.parametrize(("name", "layer"), [("lstm_lm", "lstm"), ("rnn_lm", "rnn"), ("gru_lm", "gru")])
def test_submodule_names(name: str, layer: str) -> None:
    parameters = dict(build(name, layers=2).named_parameters())
    assert {"embedding.weight", f"{layer}.weight_hh_l1", "decoder.bias"} <= set(parameters)
    assert {parameter.split(".")[0] for parameter in parameters} == {"embedding", layer, "decoder"}


def test_hyperparameters_as_text() -> None:
    values = read_hyperparameters("transformer_lm", ["tied=yes", "heads=2", "dropout=.1", "norm=post"])
    assert values == {"tied": True, "heads": 2, "dropout": 0.1, "norm": "post"}
    assert read_hyperparameters("transformer_lm", []) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("heads", "no hyperparameter; write name=value, such as hidden_size=64"),
        ("heads=two", "must be a whole number"),
        ("dropout=much", "must be a number"),
        ("tied=maybe", "must be true or false"),
        ("head=2", "'head'. Did you mean heads"),
        ("norm=pst", "one of pre, post. Did you mean post"),
        ("heads=3", "3 heads do not share evenly"),
    ],
)
def test_hyperparameters_that_are_none(text: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        read_hyperparameters("transformer_lm", [text])
    with pytest.raises(ModelError, match="given twice"):
        read_hyperparameters("transformer_lm", ["heads=2", "heads=2"])


def test_a_sentence_for_the_dump() -> None:
    encoded = encode_sentence("The zebra sleeps.\n", VOCABULARY)
    assert encoded.tokens == ["<eos>", "the", "<unk>", "sleeps", "."]
    assert encoded.inputs["input_ids"].tolist() == [[1, 2, 0, 4, 5]]
    assert encoded.inputs["targets"].tolist() == [[2, 0, 4, 5, 1]]
    assert encoded.inputs["input_ids"].dtype == torch.int64
    assert PADDING not in encoded.inputs["targets"]


@pytest.mark.parametrize("line", ["", "  \n"])
def test_an_empty_line_is_no_sample(line: str) -> None:
    with pytest.raises(SampleError, match="empty"):
        encode_sentence(line, VOCABULARY)
