"""`hf:PATH`: random small configurations of several shapes, saved with a tokenizer and loaded back."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from gradtrace.exporters.models import Traceable
from gradtrace.exporters.recording.traced_model import TorchModel
from gradtrace.pipeline.dump.hugging_face.opening import open_hugging_face

from ...coverage.folders import BOTH, DECODER, ENCODER, GPT, T5, save_family
from .shown_models import Shown, check_attention_axes, show

PAIRS = ["the cat sleeps\tle chat sleeps", "a dog\tle dog", "the old dog sees the cat\tle dog sees le chat"]
SENTENCES = ["the cat sleeps", "the old dog sees a small cat", "a dog near the house runs ."]
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2LMHeadModel", {**GPT, "n_embd": 8}),
    "llama": ("LlamaForCausalLM", {**DECODER, "hidden_size": 8}),
    "bert": ("BertForMaskedLM", {**ENCODER, "hidden_size": 8}),
    "opt": (
        "OPTForCausalLM",
        {
            "hidden_size": 8,
            "word_embed_proj_dim": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "ffn_dim": 12,
            "max_position_embeddings": 16,
        },
    ),
    "bart": ("BartForConditionalGeneration", {**BOTH, "d_model": 8}),
    "t5": ("T5ForConditionalGeneration", {**T5, "d_model": 8, "num_layers": 1}),
}
LINES = {
    "gpt2": SENTENCES,
    "llama": SENTENCES,
    "bert": ["the <mask> sleeps\tcat", "the old <mask> sees a <mask> cat\tdog small", "a dog near the house"],
    "opt": SENTENCES,
    "bart": PAIRS,
    "t5": PAIRS,
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {}
    for family, (architecture, settings) in SETTINGS.items():
        folders[family] = tmp_path_factory.mktemp(family)
        save_family(folders[family], architecture, settings)
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
@pytest.mark.parametrize("line", [PAIRS[0], "the old dog sees\tle dog"], ids=["S=T", "S!=T"])
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
