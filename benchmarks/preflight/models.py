"""The models of the benchmark: functions that build them, and their batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import recent_prune as rp

CLASSES = 10
TOKENS = 1000


@dataclass(frozen=True)
class Case:
    """One architecture.

    Attributes:
        library: Where it is from.
        name: Unique.
        build: Builds it.
        batch: From a number of samples to a batch.
        sizes: Three batch sizes.
        loss: None where the model returns its own.
    """

    library: str
    name: str
    build: Callable[[], nn.Module]
    batch: Callable[[int], Any]
    sizes: tuple[int, int, int]
    loss: Any = cross_entropy


def images(side: int, channels: int, samples: int) -> tuple[Tensor, Tensor]:
    return torch.randn(samples, channels, side, side), torch.randint(CLASSES, (samples,))


def vectors(features: int, samples: int) -> tuple[Tensor, Tensor]:
    return torch.randn(samples, features), torch.randint(CLASSES, (samples,))


def tokens(length: int, label: str, samples: int) -> dict[str, Tensor]:
    ids = torch.randint(5, TOKENS, (samples, length))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return {**batch, "labels": ids if label == "tokens" else torch.randint(2, (samples,))}


MLPS = ((512, 4), (1024, 8), (2048, 4), (2048, 6), (4096, 2))
"""Widths and depths."""
CNNS = ((16, 8), (32, 12), (64, 6), (64, 20))
"""Channels and depths."""
RESNETS = ((32, 6), (64, 12))
"""Channels and blocks."""

Sizes = tuple[tuple[int, int], ...]


def plain(mlps: Sizes = MLPS, cnns: Sizes = CNNS, resnets: Sizes = RESNETS) -> list[Case]:
    """MLPs, CNNs and residual networks of this package."""
    cases = []
    for width, depth in mlps:
        build = partial(rp.networks.mlp, 784, CLASSES, depth=depth, width=width)
        batch = partial(vectors, 784)
        cases.append(Case("plain", f"mlp {depth} x {width}", build, batch, (128, 256, 512)))
    for channels, depth in cnns:
        build = partial(rp.networks.cnn, (3, 32, 32), CLASSES, depth=depth, channels=channels)
        batch = partial(images, 32, 3)
        cases.append(Case("plain", f"cnn {depth} x {channels}", build, batch, (16, 32, 64)))
    for channels, blocks in resnets:
        build = partial(rp.networks.resnet, (3, 32, 32), CLASSES, blocks=blocks, channels=channels)
        batch = partial(images, 32, 3)
        cases.append(Case("plain", f"resnet {blocks} x {channels}", build, batch, (8, 16, 32)))
    return cases


TORCHVISION = {
    "alexnet": (64, (32, 64, 128)),
    "convnext_tiny": (64, (4, 8, 16)),
    "densenet121": (64, (8, 16, 32)),
    "efficientnet_b0": (64, (8, 16, 32)),
    "efficientnet_v2_s": (64, (4, 8, 16)),
    "mnasnet1_0": (64, (16, 32, 64)),
    "mobilenet_v2": (64, (16, 32, 64)),
    "mobilenet_v3_small": (96, (16, 32, 64)),
    "regnet_y_400mf": (64, (16, 32, 64)),
    "resnet18": (64, (16, 32, 64)),
    "resnet34": (64, (16, 32, 64)),
    "resnet50": (64, (8, 16, 32)),
    "resnext50_32x4d": (64, (8, 16, 32)),
    "shufflenet_v2_x1_0": (96, (16, 32, 64)),
    "squeezenet1_1": (96, (16, 32, 64)),
    "swin_t": (64, (4, 8, 16)),
    "vgg11_bn": (64, (8, 16, 32)),
    "wide_resnet50_2": (64, (4, 8, 16)),
}
"""Side of the images and batch sizes."""

TIMM = {
    "convnext_atto": (96, (8, 16, 32)),
    "crossvit_tiny_240": (240, (2, 4, 8)),
    "deit_tiny_patch16_224": (224, (4, 8, 16)),
    "dla34": (64, (8, 16, 32)),
    "edgenext_xx_small": (96, (8, 16, 32)),
    "eva02_tiny_patch14_224": (224, (2, 4, 8)),
    "ghostnet_100": (96, (16, 32, 64)),
    "hrnet_w18_small": (96, (4, 8, 16)),
    "inception_next_atto": (96, (8, 16, 32)),
    "levit_128s": (224, (4, 8, 16)),
    "mixer_s32_224": (224, (8, 16, 32)),
    "mobilevit_xxs": (128, (8, 16, 32)),
    "nf_resnet26": (64, (8, 16, 32)),
    "pit_ti_224": (224, (4, 8, 16)),
    "poolformer_s12": (96, (8, 16, 32)),
    "repvgg_a0": (64, (16, 32, 64)),
    "res2net50_26w_4s": (64, (4, 8, 16)),
    "resmlp_12_224": (224, (4, 8, 16)),
    "resnest14d": (64, (8, 16, 32)),
    "tf_efficientnet_lite0": (96, (8, 16, 32)),
    "vit_tiny_patch16_224": (224, (4, 8, 16)),
    "xcit_nano_12_p16_224": (224, (4, 8, 16)),
}

TEXTS = ("albert", "bert", "distilbert", "electra", "mpnet", "nystromformer", "rembert", "roberta")
DECODERS = ("bloom", "gpt2", "gpt_neox", "llama", "mistral", "opt", "phi", "qwen2")

HELD_OUT = {
    "torchvision": {
        "densenet169": (64, (8, 16, 32)),
        "efficientnet_b2": (64, (8, 16, 32)),
        "mnasnet0_5": (64, (16, 32, 64)),
        "mobilenet_v3_large": (96, (16, 32, 64)),
        "regnet_x_800mf": (64, (16, 32, 64)),
        "resnet101": (64, (8, 16, 32)),
        "shufflenet_v2_x0_5": (96, (16, 32, 64)),
        "squeezenet1_0": (96, (16, 32, 64)),
        "vgg16": (64, (4, 8, 16)),
        "vit_b_32": (224, (2, 4, 8)),
    },
    "timm": {
        "coat_lite_tiny": (224, (2, 4, 8)),
        "dpn48b": (64, (8, 16, 32)),
        "fbnetc_100": (96, (16, 32, 64)),
        "gernet_s": (64, (16, 32, 64)),
        "hardcorenas_a": (96, (16, 32, 64)),
        "lcnet_050": (96, (16, 32, 64)),
        "mixnet_s": (96, (8, 16, 32)),
        "rexnet_100": (96, (8, 16, 32)),
        "selecsls42b": (64, (16, 32, 64)),
        "skresnet18": (64, (16, 32, 64)),
        "tinynet_e": (96, (16, 32, 64)),
        "visformer_tiny": (224, (4, 8, 16)),
    },
}
"""Models that nothing was fitted to, by library; likewise. Chosen, with those below, before any was
measured, and no row of theirs was looked at before the numbers of
:mod:`recent_prune.preflight.workspaces` stood."""

SMALL = {
    "hidden_size": 256,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "intermediate_size": 1024,
    "vocab_size": TOKENS,
}

OTHERS = {
    "opt": {"word_embed_proj_dim": 256, "ffn_dim": 1024},
    "qwen2": {"num_key_value_heads": 8},
}
"""What some of them call otherwise."""


def held_out_cases() -> list[Case]:
    """Models that nothing was fitted to."""
    cases = plain(
        mlps=((256, 3), (1536, 5)), cnns=((8, 4), (24, 16), (48, 10)), resnets=((16, 4), (48, 8))
    )
    cases += [_torchvision(name, *known) for name, known in HELD_OUT["torchvision"].items()]
    cases += [_timm(name, *known) for name, known in HELD_OUT["timm"].items()]
    cases += [_transformers(name, "labels") for name in ("xlm-roberta", "ernie")]
    return cases + [_transformers(name, "tokens") for name in ("olmo", "stablelm")]


def libraries() -> list[Case]:
    """torchvision, timm and transformers, without weights of theirs."""
    cases = [_torchvision(name, *known) for name, known in TORCHVISION.items()]
    cases += [_timm(name, *known) for name, known in TIMM.items()]
    cases += [_transformers(name, "labels") for name in TEXTS]
    return cases + [_transformers(name, "tokens") for name in DECODERS]


def _torchvision(name: str, side: int, sizes: tuple[int, int, int]) -> Case:
    def build() -> nn.Module:
        import torchvision

        return torchvision.models.get_model(name, weights=None, num_classes=CLASSES)  # type: ignore[no-any-return]

    return Case("torchvision", name, build, partial(images, side, 3), sizes)


def _timm(name: str, side: int, sizes: tuple[int, int, int]) -> Case:
    def build() -> nn.Module:
        import timm

        return timm.create_model(name, pretrained=False, num_classes=CLASSES)

    return Case("timm", name, build, partial(images, side, 3), sizes)


def _transformers(name: str, label: str) -> Case:
    def build() -> nn.Module:
        from transformers import (
            AutoConfig,
            AutoModelForCausalLM,
            AutoModelForSequenceClassification,
        )

        makers = {"labels": AutoModelForSequenceClassification, "tokens": AutoModelForCausalLM}
        other = OTHERS.get(name, {})
        config = AutoConfig.for_model(name, **SMALL, **other, pad_token_id=0, use_cache=False)
        return makers[label].from_config(config)  # type: ignore[no-any-return, no-untyped-call]

    return Case("transformers", name, build, partial(tokens, 128, label), (4, 8, 16), None)


def large_cases() -> list[Case]:
    """ResNet-50 and BERT-base as they are, for what an estimate costs."""

    def bert() -> nn.Module:
        from transformers import BertConfig, BertForSequenceClassification

        return BertForSequenceClassification(BertConfig())

    def resnet() -> nn.Module:
        import torchvision

        return torchvision.models.resnet50()  # type: ignore[no-any-return]

    text = partial(tokens, 128, "labels")
    return [
        Case("torchvision", "ResNet-50", resnet, partial(images, 224, 3), (16, 32, 64)),
        Case("transformers", "BERT-base", bert, text, (16, 32, 64), None),
    ]


def all_cases() -> list[Case]:
    """In the order in which they are measured, the libraries mixed."""
    return [*plain(), *libraries()]
