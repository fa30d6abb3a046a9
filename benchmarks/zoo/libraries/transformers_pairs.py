"""Models of transformers that look at images and texts, or find things in images."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from benchmarks.zoo.data import BATCH, WORDS, generator, images, padded, pictures, sentences
from benchmarks.zoo.libraries.transformers_vision import VIT, vision_entry


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
_JOINT = {**VIT, "vocab_size": WORDS, "max_position_embeddings": 40}

ENTRIES = [
    vision_entry("CLIPModel", "CLIPConfig", _PAIR, captions, "image and text", confirm=True),
    vision_entry(
        "SiglipModel",
        "SiglipConfig",
        {"text_config": {**_TEXT, "projection_size": 32}, "vision_config": _VISION},
        captions,
        "image and text",
    ),
    vision_entry(
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
    vision_entry(
        "ViltForImagesAndTextClassification",
        "ViltConfig",
        {**_JOINT, "num_images": 1},
        partial(questions, visual="pixel_values"),
        "image and text",
    ),
    vision_entry(
        "VisualBertForVisualReasoning",
        "VisualBertConfig",
        {**_TEXT, "visual_embedding_dim": 256, "num_labels": 10},
        partial(questions, visual="visual_embeds"),
        "image and text",
    ),
    vision_entry(
        "YolosForObjectDetection",
        "YolosConfig",
        {**VIT, "image_size": [64, 64], "num_detection_tokens": 5, "num_labels": 1},
        boxes,
        "detection",
    ),
]
