"""`hf:PATH`: random small configurations of several shapes, saved with a tokenizer and loaded back."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
import transformers
from tokenizers import models, pre_tokenizers, processors

from gradtrace.exporters.models import ModelError, SampleError, Traceable
from gradtrace.exporters.recording.traced_model import TorchModel
from gradtrace.pipeline.dump.hugging_face import IGNORED, open_hugging_face

from .shown_models import Shown, check_attention_axes, show

ENGLISH = ["the", "a", "cat", "dog", "sleeps", "sees", "runs", "near", "old", "small", "house", "."]
WORDS = [*ENGLISH, "le", "chat", "chien", "dort", "voit"]
SPECIAL = ["<pad>", "<unk>", "<s>", "</s>", "<mask>"]
SIZES = {"vocab_size": len(WORDS) + len(SPECIAL), "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
PAIRS = ["the cat sleeps\tle chat dort", "a dog\tle chien", "the old dog sees the cat\tle chien voit le chat"]
SENTENCES = ["the cat sleeps", "the old dog sees a small cat", "a dog near the house runs ."]


def _configurations() -> dict[str, tuple[str, Any]]:
    """Kind of model and its configuration, by family."""
    return {
        "gpt2": (
            "AutoModelForCausalLM",
            transformers.GPT2Config(n_embd=8, n_layer=2, n_head=2, n_positions=16, **SIZES),
        ),
        "llama": (
            "AutoModelForCausalLM",
            transformers.LlamaConfig(
                hidden_size=8,
                intermediate_size=12,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                **SIZES,
            ),
        ),
        "bert": (
            "AutoModelForMaskedLM",
            transformers.BertConfig(
                hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12, **SIZES
            ),
        ),
        "opt": (
            "AutoModelForCausalLM",
            transformers.OPTConfig(
                hidden_size=8,
                word_embed_proj_dim=8,
                num_hidden_layers=1,
                num_attention_heads=2,
                ffn_dim=12,
                max_position_embeddings=16,
                **SIZES,
            ),
        ),
        "bart": (
            "AutoModelForSeq2SeqLM",
            transformers.BartConfig(
                d_model=8,
                encoder_layers=1,
                decoder_layers=1,
                encoder_attention_heads=2,
                decoder_attention_heads=2,
                encoder_ffn_dim=12,
                decoder_ffn_dim=12,
                max_position_embeddings=16,
                decoder_start_token_id=3,
                **SIZES,
            ),
        ),
        "t5": (
            "AutoModelForSeq2SeqLM",
            transformers.T5Config(
                d_model=8, d_kv=4, d_ff=12, num_layers=1, num_heads=2, decoder_start_token_id=0, **SIZES
            ),
        ),
    }


LINES = {
    "gpt2": SENTENCES,
    "llama": SENTENCES,
    "bert": ["the <mask> sleeps\tcat", "the old <mask> sees a <mask> cat\tdog small", "a dog near the house"],
    "opt": SENTENCES,
    "bart": PAIRS,
    "t5": PAIRS,
}


def _save_tokenizer(path: Path) -> None:
    words = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    made = tokenizers.Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 3)])
    names = {
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "mask_token": "<mask>",
    }
    transformers.PreTrainedTokenizerFast(tokenizer_object=made, **names).save_pretrained(path)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {}
    for family, (kind, config) in _configurations().items():
        torch.manual_seed(0)
        folders[family] = tmp_path_factory.mktemp(family)
        model = getattr(transformers, kind).from_config(config)
        for parameter in model.parameters():  # away from the starting values, where many gradients vanish
            torch.nn.init.normal_(parameter, std=0.4)
        model.save_pretrained(folders[family])
        _save_tokenizer(folders[family])
    return folders


Showing = Callable[[str, torch.dtype], tuple[Traceable, Shown]]


@pytest.fixture(scope="module")
def showing(saved: dict[str, Path]) -> Showing:
    """A family as transformers loads it, exported once in each dtype at the first of its LINES."""

    @cache
    def shown(family: str, dtype: torch.dtype) -> tuple[Traceable, Shown]:
        traceable = open_hugging_face(saved[family])
        samples = [traceable.encode(line) for line in LINES[family]]
        found = show(traceable.model, [e.inputs for e in samples], dtype, [len(e.tokens) for e in samples])
        return traceable, found

    return shown


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("family", LINES)
def test_family(showing: Showing, family: str, dtype: torch.dtype) -> None:
    """Three lengths in one process, each with the gradients of the model that transformers loads."""
    traceable, shown = showing(family, dtype)
    assert {"scores", "weights", "context", "variance", "scale"} <= shown.roles  # the norms of Llama and T5 are found
    assert ("mean" in shown.roles) == (family not in ("llama", "t5"))
    assert shown.n_exports == 1
    for recording in shown.recordings:
        check_attention_axes(recording)
    names = {t.name for t in shown.recordings[0].tape.tensors if t.kind == "parameter"}
    assert names <= set(traceable.model.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize("line", [PAIRS[0], "the old dog sees\tle chien"], ids=["S=T", "S!=T"])
def test_steps_of_encoder_and_decoder(showing: Showing, line: str) -> None:
    """Every vertex is of a token of its own side; those of the relative positions too, which read no token.

    Each is of an export made at these lengths.
    """
    traceable, shown = showing("t5", torch.float64)
    model = shown.model if line == PAIRS[0] else TorchModel(traceable.model, torch.float64)
    encoded = traceable.encode(line)
    n_source = encoded.first_token["decoder_input_ids"]
    recording = model.record(encoded.inputs, len(encoded.tokens), encoded.first_token)
    found = set()
    for _, tensor in recording.vertex_tensors():
        if tensor.node is not None and "step" in tensor.axis_names:
            module = recording.tape.calls[tensor.node].label.module
            of_source = module.startswith("encoder") or module.endswith(("EncDecAttention.k", "EncDecAttention.v"))
            assert tensor.first_step == (0 if of_source else n_source), module
            size = tensor.value.shape[tensor.axis_names.index("step")]
            assert size == (n_source if of_source else len(encoded.tokens) - n_source), module
            found.add(of_source)
        elif tensor.node is not None:
            assert tensor.kind == "loss" or tensor.size == 1, tensor.name
    assert found == {True, False}


@pytest.mark.slow
def test_tied_weights_are_one_parameter(showing: Showing) -> None:
    _, shown = showing("gpt2", torch.float32)
    recording = shown.recordings[0]
    assert shown.model.aliases == {"transformer.wte.weight": ["lm_head.weight"]}
    assert "lm_head.weight" not in {t.name for t in recording.tape.tensors}


# Encoders


def _ids(words: str) -> list[int]:
    everything = [*SPECIAL, *WORDS]
    return [everything.index(word) for word in words.split()]


def test_causal_inputs(saved: dict[str, Path]) -> None:
    encoded = open_hugging_face(saved["gpt2"]).encode("the cat sleeps")
    assert encoded.inputs["input_ids"].tolist() == [_ids("the cat sleeps")]
    assert encoded.inputs["labels"].tolist() == [_ids("cat sleeps </s>")]
    assert encoded.tokens == ["the", "cat", "sleeps"]


def test_masked_inputs(saved: dict[str, Path]) -> None:
    encode = open_hugging_face(saved["bert"]).encode
    encoded = encode("the <mask> sees a <mask>\tdog cat")
    assert encoded.inputs["input_ids"].tolist() == [_ids("the <mask> sees a <mask> </s>")]
    dog, cat = _ids("dog cat")
    assert encoded.inputs["labels"].tolist() == [[IGNORED, dog, IGNORED, IGNORED, cat, IGNORED]]
    assert encoded.tokens == ["the", "<mask>", "sees", "a", "<mask>", "</s>"]
    assert encode("a strange cat").inputs["labels"].tolist() == [[*_ids("a <unk> cat"), IGNORED]]
    for line in ("the <mask> sleeps", "the <mask> sleeps\tcat dog", "the cat\tcat", "the <mask>\t"):
        with pytest.raises(SampleError, match=r"<mask>.*TAB"):
            encode(line)


def test_pair_inputs(saved: dict[str, Path]) -> None:
    encode = open_hugging_face(saved["t5"]).encode
    inputs = encode("the cat\tle chat").inputs
    assert inputs["input_ids"].tolist() == [_ids("the cat </s>")]
    assert inputs["decoder_input_ids"].tolist() == [_ids("<pad> le chat")]
    assert inputs["labels"].tolist() == [_ids("le chat </s>")]
    assert encode("the cat\tle chat").tokens == ["the", "cat", "</s>", "<pad>", "le", "chat"]
    assert encode("the cat\tle chat").first_token == {"input_ids": 0, "decoder_input_ids": 3}
    for line in ("the cat", "the cat\t ", "\tle chat"):
        with pytest.raises(SampleError, match="source TAB target"):
            encode(line)


@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_empty_lines(saved: dict[str, Path], family: str) -> None:
    with pytest.raises(SampleError, match="empty"):
        open_hugging_face(saved[family]).encode("  ")


# What is refused


def test_without_transformers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModelError, match=r"pip install gradtrace\[hf\]"):
        open_hugging_face(tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "no config.json"),
        ("{", "does not name the model's architecture"),
        (json.dumps({"architectures": None}), "does not name the model's architecture"),
        (json.dumps({"architectures": ["ViTForImageClassification"]}), "ViTForImageClassification; a causal"),
        (json.dumps({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"}), "cannot be loaded by transformers"),
    ],
)
def test_other_folders(tmp_path: Path, config: str | None, message: str) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(ModelError, match=message):
        open_hugging_face(tmp_path)
