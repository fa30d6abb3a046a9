"""Models of transformers that look at images and videos."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from benchmarks.zoo.data import images
from benchmarks.zoo.libraries.transformers_building import built
from benchmarks.zoo.specification import Entry, adamw, training

VIT: dict[str, Any] = {
    "image_size": 32,
    "patch_size": 8,
    "num_channels": 3,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "num_labels": 10,
}


def pixels(seed: int, size: int = 32) -> list[Any]:
    """Mappings of ``pixel_values`` and ``labels``, as an image processor's collator yields them."""
    return [{"pixel_values": x, "labels": y} for x, y in images(seed, size)]


def unlabelled(seed: int, size: int = 32) -> list[Any]:
    """The pixels alone, for what is trained to fill in masked patches."""
    return [{"pixel_values": x} for x, _ in images(seed, size)]


def masks(seed: int) -> list[Any]:
    """Pixels, and of each whether it is bright."""
    return [{"pixel_values": x, "labels": (x.mean(dim=1) > 0).long()} for x, _ in images(seed, 64)]


def clips(seed: int) -> list[Any]:
    """``pixel_values`` [n, 4, 3, 32, 32] of a moving image, whether it moves up or down."""
    batches = []
    for x, _ in images(seed):
        up = torch.arange(len(x)) % 2
        frames = [
            torch.where(up[:, None, None, None] > 0, x.roll(3 * t, 2), x.roll(-3 * t, 2))
            for t in range(4)
        ]
        batches.append({"pixel_values": torch.stack(frames, dim=1), "labels": up})
    return batches


def vision_entry(
    name: str,
    config: str,
    arguments: dict[str, Any],
    batches: Any = pixels,
    family: str = "vision",
    confirm: bool = False,
) -> Entry:
    return Entry(
        f"transformers {name}",
        "transformers",
        family,
        partial(built, config, name, arguments),
        batches,
        training(None, adamw(5e-4)),
        confirm=confirm,
    )


_STAGES = {"num_channels": 3, "num_labels": 10}

ENTRIES = [
    vision_entry("ViTForImageClassification", "ViTConfig", VIT, confirm=True),
    vision_entry("DeiTForImageClassification", "DeiTConfig", VIT),
    vision_entry("BeitForImageClassification", "BeitConfig", VIT),
    vision_entry(
        "Dinov2ForImageClassification", "Dinov2Config", {**VIT, "mlp_ratio": 2}, confirm=True
    ),
    vision_entry("ViTMSNForImageClassification", "ViTMSNConfig", VIT),
    vision_entry(
        "SwinForImageClassification",
        "SwinConfig",
        {
            **_STAGES,
            "image_size": 32,
            "patch_size": 2,
            "embed_dim": 16,
            "depths": [2, 2],
            "num_heads": [2, 4],
            "window_size": 4,
        },
        confirm=True,
    ),
    vision_entry(
        "Swinv2ForImageClassification",
        "Swinv2Config",
        {
            **_STAGES,
            "image_size": 32,
            "patch_size": 2,
            "embed_dim": 16,
            "depths": [2, 2],
            "num_heads": [2, 4],
            "window_size": 4,
        },
    ),
    vision_entry(
        "ConvNextForImageClassification",
        "ConvNextConfig",
        {**_STAGES, "patch_size": 2, "hidden_sizes": [16, 32], "depths": [2, 2], "num_stages": 2},
        confirm=True,
    ),
    vision_entry(
        "ConvNextV2ForImageClassification",
        "ConvNextV2Config",
        {**_STAGES, "patch_size": 2, "hidden_sizes": [16, 32], "depths": [2, 2], "num_stages": 2},
    ),
    vision_entry(
        "ResNetForImageClassification",
        "ResNetConfig",
        {
            **_STAGES,
            "embedding_size": 16,
            "hidden_sizes": [16, 32],
            "depths": [1, 1],
            "layer_type": "basic",
        },
        confirm=True,
    ),
    vision_entry(
        "RegNetForImageClassification",
        "RegNetConfig",
        {
            **_STAGES,
            "embedding_size": 16,
            "hidden_sizes": [16, 32],
            "depths": [1, 1],
            "groups_width": 8,
        },
    ),
    vision_entry(
        "MobileNetV2ForImageClassification",
        "MobileNetV2Config",
        {**_STAGES, "image_size": 32, "depth_multiplier": 0.35},
    ),
    vision_entry(
        "PoolFormerForImageClassification",
        "PoolFormerConfig",
        {**_STAGES, "hidden_sizes": [16, 32, 32, 32], "depths": [1, 1, 1, 1]},
    ),
    vision_entry(
        "PvtV2ForImageClassification",
        "PvtV2Config",
        {
            **_STAGES,
            "image_size": 32,
            "hidden_sizes": [16, 32, 32, 32],
            "num_attention_heads": [1, 2, 2, 2],
            "depths": [1, 1, 1, 1],
        },
    ),
    vision_entry(
        "SegformerForImageClassification",
        "SegformerConfig",
        {**_STAGES, "hidden_sizes": [16, 32, 32, 32], "depths": [1, 1, 1, 1]},
    ),
    vision_entry(
        "SegformerForSemanticSegmentation",
        "SegformerConfig",
        {
            "num_labels": 2,
            "hidden_sizes": [16, 32, 32, 32],
            "depths": [1, 1, 1, 1],
            "decoder_hidden_size": 32,
        },
        masks,
        "segmentation",
    ),
    vision_entry(
        "MobileViTForImageClassification",
        "MobileViTConfig",
        {
            **_STAGES,
            "image_size": 64,
            "hidden_sizes": [16, 24, 32],
            "neck_hidden_sizes": [8, 8, 16, 16, 24, 24, 64],
        },
        partial(pixels, size=64),
    ),
    vision_entry(
        "LevitForImageClassification",
        "LevitConfig",
        {
            **_STAGES,
            "image_size": 64,
            "hidden_sizes": [32, 48, 64],
            "depths": [1, 1, 1],
            "num_attention_heads": [2, 3, 4],
            "key_dim": [8, 8, 8],
        },
        partial(pixels, size=64),
    ),
    vision_entry(
        "BitForImageClassification",
        "BitConfig",
        {
            **_STAGES,
            "embedding_size": 16,
            "hidden_sizes": [16, 32],
            "depths": [1, 1],
            "num_groups": 4,
        },
    ),
    vision_entry(
        "ViTMAEForPreTraining",
        "ViTMAEConfig",
        {
            **VIT,
            "decoder_hidden_size": 32,
            "decoder_num_hidden_layers": 1,
            "decoder_num_attention_heads": 2,
            "decoder_intermediate_size": 64,
        },
        unlabelled,
        "self-supervised",
    ),
    vision_entry(
        "VideoMAEForVideoClassification",
        "VideoMAEConfig",
        {**VIT, "num_frames": 4, "num_labels": 2},
        clips,
        "video",
    ),
    vision_entry(
        "VivitForVideoClassification",
        "VivitConfig",
        {**VIT, "num_frames": 4, "num_labels": 2, "tubelet_size": [2, 8, 8]},
        clips,
        "video",
    ),
    vision_entry(
        "TimesformerForVideoClassification",
        "TimesformerConfig",
        {**VIT, "num_frames": 4, "num_labels": 2},
        clips,
        "video",
    ),
]
