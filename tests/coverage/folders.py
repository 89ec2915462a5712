"""Folders as save_pretrained leaves them: a tiny model with random numbers, and a tokenizer of a few words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from tokenizers import models, pre_tokenizers, processors

WORDS = ["the", "a", "cat", "dog", "sleeps", "sees", "runs", "near", "old", "small", "house", ".", "le", "chat"]
SPECIAL = ["<pad>", "<unk>", "<s>", "</s>", "<mask>"]
VOCABULARY = {"vocab_size": 24, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}

# the numbers of a decoder of today: rotary positions, grouped keys
DECODER: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
}
HEADS_OF_4 = {**DECODER, "head_dim": 4}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8}
LOCAL_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
ENCODER: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 32,
}
GPT: dict[str, Any] = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}
BOTH: dict[str, Any] = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 12,
    "decoder_ffn_dim": 12,
    "max_position_embeddings": 32,
    "decoder_start_token_id": 3,
}
T5: dict[str, Any] = {
    "d_model": 16, "d_kv": 4, "d_ff": 12, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 0
}  # fmt: skip


def save_family(folder: Path, architecture: str, settings: dict[str, Any]) -> Any:
    """A model with random numbers in `folder`, and its tokenizer; returns the model."""
    made = getattr(transformers, architecture)
    torch.manual_seed(0)
    model = made(made.config_class(**{**VOCABULARY, **settings}))
    for parameter in model.parameters():  # away from the starting values, where many gradients vanish
        torch.nn.init.normal_(parameter, std=0.4)
    model.save_pretrained(folder)
    save_tokenizer(folder)
    return model.eval()


def save_tokenizer(folder: Path, words: list[str] = WORDS, **names: str | None) -> None:
    """One number for each of SPECIAL and `words`, and </s> behind every text.

    names: other special tokens; None for one that there is not
    """
    numbers = {word: number for number, word in enumerate([*SPECIAL, *words])}
    made = tokenizers.Tokenizer(models.WordLevel(numbers, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 3)])
    special: dict[str, str | None] = {
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "mask_token": "<mask>",
        **names,
    }
    transformers.PreTrainedTokenizerFast(tokenizer_object=made, **special).save_pretrained(folder)
