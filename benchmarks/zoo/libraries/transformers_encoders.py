"""Encoders of transformers: classes, tokens and masked words."""

from __future__ import annotations

from functools import partial

from benchmarks.zoo.data import WORDS, texts
from benchmarks.zoo.libraries.transformers_building import ENCODER, entry

ENTRIES = [
    entry("Bert", "classes", ENCODER, confirm=True),
    entry("Bert", "masked", ENCODER, confirm=True),
    entry("Bert", "tokens", ENCODER, confirm=True),
    entry("Roberta", "classes", ENCODER, confirm=True),
    entry("XLMRoberta", "classes", ENCODER),
    entry("Camembert", "masked", ENCODER),
    entry("Electra", "classes", {**ENCODER, "embedding_size": 32}, confirm=True),
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
    entry("Albert", "classes", {**ENCODER, "embedding_size": 32}, confirm=True),
    entry("Deberta", "classes", ENCODER, confirm=True),
    entry(
        "DebertaV2",
        "classes",
        {
            **ENCODER,
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
        },
        confirm=True,
    ),
    entry("MPNet", "classes", {**ENCODER, "pad_token_id": 1}),
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
    entry("FNet", "classes", ENCODER),
    entry("ConvBert", "classes", {**ENCODER, "embedding_size": 64, "head_ratio": 2}),
    entry("SqueezeBert", "classes", {**ENCODER, "embedding_size": 64}),
    entry(
        "MobileBert",
        "classes",
        {**ENCODER, "embedding_size": 32, "intra_bottleneck_size": 32, "intermediate_size": 64},
    ),
    entry("Longformer", "classes", {**ENCODER, "attention_window": 8}),
    entry("BigBird", "classes", {**ENCODER, "attention_type": "original_full"}),
    entry(
        "Nystromformer",
        "classes",
        {**ENCODER, "num_landmarks": 24, "segment_means_seq_len": 24},
        batches=partial(texts, length=24),
    ),
    entry("ModernBert", "classes", ENCODER, confirm=True),
    entry("RoFormer", "classes", ENCODER),
    entry("IBert", "classes", ENCODER),
    entry("Ernie", "classes", ENCODER),
    entry("MegatronBert", "classes", ENCODER),
    entry("Yoso", "classes", ENCODER),
    entry("Mra", "classes", ENCODER),
    entry("RemBert", "classes", {**ENCODER, "input_embedding_size": 32}),
    entry("Luke", "classes", {**ENCODER, "entity_vocab_size": 10}),
    entry(
        "Canine",
        "classes",
        {
            **ENCODER,
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
    entry("LayoutLM", "classes", ENCODER),
]
