# mypy: disable-error-code="no-any-return"
"""Torchvision's models, without weights, each trained as its reference scripts train it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models
from torchvision.models import detection, segmentation

from benchmarks.zoo.data import BATCH, cut, generator, images, pictures
from benchmarks.zoo.specification import Entry, OptimizerFactory, adamw, sgd, training


def with_auxiliaries(output: Any, target: Tensor) -> Tensor:
    """Cross-entropy of logits, and of the named tuple that Inception gives in training mode."""
    if isinstance(output, Tensor):
        return F.cross_entropy(output, target)
    others = [part for part in output[1:] if part is not None]
    return F.cross_entropy(output[0], target) + 0.3 * sum(
        F.cross_entropy(o, target) for o in others
    )


def _classifier(
    name: str,
    optimizer: OptimizerFactory,
    size: int = 32,
    confirm: bool = False,
    **arguments: Any,
) -> Entry:
    return Entry(
        f"torchvision {name}",
        "torchvision",
        "transformer" if any(k in name for k in ("swin", "vit")) else "convolutional",
        partial(models.get_model, name, weights=None, num_classes=10, **arguments),
        partial(images, size=size),
        training(with_auxiliaries, optimizer),
        confirm=confirm,
    )


def _vit() -> nn.Module:
    return models.VisionTransformer(
        image_size=32,
        patch_size=8,
        num_layers=4,
        num_heads=4,
        hidden_dim=64,
        mlp_dim=128,
        num_classes=10,
    )


def _maxvit() -> nn.Module:
    return models.MaxVit((64, 64), 16, 4, [16, 32], [2, 2], 8, 0.1, num_classes=10)


def masks(seed: int, size: int = 64) -> list[Any]:
    """(images, of each pixel whether it is bright), four batches' worth of eight."""
    found, _ = pictures(seed, size)
    return cut(found, (found.mean(dim=1) > 0).long(), size=16)[:24]


def _pixels(output: dict[str, Tensor], target: Tensor) -> Tensor:
    loss = F.cross_entropy(output["out"], target)
    return loss + 0.5 * F.cross_entropy(output["aux"], target) if "aux" in output else loss


def scenes(seed: int, size: int = 64) -> list[Any]:
    """(list of images, list of boxes and classes), as torchvision's detection references have."""
    found, _ = pictures(seed, size)
    draw = generator(seed + 600)
    batches = []
    for number in range(26):
        rows = found[8 * number : 8 * number + 8]
        targets = []
        for image in rows:
            corner = torch.randint(0, size - 32, (2,), generator=draw)
            side = torch.randint(16, 32, (2,), generator=draw)
            box = torch.cat([corner, corner + side])
            image[:, box[1] : box[3], box[0] : box[2]] += 1.0
            mask = torch.zeros(1, size, size, dtype=torch.uint8)
            mask[0, box[1] : box[3], box[0] : box[2]] = 1
            targets.append({"boxes": box[None].float(), "labels": torch.tensor([1]), "masks": mask})
        batches.append(([*rows], targets))
    return batches


def summed(model: nn.Module, batch: Any) -> Any:
    """As in torchvision's references."""
    return sum(model(*batch).values())


def _detector(
    name: str, build: Callable[..., nn.Module], call: Any = None, **arguments: Any
) -> Entry:
    """They give a mapping of losses in training mode, and boxes in evaluation mode."""
    return Entry(
        f"torchvision {name}",
        "torchvision",
        "detection",
        partial(build, weights=None, weights_backbone=None, num_classes=2, **arguments),
        scenes,
        training(None, sgd(0.005), call),
        call=None if call is None else lambda model, batch: model(batch[0]),
    )


def _segmenter(name: str, build: Callable[..., nn.Module], **arguments: Any) -> Entry:
    return Entry(
        f"torchvision {name}",
        "torchvision",
        "segmentation",
        partial(build, weights=None, weights_backbone=None, num_classes=2, **arguments),
        masks,
        training(_pixels, sgd(0.01)),
    )


def clips(seed: int) -> list[Any]:
    """(videos [n, 3, 8, 32, 32] of a moving image, whether it moves up or down)."""
    found, _ = pictures(seed, 32)
    up = torch.arange(len(found)) % 2
    frames = [
        torch.where(up[:, None, None, None] > 0, found.roll(2 * t, 2), found.roll(-2 * t, 2))
        for t in range(8)
    ]
    return cut(torch.stack(frames, dim=2)[: BATCH * 24], up[: BATCH * 24], size=16)


def _video(name: str, optimizer: OptimizerFactory) -> Entry:
    return Entry(
        f"torchvision {name}",
        "torchvision",
        "video",
        partial(models.get_model, name, weights=None, num_classes=2),
        clips,
        training(F.cross_entropy, optimizer),
    )


_STEEP, _FLAT = sgd(0.1), sgd(0.01)
_MODERN = adamw(5e-4, 0.05)

ENTRIES = [
    _classifier("alexnet", _FLAT, 64),
    _classifier("vgg11", _FLAT),
    _classifier("vgg11_bn", _FLAT),
    _classifier("vgg16_bn", _FLAT),
    *(
        _classifier(name, _STEEP)
        for name in (
            "resnet18",
            "resnet34",
            "resnet50",
            "resnext50_32x4d",
            "wide_resnet50_2",
            "densenet121",
            "mobilenet_v2",
            "shufflenet_v2_x0_5",
            "shufflenet_v2_x1_0",
            "mnasnet0_5",
            "mnasnet1_0",
            "regnet_y_400mf",
            "regnet_x_400mf",
        )
    ),
    *(
        _classifier(name, sgd(0.045))
        for name in (
            "mobilenet_v3_small",
            "mobilenet_v3_large",
            "efficientnet_b0",
            "efficientnet_v2_s",
        )
    ),
    _classifier("squeezenet1_0", _FLAT, 48),
    _classifier("squeezenet1_1", _FLAT, 48),
    _classifier("googlenet", _STEEP, 64, init_weights=True),
    _classifier("inception_v3", _STEEP, 96, init_weights=True, aux_logits=False),
    _classifier("convnext_tiny", _MODERN),
    _classifier("swin_t", _MODERN, 64),
    _classifier("swin_v2_t", _MODERN, 64),
    Entry(
        "torchvision VisionTransformer, 4 layers",
        "torchvision",
        "transformer",
        _vit,
        images,
        training(F.cross_entropy, _MODERN),
        confirm=True,
    ),
    Entry(
        "torchvision MaxVit, 2 stages",
        "torchvision",
        "transformer",
        _maxvit,
        partial(images, size=64),
        training(F.cross_entropy, _MODERN),
    ),
    _segmenter("fcn_resnet50", segmentation.fcn_resnet50, aux_loss=True),
    _segmenter("deeplabv3_mobilenet_v3_large", segmentation.deeplabv3_mobilenet_v3_large),
    _segmenter("lraspp_mobilenet_v3_large", segmentation.lraspp_mobilenet_v3_large),
    _detector(
        "fasterrcnn_mobilenet_v3_large_fpn",
        detection.fasterrcnn_mobilenet_v3_large_fpn,
        min_size=64,
        max_size=64,
    ),
    _detector("ssdlite320_mobilenet_v3_large", detection.ssdlite320_mobilenet_v3_large),
    _detector("fcos_resnet50_fpn", detection.fcos_resnet50_fpn, summed, min_size=64, max_size=64),
    _detector(
        "maskrcnn_resnet50_fpn",
        detection.maskrcnn_resnet50_fpn,
        min_size=64,
        max_size=64,
        rpn_post_nms_top_n_train=50,
        rpn_post_nms_top_n_test=50,
        box_detections_per_img=5,
    ),
    _detector("retinanet_resnet50_fpn", detection.retinanet_resnet50_fpn, min_size=64, max_size=64),
    *(_video(name, _FLAT) for name in ("r3d_18", "mc3_18", "r2plus1d_18")),
]
