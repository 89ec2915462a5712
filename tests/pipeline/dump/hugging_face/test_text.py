"""From lines of text to inputs, and the losses that transformers itself has for them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from gradtrace.exporters.models import SampleError
from gradtrace.pipeline.dump.hugging_face.losses import IGNORED
from gradtrace.pipeline.dump.hugging_face.opening import open_hugging_face

from ....coverage.folders import SPECIAL, WORDS, save_tokenizer
from .conftest import Folders

LONG = " ".join(["cat"] * 40)


def ids(words: str) -> list[int]:
    everything = [*SPECIAL, *WORDS]
    return [everything.index(word) for word in words.split()]


def test_causal_inputs(untouched: Folders) -> None:
    encoded = open_hugging_face(untouched("gpt2")).encode("the cat sleeps")
    assert encoded.inputs["input_ids"].tolist() == [ids("the cat sleeps")]
    assert encoded.inputs["labels"].tolist() == [ids("cat sleeps </s>")]
    assert encoded.tokens == ["the", "cat", "sleeps"]


def test_masked_inputs(untouched: Folders) -> None:
    encode = open_hugging_face(untouched("bert")).encode
    encoded = encode("the <mask> sees a <mask>\tdog cat")
    assert encoded.inputs["input_ids"].tolist() == [ids("the <mask> sees a <mask> </s>")]
    dog, cat = ids("dog cat")
    assert encoded.inputs["labels"].tolist() == [[IGNORED, dog, IGNORED, IGNORED, cat, IGNORED]]
    assert encoded.tokens == ["the", "<mask>", "sees", "a", "<mask>", "</s>"]
    assert encode("a strange cat").inputs["labels"].tolist() == [[*ids("a <unk> cat"), IGNORED]]
    for line in ("the <mask> sleeps", "the <mask> sleeps\tcat dog", "the cat\tcat", "the <mask>\t"):
        with pytest.raises(SampleError, match=r"<mask>.*TAB"):
            encode(line)


def test_pair_inputs(untouched: Folders) -> None:
    encode = open_hugging_face(untouched("t5")).encode
    inputs = encode("the cat\tle chat").inputs
    assert inputs["input_ids"].tolist() == [ids("the cat </s>")]
    assert inputs["decoder_input_ids"].tolist() == [ids("<pad> le chat")]
    assert inputs["labels"].tolist() == [ids("le chat </s>")]
    assert encode("the cat\tle chat").tokens == ["the", "cat", "</s>", "<pad>", "le", "chat"]
    assert encode("the cat\tle chat").first_token == {"input_ids": 0, "decoder_input_ids": 3}
    for line in ("the cat", "the cat\t ", "\tle chat"):
        with pytest.raises(SampleError, match="source TAB target"):
            encode(line)


def test_a_decoder_that_begins_with_the_last_token_of_its_target(untouched: Folders) -> None:
    inputs = open_hugging_face(untouched("mbart")).encode("the cat\tle chat").inputs
    assert inputs["decoder_input_ids"].tolist() == [ids("</s> le chat")]


@pytest.mark.parametrize("model", ["gpt2", "bert", "t5"])
def test_empty_lines(untouched: Folders, model: str) -> None:
    with pytest.raises(SampleError, match=r"empty|no pair"):
        open_hugging_face(untouched(model)).encode("  ")


@pytest.mark.parametrize("model", ["gpt2", "bert", "t5", "bart", "mbart", "marian"])
def test_losses_are_those_of_transformers(untouched: Folders, model: str) -> None:
    """With the whole text and `labels=`, as a training of transformers' own has it."""
    traceable = open_hugging_face(untouched(model))
    pair = "le chat sleeps a" if model not in ("gpt2", "bert") else ""
    encoded = traceable.encode(f"the old dog sees\t{pair}" if pair else "the old dog sees a cat")
    with torch.no_grad():
        found = float(traceable.model(**encoded.inputs))
        kinds = {"gpt2": "CausalLM", "bert": "MaskedLM"}
        made: Any = getattr(transformers, f"AutoModelFor{kinds.get(model, 'Seq2SeqLM')}").from_pretrained(
            untouched(model)
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(untouched(model))
        given = tokenizer("the old dog sees" if pair else "the old dog sees a cat", return_tensors="pt").input_ids
        labels = tokenizer(text_target=pair, return_tensors="pt").input_ids if pair else given.clone()
        if model == "bert":
            labels[:, -1] = IGNORED  # the special token
        assert found == pytest.approx(float(made(input_ids=given, labels=labels).loss), rel=1e-6)


def test_flags_of_training_change_nothing(untouched: Folders) -> None:
    """Checkpointed layers, layers left out at random and caches are of training and generation."""
    plain, flagged = (open_hugging_face(untouched("bart")) for _ in range(2))
    for module in flagged.model.modules():
        if hasattr(module, "gradient_checkpointing"):
            module.gradient_checkpointing = True
    flagged.model.config.use_cache = True
    for side in (flagged.model.model.encoder, flagged.model.model.decoder):
        side.layerdrop = 1.0
    inputs = plain.encode("the cat\tle chat").inputs
    with torch.no_grad():
        assert float(plain.model(**inputs)) == float(flagged.model(**inputs)) > 0


# Tokenizers and models that do not go together


@pytest.mark.parametrize(("model", "line"), [("gpt2", "the w24"), ("bert", "the w24"), ("bart", "the w24\tle")])
def test_a_token_that_the_model_does_not_know(copied: Folders, model: str, line: str) -> None:
    path = copied(model)
    save_tokenizer(path, [*WORDS, *(f"w{n}" for n in range(len(WORDS) + len(SPECIAL), 30))])
    encode = open_hugging_face(path).encode
    encode(line.replace("w24", "w23"))
    with pytest.raises(SampleError, match=r"'w24' has number 24 in the tokenizer, and the model knows 24 tokens"):
        encode(line)
    if model == "bart":
        with pytest.raises(SampleError, match="'w25' has number 25"):
            encode("the\tle w25")


@pytest.mark.parametrize(("model", "line"), [("gpt2", LONG), ("bert", LONG), ("bart", f"the\t{LONG}")])
def test_a_text_longer_than_the_positions(untouched: Folders, model: str, line: str) -> None:
    traceable = open_hugging_face(untouched(model))
    encoded = traceable.encode(line)
    with pytest.raises(SampleError, match=r"the text is 4\d tokens long, and the model has 32 positions; shorten"):
        traceable.model(**encoded.inputs)


def test_a_tokenizer_without_masks(copied: Folders) -> None:
    path = copied("bert")
    save_tokenizer(path, mask_token=None)
    encode = open_hugging_face(path).encode
    assert encode("the cat").inputs["labels"].tolist() == [[*ids("the cat"), IGNORED]]
    with pytest.raises(SampleError, match="has no mask token"):
        encode("the cat\tdog")


def test_a_tokenizer_that_pads_left_and_has_a_template_of_chats(copied: Folders) -> None:
    """One text is never padded, and is taken as it stands."""
    path = copied("gpt2")
    tokenizer = transformers.AutoTokenizer.from_pretrained(path, padding_side="left", truncation_side="left")
    tokenizer.chat_template = "{% for m in messages %}<s>{{ m.content }}{% endfor %}"
    tokenizer.save_pretrained(path)
    assert open_hugging_face(path).encode("the cat").inputs["input_ids"].tolist() == [ids("the cat")]
