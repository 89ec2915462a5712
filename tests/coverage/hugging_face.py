"""Tiny configurations of transformers' language models, one for each family, saved as folders with a tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

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


class Family(NamedTuple):
    """A family's class in transformers, and what its configuration says beside VOCABULARY."""

    name: str
    architecture: str
    settings: dict[str, Any]


FAMILIES = [
    # causal
    Family("GPT", "OpenAIGPTLMHeadModel", GPT),
    Family("GPT-2", "GPT2LMHeadModel", GPT),
    Family(
        "GPT-Neo",
        "GPTNeoForCausalLM",
        {
            "hidden_size": 16,
            "num_layers": 2,
            "num_heads": 2,
            "attention_types": [[["global", "local"], 1]],
            "window_size": 3,
            "max_position_embeddings": 32,
        },
    ),
    Family("GPT-NeoX (Pythia)", "GPTNeoXForCausalLM", ENCODER),
    Family("GPT-J", "GPTJForCausalLM", {**GPT, "rotary_dim": 4}),
    Family("GPT-BigCode (StarCoder)", "GPTBigCodeForCausalLM", GPT),
    Family(
        "GPT-OSS",
        "GptOssForCausalLM",
        {**HEADS_OF_4, **LOCAL_EXPERTS, "layer_types": ["sliding_attention", "full_attention"], "sliding_window": 3},
    ),
    Family("CTRL", "CTRLLMHeadModel", {"n_embd": 16, "dff": 12, "n_layer": 2, "n_head": 2, "n_positions": 32}),
    Family(
        "OPT",
        "OPTForCausalLM",
        {
            "hidden_size": 16,
            "word_embed_proj_dim": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "ffn_dim": 12,
            "max_position_embeddings": 32,
        },
    ),
    Family("BLOOM", "BloomForCausalLM", {"hidden_size": 16, "n_layer": 2, "n_head": 2}),
    Family(
        "XGLM",
        "XGLMForCausalLM",
        {"d_model": 16, "ffn_dim": 12, "num_layers": 2, "attention_heads": 2, "max_position_embeddings": 32},
    ),
    Family("BioGPT", "BioGptForCausalLM", ENCODER),
    Family("CodeGen", "CodeGenForCausalLM", {**GPT, "n_head": 4, "rotary_dim": 4}),
    Family("MPT", "MptForCausalLM", {"d_model": 16, "n_heads": 2, "n_layers": 2, "max_seq_len": 32}),
    Family("Falcon", "FalconForCausalLM", {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}),
    Family("Llama", "LlamaForCausalLM", DECODER),
    Family("Llama 4", "Llama4ForCausalLM", {**HEADS_OF_4, **LOCAL_EXPERTS, "intermediate_size_mlp": 12}),
    Family("Mistral", "MistralForCausalLM", {**HEADS_OF_4, "sliding_window": 3}),
    Family("Mixtral", "MixtralForCausalLM", {**HEADS_OF_4, **LOCAL_EXPERTS}),
    Family("Qwen2", "Qwen2ForCausalLM", DECODER),
    Family("Qwen2 MoE", "Qwen2MoeForCausalLM", {**DECODER, **EXPERTS, "shared_expert_intermediate_size": 8}),
    Family("Qwen3", "Qwen3ForCausalLM", HEADS_OF_4),
    Family("Qwen3 MoE", "Qwen3MoeForCausalLM", {**HEADS_OF_4, **EXPERTS}),
    Family(
        "Qwen3-Next",
        "Qwen3NextForCausalLM",
        {
            **HEADS_OF_4,
            **EXPERTS,
            "shared_expert_intermediate_size": 8,
            "linear_key_head_dim": 4,
            "linear_value_head_dim": 4,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 2,
            "layer_types": ["linear_attention", "full_attention"],
        },
    ),
    Family("Phi", "PhiForCausalLM", DECODER),
    Family("Phi-3", "Phi3ForCausalLM", DECODER),
    Family("Phi-MoE", "PhimoeForCausalLM", {**DECODER, **LOCAL_EXPERTS}),
    Family("Gemma", "GemmaForCausalLM", HEADS_OF_4),
    Family("Gemma 2", "Gemma2ForCausalLM", {**HEADS_OF_4, "sliding_window": 3, "query_pre_attn_scalar": 4}),
    Family("Gemma 3", "Gemma3ForCausalLM", {**HEADS_OF_4, "sliding_window": 3, "query_pre_attn_scalar": 4}),
    Family("StableLM", "StableLmForCausalLM", DECODER),
    Family("StarCoder2", "Starcoder2ForCausalLM", DECODER),
    Family("OLMo", "OlmoForCausalLM", DECODER),
    Family("OLMo 2", "Olmo2ForCausalLM", DECODER),
    Family("OLMoE", "OlmoeForCausalLM", {**DECODER, "num_experts": 4, "num_experts_per_tok": 2}),
    Family("Cohere", "CohereForCausalLM", DECODER),
    Family("Granite", "GraniteForCausalLM", DECODER),
    Family("GLM", "GlmForCausalLM", HEADS_OF_4),
    Family("SmolLM3", "SmolLM3ForCausalLM", DECODER),
    Family("Nemotron", "NemotronForCausalLM", HEADS_OF_4),
    Family("Persimmon", "PersimmonForCausalLM", DECODER),
    Family("Helium", "HeliumForCausalLM", HEADS_OF_4),
    Family(
        "DeepSeek-V2",
        "DeepseekV2ForCausalLM",
        {
            **DECODER,
            "num_key_value_heads": 4,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 8,
            "n_shared_experts": 1,
            "kv_lora_rank": 8,
            "q_lora_rank": 8,
            "qk_rope_head_dim": 4,
            "qk_nope_head_dim": 4,
            "v_head_dim": 4,
            "first_k_dense_replace": 1,
            "n_group": 1,
            "topk_group": 1,
        },
    ),
    Family(
        "DeepSeek-V3",
        "DeepseekV3ForCausalLM",
        {
            **DECODER,
            "num_key_value_heads": 4,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 8,
            "n_shared_experts": 1,
            "kv_lora_rank": 8,
            "q_lora_rank": 8,
            "qk_rope_head_dim": 4,
            "qk_nope_head_dim": 4,
            "v_head_dim": 4,
            "first_k_dense_replace": 1,
            "n_group": 1,
            "topk_group": 1,
        },
    ),
    Family("Mamba", "MambaForCausalLM", {"hidden_size": 16, "state_size": 4, "num_hidden_layers": 2}),
    Family(
        "Mamba-2",
        "Mamba2ForCausalLM",
        {
            "hidden_size": 16,
            "state_size": 4,
            "num_hidden_layers": 2,
            "num_heads": 4,
            "head_dim": 8,
            "n_groups": 1,
            "chunk_size": 4,
        },
    ),
    Family("Falcon-Mamba", "FalconMambaForCausalLM", {"hidden_size": 16, "state_size": 4, "num_hidden_layers": 2}),
    Family(
        "RWKV",
        "RwkvForCausalLM",
        {"hidden_size": 16, "attention_hidden_size": 16, "num_hidden_layers": 2, "context_length": 32},
    ),
    Family(
        "RecurrentGemma",
        "RecurrentGemmaForCausalLM",
        {**DECODER, "head_dim": 4, "lru_width": 16, "attention_window_size": 8, "num_hidden_layers": 3},
    ),
    Family(
        "Jamba",
        "JambaForCausalLM",
        {
            **DECODER,
            "num_experts": 2,
            "num_experts_per_tok": 1,
            "mamba_d_state": 4,
            "mamba_dt_rank": 2,
            "use_mamba_kernels": False,
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
        },
    ),
    Family("xLSTM", "xLSTMForCausalLM", {"hidden_size": 16, "num_blocks": 2, "num_heads": 2}),
    Family("XLNet", "XLNetLMHeadModel", {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 12}),
    Family(
        "XLM",
        "XLMWithLMHeadModel",
        {"emb_dim": 16, "n_layers": 2, "n_heads": 2, "max_position_embeddings": 32, "n_words": 24},
    ),
    Family(
        "Reformer",
        "ReformerModelWithLMHead",
        {
            "hidden_size": 16,
            "num_attention_heads": 2,
            "attention_head_size": 8,
            "feed_forward_size": 12,
            "axial_pos_embds": False,
            "is_decoder": True,
            "attn_layers": ["local"],
            "local_attn_chunk_length": 4,
            "max_position_embeddings": 32,
        },
    ),
    Family("BERT as a decoder", "BertLMHeadModel", {**ENCODER, "is_decoder": True}),
    Family("BERT as a decoder, is_decoder unset", "BertLMHeadModel", ENCODER),
    Family("ModernBERT decoder", "ModernBertDecoderForCausalLM", {**ENCODER, "local_attention": 4}),
    # masked
    Family("BERT", "BertForMaskedLM", ENCODER),
    Family("RoBERTa", "RobertaForMaskedLM", ENCODER),
    Family("XLM-R", "XLMRobertaForMaskedLM", ENCODER),
    Family("CamemBERT", "CamembertForMaskedLM", ENCODER),
    Family(
        "DistilBERT",
        "DistilBertForMaskedLM",
        {"dim": 16, "hidden_dim": 12, "n_layers": 2, "n_heads": 2, "max_position_embeddings": 32},
    ),
    Family("ALBERT", "AlbertForMaskedLM", {**ENCODER, "embedding_size": 8}),
    Family("ELECTRA", "ElectraForMaskedLM", {**ENCODER, "embedding_size": 8}),
    Family(
        "DeBERTa",
        "DebertaForMaskedLM",
        {**ENCODER, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "max_relative_positions": 8},
    ),
    Family(
        "DeBERTa-v2",
        "DebertaV2ForMaskedLM",
        {
            **ENCODER,
            "relative_attention": True,
            "pos_att_type": ["c2p", "p2c"],
            "max_relative_positions": 8,
            "position_buckets": 4,
        },
    ),
    Family("MPNet", "MPNetForMaskedLM", ENCODER),
    Family("Longformer", "LongformerForMaskedLM", {**ENCODER, "attention_window": 4}),
    Family("BigBird", "BigBirdForMaskedLM", {**ENCODER, "attention_type": "original_full"}),
    Family(
        "Funnel",
        "FunnelForMaskedLM",
        {"d_model": 16, "d_inner": 12, "n_head": 2, "d_head": 8, "block_sizes": [1, 1], "num_decoder_layers": 1},
    ),
    Family(
        "ModernBERT", "ModernBertForMaskedLM", {**ENCODER, "local_attention": 4, "cls_token_id": 2, "sep_token_id": 3}
    ),
    Family("EuroBERT", "EuroBertForMaskedLM", {**DECODER, "mask_token_id": 4}),
    Family("FNet", "FNetForMaskedLM", ENCODER),
    Family(
        "SqueezeBERT",
        "SqueezeBertForMaskedLM",
        {
            **ENCODER,
            "embedding_size": 16,
            "q_groups": 2,
            "k_groups": 2,
            "v_groups": 2,
            "post_attention_groups": 1,
            "intermediate_groups": 2,
            "output_groups": 2,
        },
    ),
    Family("MobileBERT", "MobileBertForMaskedLM", {**ENCODER, "embedding_size": 8, "intra_bottleneck_size": 8}),
    Family("ConvBERT", "ConvBertForMaskedLM", {**ENCODER, "embedding_size": 8, "head_ratio": 1, "conv_kernel_size": 3}),
    Family("RoFormer", "RoFormerForMaskedLM", {**ENCODER, "embedding_size": 16}),
    Family("RemBERT", "RemBertForMaskedLM", {**ENCODER, "input_embedding_size": 8, "output_embedding_size": 8}),
    Family("ESM", "EsmForMaskedLM", {**ENCODER, "mask_token_id": 4, "position_embedding_type": "rotary"}),
    Family("Nystromformer", "NystromformerForMaskedLM", {**ENCODER, "num_landmarks": 4, "segment_means_seq_len": 16}),
    # sequence to sequence
    Family("T5", "T5ForConditionalGeneration", T5),
    Family(
        "T5 v1.1", "T5ForConditionalGeneration", {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
    ),
    Family("mT5", "MT5ForConditionalGeneration", T5),
    Family("UMT5", "UMT5ForConditionalGeneration", T5),
    Family("LongT5", "LongT5ForConditionalGeneration", {**T5, "local_radius": 3}),
    Family(
        "Switch Transformers",
        "SwitchTransformersForConditionalGeneration",
        {**T5, "num_sparse_encoder_layers": 1, "num_sparse_decoder_layers": 1, "num_experts": 4, "expert_capacity": 8},
    ),
    Family("BART", "BartForConditionalGeneration", BOTH),
    Family("mBART", "MBartForConditionalGeneration", BOTH),
    Family("Marian", "MarianMTModel", BOTH),
    Family("Pegasus", "PegasusForConditionalGeneration", BOTH),
    Family(
        "ProphetNet",
        "ProphetNetForConditionalGeneration",
        {
            "hidden_size": 16,
            "encoder_ffn_dim": 12,
            "num_encoder_layers": 1,
            "num_encoder_attention_heads": 2,
            "decoder_ffn_dim": 12,
            "num_decoder_layers": 1,
            "num_decoder_attention_heads": 2,
            "max_position_embeddings": 32,
            "decoder_start_token_id": 3,
            "ngram": 2,
            "num_buckets": 8,
            "relative_max_distance": 16,
        },
    ),
    Family("M2M-100, NLLB", "M2M100ForConditionalGeneration", BOTH),
    Family(
        "NLLB-MoE",
        "NllbMoeForConditionalGeneration",
        {**BOTH, "num_experts": 4, "expert_capacity": 8, "encoder_sparse_step": 1, "decoder_sparse_step": 1},
    ),
    Family(
        "LED",
        "LEDForConditionalGeneration",
        {
            **{k: v for k, v in BOTH.items() if k != "max_position_embeddings"},
            "attention_window": 4,
            "max_encoder_position_embeddings": 32,
            "max_decoder_position_embeddings": 32,
        },
    ),
    Family("Blenderbot", "BlenderbotForConditionalGeneration", BOTH),
    Family("Blenderbot-small", "BlenderbotSmallForConditionalGeneration", BOTH),
    Family("PLBART", "PLBartForConditionalGeneration", BOTH),
    Family("MVP", "MvpForConditionalGeneration", BOTH),
    Family(
        "FSMT",
        "FSMTForConditionalGeneration",
        {**BOTH, "src_vocab_size": 24, "tgt_vocab_size": 24, "langs": ["en", "fr"]},
    ),
    Family(
        "Whisper",
        "WhisperForConditionalGeneration",
        {**BOTH, "num_mel_bins": 4, "max_source_positions": 8, "max_target_positions": 16},
    ),
    # others
    Family(
        "ViT",
        "ViTForImageClassification",
        {
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 12,
            "image_size": 8,
            "patch_size": 4,
        },
    ),
    Family(
        "wav2vec 2.0",
        "Wav2Vec2ForCTC",
        {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12},
    ),
    Family("BERT as a classifier", "BertForSequenceClassification", ENCODER),
]


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
