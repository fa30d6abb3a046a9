"""Language models of transformers, from small configurations at random initialization.

Each is called with a mapping as its tokenizer and collator yield it, padded batch by batch, and
returns its own loss.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import transformers
from torch import nn

from benchmarks.zoo.data import WORDS, texts
from benchmarks.zoo.specification import Batches, Entry, adamw, training

_ENCODER: dict[str, Any] = {
    "vocab_size": WORDS,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
_DECODER: dict[str, Any] = {
    **_ENCODER,
    "num_key_value_heads": 2,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_SMALL_GPT: dict[str, Any] = {
    "vocab_size": WORDS,
    "n_embd": 64,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_HEADS = {
    "classes": "ForSequenceClassification",
    "masked": "ForMaskedLM",
    "tokens": "ForTokenClassification",
    "language": "ForCausalLM",
}


def built(config: str, model: str, arguments: dict[str, Any]) -> nn.Module:
    """A model of transformers from its configuration."""
    configuration = getattr(transformers, config)(**arguments)
    found = getattr(transformers, model)(configuration)
    assert isinstance(found, nn.Module)
    return found


def entry(
    family: str,
    kind: str,
    arguments: dict[str, Any],
    *,
    head: str = "",
    config: str = "",
    rate: float = 5e-4,
    confirm: bool = False,
    batches: Batches | None = None,
) -> Entry:
    """One of ``{family}Config`` and ``{family}For…``."""
    model = head or f"{family}{_HEADS[kind]}"
    if kind == "classes":
        arguments = {**arguments, "num_labels": 4}
    return Entry(
        f"transformers {model}",
        "transformers",
        {"language": "decoder", "translation": "encoder-decoder"}.get(kind, "encoder"),
        partial(built, config or f"{family}Config", model, arguments),
        batches or partial(texts, kind=kind),
        training(None, adamw(rate)),
        confirm=confirm,
    )


_HYBRID = {**_DECODER, "head_dim": 16}

ENTRIES = [
    entry("Bert", "classes", _ENCODER, confirm=True),
    entry("Bert", "masked", _ENCODER, confirm=True),
    entry("Bert", "tokens", _ENCODER, confirm=True),
    entry("Roberta", "classes", _ENCODER, confirm=True),
    entry("XLMRoberta", "classes", _ENCODER),
    entry("Camembert", "masked", _ENCODER),
    entry("Electra", "classes", {**_ENCODER, "embedding_size": 32}, confirm=True),
    entry(
        "DistilBert",
        "classes",
        {
            "vocab_size": WORDS,
            "dim": 64,
            "n_layers": 2,
            "n_heads": 4,
            "hidden_dim": 128,
            "max_position_embeddings": 64,
            "pad_token_id": 0,
        },
        confirm=True,
    ),
    entry("Albert", "classes", {**_ENCODER, "embedding_size": 32}, confirm=True),
    entry("Deberta", "classes", _ENCODER, confirm=True),
    entry(
        "DebertaV2",
        "classes",
        {
            **_ENCODER,
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
        },
        confirm=True,
    ),
    entry("MPNet", "classes", {**_ENCODER, "pad_token_id": 1}),
    entry(
        "XLNet",
        "classes",
        {
            "vocab_size": WORDS,
            "d_model": 64,
            "n_layer": 2,
            "n_head": 4,
            "d_inner": 128,
            "pad_token_id": 0,
        },
    ),
    entry(
        "Funnel",
        "classes",
        {
            "vocab_size": WORDS,
            "d_model": 64,
            "n_head": 4,
            "d_head": 16,
            "d_inner": 128,
            "block_sizes": [1, 1],
            "pad_token_id": 0,
        },
    ),
    entry("FNet", "classes", _ENCODER),
    entry("ConvBert", "classes", {**_ENCODER, "embedding_size": 64, "head_ratio": 2}),
    entry("SqueezeBert", "classes", {**_ENCODER, "embedding_size": 64}),
    entry(
        "MobileBert",
        "classes",
        {**_ENCODER, "embedding_size": 32, "intra_bottleneck_size": 32, "intermediate_size": 64},
    ),
    entry("Longformer", "classes", {**_ENCODER, "attention_window": 8}),
    entry("BigBird", "classes", {**_ENCODER, "attention_type": "original_full"}),
    entry(
        "Nystromformer",
        "classes",
        {**_ENCODER, "num_landmarks": 8, "segment_means_seq_len": 24},
        batches=partial(texts, length=24),
    ),
    entry("ModernBert", "classes", _ENCODER, confirm=True),
    entry("RoFormer", "classes", _ENCODER),
    entry("IBert", "classes", _ENCODER),
    entry("Ernie", "classes", _ENCODER),
    entry("MegatronBert", "classes", _ENCODER),
    entry("Yoso", "classes", _ENCODER),
    entry("Mra", "classes", _ENCODER),
    entry("RemBert", "classes", {**_ENCODER, "input_embedding_size": 32}),
    entry("Luke", "classes", {**_ENCODER, "entity_vocab_size": 10}),
    entry(
        "Canine",
        "classes",
        {
            **_ENCODER,
            "num_hash_buckets": 64,
            "downsampling_rate": 4,
            "local_transformer_stride": 8,
            "max_position_embeddings": 64,
        },
    ),
    entry(
        "Perceiver",
        "classes",
        {
            "vocab_size": WORDS,
            "num_latents": 8,
            "d_latents": 64,
            "d_model": 64,
            "num_self_attends_per_block": 2,
            "num_self_attention_heads": 4,
            "num_cross_attention_heads": 4,
            "max_position_embeddings": 64,
        },
    ),
    entry("LayoutLM", "classes", _ENCODER),
    entry("GPT2", "language", _SMALL_GPT, head="GPT2LMHeadModel", confirm=True),
    entry("GPT2", "classes", {**_SMALL_GPT, "pad_token_id": 0}, confirm=True),
    entry(
        "GPTNeo",
        "language",
        {
            "vocab_size": WORDS,
            "hidden_size": 64,
            "num_layers": 2,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 1]],
            "max_position_embeddings": 64,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
    ),
    entry("GPTNeoX", "language", _ENCODER),
    entry("GPTJ", "language", {**_SMALL_GPT, "rotary_dim": 8}),
    entry("GPTBigCode", "language", _SMALL_GPT),
    entry("CodeGen", "language", {**_SMALL_GPT, "rotary_dim": 8}),
    entry(
        "OPT",
        "language",
        {
            "vocab_size": WORDS,
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "ffn_dim": 128,
            "word_embed_proj_dim": 64,
            "max_position_embeddings": 64,
            "pad_token_id": 0,
        },
        confirm=True,
    ),
    entry(
        "Bloom",
        "language",
        {"vocab_size": WORDS, "hidden_size": 64, "n_layer": 2, "n_head": 4, "pad_token_id": 0},
    ),
    entry("Llama", "language", _DECODER, confirm=True),
    entry("Llama", "classes", _DECODER, confirm=True),
    entry("Mistral", "language", _DECODER, confirm=True),
    entry(
        "Mixtral",
        "language",
        {**_DECODER, "num_local_experts": 4, "num_experts_per_tok": 2},
        confirm=True,
    ),
    entry("Gemma", "language", _HYBRID),
    entry("Gemma2", "language", _HYBRID),
    entry("Qwen2", "language", _DECODER, confirm=True),
    entry("Qwen3", "language", _HYBRID),
    entry(
        "Qwen2Moe",
        "language",
        {
            **_DECODER,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 32,
            "shared_expert_intermediate_size": 32,
        },
    ),
    entry("Phi", "language", _DECODER),
    entry("Phi3", "language", _DECODER),
    entry("StableLm", "language", _DECODER),
    entry("Olmo2", "language", _DECODER),
    entry("Cohere", "language", _DECODER),
    entry("Falcon", "language", {**_ENCODER, "bos_token_id": 1, "eos_token_id": 2}),
    entry(
        "Mpt",
        "language",
        {"vocab_size": WORDS, "d_model": 64, "n_layers": 2, "n_heads": 4, "max_seq_len": 64},
    ),
    entry(
        "Mamba",
        "language",
        {
            "vocab_size": WORDS,
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "state_size": 8,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
        confirm=True,
    ),
    entry(
        "Mamba2",
        "language",
        {
            "vocab_size": WORDS,
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "state_size": 16,
            "num_heads": 8,
            "head_dim": 16,
            "n_groups": 1,
            "chunk_size": 8,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
    ),
    entry(
        "Rwkv",
        "language",
        {
            "vocab_size": WORDS,
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "attention_hidden_size": 64,
            "intermediate_size": 128,
            "context_length": 64,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
    ),
    entry(
        "Jamba",
        "language",
        {
            **_DECODER,
            "num_experts": 2,
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "expert_layer_period": 2,
            "expert_layer_offset": 1,
            "use_mamba_kernels": False,
            "mamba_d_state": 8,
        },
    ),
    entry(
        "RecurrentGemma",
        "language",
        {
            **_HYBRID,
            "lru_width": 64,
            "attention_window_size": 16,
            "block_types": ["recurrent", "attention"],
        },
    ),
    entry(
        "XGLM",
        "language",
        {
            "vocab_size": WORDS,
            "d_model": 64,
            "num_layers": 2,
            "ffn_dim": 128,
            "attention_heads": 4,
            "max_position_embeddings": 64,
            "pad_token_id": 0,
        },
    ),
]
