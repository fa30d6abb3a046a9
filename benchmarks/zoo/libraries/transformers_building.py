"""How models of transformers are made, from small configurations at random initialization.

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

ENCODER: dict[str, Any] = {
    "vocab_size": WORDS,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
DECODER: dict[str, Any] = {
    **ENCODER,
    "num_key_value_heads": 2,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
SMALL_GPT: dict[str, Any] = {
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
