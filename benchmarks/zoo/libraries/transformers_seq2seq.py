"""Encoder-decoders of transformers: each makes what its decoder gets of the labels."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import transformers
from torch import nn

from benchmarks.zoo.data import WORDS, cut, series, texts, waves
from benchmarks.zoo.libraries.transformers_building import ENCODER, built, entry
from benchmarks.zoo.specification import Entry, adamw, training

_BART: dict[str, Any] = {
    "vocab_size": WORDS,
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    "forced_eos_token_id": 2,
}
_T5: dict[str, Any] = {
    "vocab_size": WORDS,
    "d_model": 64,
    "d_kv": 16,
    "d_ff": 128,
    "num_layers": 2,
    "num_heads": 4,
    "pad_token_id": 0,
    "eos_token_id": 2,
    "decoder_start_token_id": 0,
}


def _named(name: str, family: str, build: Any, batches: Any, *, confirm: bool = False) -> Entry:
    return Entry(
        f"transformers {name}",
        "transformers",
        family,
        build,
        batches,
        training(None, adamw(5e-4)),
        confirm=confirm,
    )


def sounds(seed: int) -> list[Any]:
    """``input_features`` [n, 20, 64] as a feature extractor gives them, and words as labels."""
    found, kinds = waves(seed, 128)
    spectrum = torch.stft(found[..., 0], 38, 2, window=torch.ones(38), return_complex=True).abs()
    words = 4 + 5 * kinds[:, None] + torch.arange(5)
    batches = cut(spectrum[..., :64].log1p(), words)
    return [{"input_features": features, "labels": labels} for features, labels in batches]


def speech(seed: int) -> list[Any]:
    """``input_values`` [n, 400], a wave, and its kind."""
    found, kinds = waves(seed, 400)
    return [{"input_values": wave, "labels": kind} for wave, kind in cut(found[..., 0], kinds)]


def spectrograms(seed: int) -> list[Any]:
    """``input_values`` [n, 32, 16], [time, frequency], and the kind."""
    found, kinds = waves(seed, 128)
    spectrum = torch.stft(found[..., 0], 30, 4, window=torch.ones(30), return_complex=True).abs()
    rows = spectrum[..., :32].log1p().transpose(1, 2)
    return [{"input_values": row, "labels": kind} for row, kind in cut(rows, kinds)]


def forecasts(seed: int) -> list[Any]:
    """The arguments of the time series transformers: 32 values seen, 8 to come."""
    found = series(seed, 40, 1)[..., 0]
    time = torch.arange(40.0).expand(len(found), -1)[..., None] / 40
    ones = torch.ones_like(found)
    named = {
        "past_values": found[:, :32],
        "past_time_features": time[:, :32],
        "past_observed_mask": ones[:, :32],
        "future_values": found[:, 32:],
        "future_time_features": time[:, 32:],
    }
    return [dict(zip(named, parts, strict=True)) for parts in cut(*named.values())]


def patches(seed: int) -> list[Any]:
    """``past_values`` [n, 32, 3] and ``future_values`` [n, 8, 3]."""
    found = series(seed, 40, 3)
    return [
        {"past_values": past, "future_values": future}
        for past, future in cut(found[:, :32], found[:, 32:])
    ]


def _whisper() -> nn.Module:
    return built(
        "WhisperConfig",
        "WhisperForConditionalGeneration",
        {
            **_BART,
            "num_mel_bins": 20,
            "max_source_positions": 32,
            "max_target_positions": 32,
            "suppress_tokens": None,
            "begin_suppress_tokens": None,
        },
    )


def _encoder_decoder() -> nn.Module:
    encoder = transformers.BertConfig(**ENCODER)
    decoder = transformers.BertConfig(**ENCODER, is_decoder=True, add_cross_attention=True)
    configuration = transformers.EncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    configuration.decoder_start_token_id, configuration.pad_token_id = 1, 0
    model = transformers.EncoderDecoderModel(config=configuration)
    assert isinstance(model, nn.Module)
    return model


_WAVE: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "conv_dim": (32, 32),
    "conv_stride": (5, 4),
    "conv_kernel": (10, 8),
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 4,
    "num_feat_extract_layers": 2,
    "num_labels": 4,
    "classifier_proj_size": 32,
    "mask_time_prob": 0.0,
}
_SERIES: dict[str, Any] = {
    "prediction_length": 8,
    "context_length": 25,
    "lags_sequence": [1, 2, 7],
    "num_time_features": 1,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
}
_PATCHES: dict[str, Any] = {
    "context_length": 32,
    "prediction_length": 8,
    "num_input_channels": 3,
    "patch_length": 8,
    "patch_stride": 8,
    "stride": 8,
    "d_model": 32,
    "num_hidden_layers": 2,
    "num_layers": 2,
    "num_attention_heads": 4,
    "ffn_dim": 64,
}

_translated = partial(texts, kind="translation")

ENTRIES = [
    entry("T5", "translation", _T5, head="T5ForConditionalGeneration", confirm=True),
    entry("MT5", "translation", _T5, head="MT5ForConditionalGeneration"),
    entry("UMT5", "translation", _T5, head="UMT5ForConditionalGeneration"),
    entry(
        "SwitchTransformers",
        "translation",
        {**_T5, "num_experts": 2, "num_sparse_encoder_layers": 1, "num_sparse_decoder_layers": 1},
        head="SwitchTransformersForConditionalGeneration",
    ),
    entry("Bart", "translation", _BART, head="BartForConditionalGeneration", confirm=True),
    entry("MBart", "translation", _BART, head="MBartForConditionalGeneration"),
    entry("Pegasus", "translation", _BART, head="PegasusForConditionalGeneration"),
    entry("Marian", "translation", _BART, head="MarianMTModel", confirm=True),
    entry("M2M100", "translation", _BART, head="M2M100ForConditionalGeneration"),
    entry("BlenderbotSmall", "translation", _BART, head="BlenderbotSmallForConditionalGeneration"),
    entry(
        "LED",
        "translation",
        {
            **{k: v for k, v in _BART.items() if k != "max_position_embeddings"},
            "attention_window": 8,
            "max_encoder_position_embeddings": 64,
            "max_decoder_position_embeddings": 64,
        },
        head="LEDForConditionalGeneration",
    ),
    entry(
        "FSMT",
        "translation",
        {
            **{k: v for k, v in _BART.items() if k != "vocab_size"},
            "langs": ["a", "b"],
            "src_vocab_size": WORDS,
            "tgt_vocab_size": WORDS,
        },
        head="FSMTForConditionalGeneration",
    ),
    entry(
        "ProphetNet",
        "translation",
        {
            "vocab_size": WORDS,
            "hidden_size": 64,
            "encoder_ffn_dim": 128,
            "decoder_ffn_dim": 128,
            "num_encoder_layers": 2,
            "num_decoder_layers": 2,
            "num_encoder_attention_heads": 4,
            "num_decoder_attention_heads": 4,
            "max_position_embeddings": 64,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 1,
            "ngram": 2,
        },
        head="ProphetNetForConditionalGeneration",
    ),
    _named("EncoderDecoderModel of two BERTs", "encoder-decoder", _encoder_decoder, _translated),
    _named("WhisperForConditionalGeneration", "audio", _whisper, sounds, confirm=True),
    *(
        _named(
            f"{kind}ForSequenceClassification",
            "audio",
            partial(built, f"{kind}Config", f"{kind}ForSequenceClassification", _WAVE),
            speech,
            confirm=kind == "Wav2Vec2",
        )
        for kind in ("Wav2Vec2", "Hubert", "WavLM", "Data2VecAudio", "UniSpeech")
    ),
    _named(
        "ASTForAudioClassification",
        "audio",
        partial(
            built,
            "ASTConfig",
            "ASTForAudioClassification",
            {
                "hidden_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "intermediate_size": 128,
                "patch_size": 4,
                "frequency_stride": 4,
                "time_stride": 4,
                "max_length": 32,
                "num_mel_bins": 16,
                "num_labels": 4,
            },
        ),
        spectrograms,
    ),
    *(
        _named(
            f"{kind}ForPrediction",
            "series",
            partial(built, f"{kind}Config", f"{kind}ForPrediction", _SERIES),
            forecasts,
        )
        for kind in ("TimeSeriesTransformer", "Informer", "Autoformer")
    ),
    *(
        _named(
            f"{kind}ForPrediction",
            "series",
            partial(built, f"{kind}Config", f"{kind}ForPrediction", _PATCHES),
            patches,
            confirm=True,
        )
        for kind in ("PatchTST", "PatchTSMixer")
    ),
]
