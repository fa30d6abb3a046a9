"""Models of transformers that look at images, or at images and texts."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from benchmarks.zoo.data import BATCH, WORDS, generator, images, padded, pictures, sentences
from benchmarks.zoo.libraries.transformers_models import built
from benchmarks.zoo.specification import Entry, adamw, training

_VIT: dict[str, Any] = {
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


def captions(seed: int) -> list[Any]:
    """Images and words for what they show, as a CLIP processor yields them."""
    found, labels = pictures(seed)
    draw = generator(seed + 700)
    batches = []
    for start in range(0, len(found) - BATCH + 1, BATCH):
        rows = []
        for label in labels[start : start + BATCH].tolist():
            length = int(torch.randint(3, 9, (), generator=draw))
            words = 4 + 5 * label + torch.randint(0, 5, (length,), generator=draw)
            rows.append(torch.cat([torch.tensor([1]), words, torch.tensor([2])]))
        ids = padded(rows)
        batches.append(
            {
                "input_ids": ids,
                "pixel_values": found[start : start + BATCH],
                "attention_mask": (ids > 0).long(),
                "return_loss": True,
            }
        )
    return batches


def questions(seed: int, *, visual: str) -> list[Any]:
    """Texts with an image of each, and one of ten classes, that of the image."""
    batches = []
    for number, (x, y) in enumerate(images(seed)):
        rows = sentences(2000 * (seed + 1) + number, len(x), 4, 10)
        ids = padded(rows)
        shown = x if visual == "pixel_values" else x.reshape(len(x), 12, 256)
        batches.append(
            {"input_ids": ids, "attention_mask": (ids > 0).long(), visual: shown, "labels": y}
        )
    return batches


def boxes(seed: int) -> list[Any]:
    """Pixels and a list of mappings of classes and boxes, as DETR's processor yields them."""
    draw = generator(seed + 800)
    batches = []
    for x, _ in images(seed, 64, batch=16)[:30]:
        targets = []
        for image in x:
            centre = 0.3 + 0.4 * torch.rand(2, generator=draw)
            size = 0.2 + 0.2 * torch.rand(2, generator=draw)
            low, high = ((centre - size / 2) * 64).long(), ((centre + size / 2) * 64).long()
            image[:, low[1] : high[1], low[0] : high[0]] += 1.0
            targets.append(
                {"class_labels": torch.tensor([0]), "boxes": torch.cat([centre, size])[None]}
            )
        batches.append({"pixel_values": x, "labels": targets})
    return batches


def _entry(
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


_TEXT = {
    "vocab_size": WORDS,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_VISION = {
    "image_size": 32,
    "patch_size": 8,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
_PAIR: dict[str, Any] = {"text_config": _TEXT, "vision_config": _VISION, "projection_dim": 32}
_JOINT = {**_VIT, "vocab_size": WORDS, "max_position_embeddings": 40}
_STAGES = {"num_channels": 3, "num_labels": 10}

ENTRIES = [
    _entry("ViTForImageClassification", "ViTConfig", _VIT, confirm=True),
    _entry("DeiTForImageClassification", "DeiTConfig", _VIT),
    _entry("BeitForImageClassification", "BeitConfig", _VIT),
    _entry("Dinov2ForImageClassification", "Dinov2Config", {**_VIT, "mlp_ratio": 2}, confirm=True),
    _entry("ViTMSNForImageClassification", "ViTMSNConfig", _VIT),
    _entry(
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
    _entry(
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
    _entry(
        "ConvNextForImageClassification",
        "ConvNextConfig",
        {**_STAGES, "patch_size": 2, "hidden_sizes": [16, 32], "depths": [2, 2], "num_stages": 2},
        confirm=True,
    ),
    _entry(
        "ConvNextV2ForImageClassification",
        "ConvNextV2Config",
        {**_STAGES, "patch_size": 2, "hidden_sizes": [16, 32], "depths": [2, 2], "num_stages": 2},
    ),
    _entry(
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
    _entry(
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
    _entry(
        "MobileNetV2ForImageClassification",
        "MobileNetV2Config",
        {**_STAGES, "image_size": 32, "depth_multiplier": 0.35},
    ),
    _entry(
        "PoolFormerForImageClassification",
        "PoolFormerConfig",
        {**_STAGES, "hidden_sizes": [16, 32, 32, 32], "depths": [1, 1, 1, 1]},
    ),
    _entry(
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
    _entry(
        "SegformerForImageClassification",
        "SegformerConfig",
        {**_STAGES, "hidden_sizes": [16, 32, 32, 32], "depths": [1, 1, 1, 1]},
    ),
    _entry(
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
    _entry(
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
    _entry(
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
    _entry(
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
    _entry(
        "ViTMAEForPreTraining",
        "ViTMAEConfig",
        {
            **_VIT,
            "decoder_hidden_size": 32,
            "decoder_num_hidden_layers": 1,
            "decoder_num_attention_heads": 2,
            "decoder_intermediate_size": 64,
        },
        unlabelled,
        "self-supervised",
    ),
    _entry(
        "VideoMAEForVideoClassification",
        "VideoMAEConfig",
        {**_VIT, "num_frames": 4, "num_labels": 2},
        clips,
        "video",
    ),
    _entry(
        "VivitForVideoClassification",
        "VivitConfig",
        {**_VIT, "num_frames": 4, "num_labels": 2, "tubelet_size": [2, 8, 8]},
        clips,
        "video",
    ),
    _entry(
        "TimesformerForVideoClassification",
        "TimesformerConfig",
        {**_VIT, "num_frames": 4, "num_labels": 2},
        clips,
        "video",
    ),
    _entry("CLIPModel", "CLIPConfig", _PAIR, captions, "image and text", confirm=True),
    _entry(
        "SiglipModel",
        "SiglipConfig",
        {"text_config": {**_TEXT, "projection_size": 32}, "vision_config": _VISION},
        captions,
        "image and text",
    ),
    _entry(
        "AltCLIPModel",
        "AltCLIPConfig",
        {
            "text_config": {**_TEXT, "project_dim": 32},
            "vision_config": _VISION,
            "projection_dim": 32,
        },
        captions,
        "image and text",
    ),
    _entry(
        "ViltForImagesAndTextClassification",
        "ViltConfig",
        {**_JOINT, "num_images": 1},
        partial(questions, visual="pixel_values"),
        "image and text",
    ),
    _entry(
        "VisualBertForVisualReasoning",
        "VisualBertConfig",
        {**_TEXT, "visual_embedding_dim": 256, "num_labels": 10},
        partial(questions, visual="visual_embeds"),
        "image and text",
    ),
    _entry(
        "YolosForObjectDetection",
        "YolosConfig",
        {**_VIT, "image_size": [64, 64], "num_detection_tokens": 5, "num_labels": 1},
        boxes,
        "detection",
    ),
]
