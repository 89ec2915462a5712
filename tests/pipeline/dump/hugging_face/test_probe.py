"""Models that see what they are to predict are not taken for causal ones; decoders begin as their class begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from gradtrace.exporters.models import ModelError
from gradtrace.pipeline.dump.hugging_face.losses import IGNORED
from gradtrace.pipeline.dump.hugging_face.opening import open_hugging_face
from gradtrace.pipeline.dump.hugging_face.probe import probe, probe_pair

from ....coverage.folders import BOTH, ENCODER, GPT, T5, VOCABULARY, save_family

XLM = {"emb_dim": 16, "n_layers": 1, "n_heads": 2, "n_words": 24, "max_position_embeddings": 32}
XLNET = {"d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 12}
MAMBA = {"hidden_size": 16, "state_size": 4, "num_hidden_layers": 1}


def model(architecture: str, settings: dict[str, Any]) -> Any:
    """With the starting values of the class, as small as they are."""
    torch.manual_seed(0)
    made = getattr(transformers, architecture)
    return made(made.config_class(**{**VOCABULARY, **settings})).eval()


@pytest.mark.parametrize(
    ("architecture", "settings", "causal"),
    [
        ("GPT2LMHeadModel", GPT, True),
        ("MambaForCausalLM", MAMBA, True),
        ("BertLMHeadModel", {**ENCODER, "is_decoder": True}, True),
        ("BertLMHeadModel", ENCODER, False),
        ("BertForMaskedLM", ENCODER, False),
        ("XLNetLMHeadModel", XLNET, False),
        ("XLMWithLMHeadModel", XLM, False),
        ("XLMWithLMHeadModel", {**XLM, "causal": True}, True),
    ],
)
def test_whether_later_tokens_reach_earlier_logits(architecture: str, settings: dict[str, Any], causal: bool) -> None:
    """Held against the logits themselves under other later tokens."""
    found = model(architecture, settings)
    assert probe(found).is_causal == causal
    one, other = torch.tensor([[5, 6, 7, 8, 9, 10]]), torch.tensor([[5, 6, 7, 11, 12, 5]])
    with torch.no_grad():
        assert torch.equal(found(one).logits[:, :3], found(other).logits[:, :3]) == causal


@pytest.mark.parametrize(
    ("architecture", "settings", "start"),
    [
        ("BartForConditionalGeneration", BOTH, 3),
        ("BartForConditionalGeneration", {**BOTH, "decoder_start_token_id": 17}, 17),
        ("T5ForConditionalGeneration", T5, 0),
        ("MBartForConditionalGeneration", {**BOTH, "decoder_start_token_id": None}, None),
        ("M2M100ForConditionalGeneration", BOTH, 3),
        (
            "FSMTForConditionalGeneration",
            {**BOTH, "src_vocab_size": 24, "tgt_vocab_size": 24, "langs": ["en", "fr"]},
            None,
        ),
    ],
)
def test_what_a_decoder_reads_first(architecture: str, settings: dict[str, Any], start: int | None) -> None:
    found = probe_pair(model(architecture, settings))
    assert (found.start, found.target.is_causal) == (start, True)
    assert (found.source, found.target.read, found.target.predicted) == (24, 24, 24)


def test_a_decoder_that_has_no_first_token() -> None:
    with pytest.raises(ModelError, match=r"config\.json may lack settings, such as decoder_start_token_id\."):
        probe_pair(model("T5ForConditionalGeneration", {**T5, "decoder_start_token_id": None}))


@pytest.mark.parametrize(("architecture", "settings"), [("BertLMHeadModel", ENCODER), ("XLNetLMHeadModel", XLNET)])
def test_models_taken_for_causal_are_refused(tmp_path: Path, architecture: str, settings: dict[str, Any]) -> None:
    save_family(tmp_path, architecture, settings)
    with pytest.raises(ModelError, match=rf'^{architecture} sees the tokens that it is to predict.*"is_decoder": true'):
        open_hugging_face(tmp_path)


def test_a_class_of_both_kinds_is_what_its_numbers_say(tmp_path: Path) -> None:
    save_family(tmp_path / "masked", "XLMWithLMHeadModel", XLM)
    save_family(tmp_path / "causal", "XLMWithLMHeadModel", {**XLM, "causal": True})
    masked, causal = (open_hugging_face(tmp_path / kind).encode("the cat") for kind in ("masked", "causal"))
    assert masked.tokens == ["the", "cat", "</s>"]
    assert masked.inputs["labels"].tolist() == [[5, 7, IGNORED]]
    assert causal.tokens == ["the", "cat"]
    assert causal.inputs["labels"].tolist() == [[7, 3]]
