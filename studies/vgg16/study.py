"""What VGG16 still knows of an image, layer by layer and channel by channel.

    python -m studies.vgg16.study --quick
    python -m studies.vgg16.study --scale small --data-root FOLDER
    python -m studies.vgg16.study --weights imagenet --data FOLDER

A ridge regression turns the activations of each layer, and those of single channels, into an image.
Protocol and results are in README.md. Source: arXiv 2406.12916, which has a trained cascade in
its place.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import typer
from torch import Tensor, nn

import recent_prune as rp
from benchmarks.tables import markdown
from studies.common.figures import write
from studies.common.images import Data
from studies.common.points import collected
from studies.vgg16.figures import RANKS, by_channel, by_layer
from studies.vgg16.network import BLOCK_ENDS, LAYERS, Channels, Weights, network, place
from studies.vgg16.pictures import Pictures, pictures

FOLDER = Path(__file__).parent
SHOWN = 4
"""Images to look at."""

WHOLE = "all"
"""Stands for all channels of a layer, and for the point that measures whole layers."""

DATA_HELP = f"{', '.join(Data)}, or a folder of images. Default: that of the scale."

RIDGE = rp.Ridge(noise_floors=(1e-8,), relative_floor=1e-3)
"""For looking rather than judging: one noise floor, so that a picture and its number are of one
regression, and a smaller relative floor than the probe's, as measured in README.md."""

LOST = 0.005
"""A channel that retains less counts as lost."""


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        data: The images, unless others are asked for.
        size: Of an image, pixels; VGG16's own is 224.
        samples: Images to fit on, at most.
        channels_of: Layers whose channels are looked at one by one.
    """

    data: Data
    size: int
    samples: int
    channels_of: tuple[str, ...] = BLOCK_ENDS


SCALES = {
    "quick": Scale(data=Data.DIGITS, size=32, samples=160),
    "small": Scale(data=Data.CIFAR10, size=32, samples=1000),
    "full": Scale(data=Data.CIFAR10, size=224, samples=512),
}


def measured(point: str, model: nn.Sequential, images: Pictures, folder: Path) -> pd.DataFrame:
    """Measure a point and keep its pictures beside its table, as ``POINT.pt``."""
    measure = whole_layers if point == WHOLE else partial(single_channels, point)
    table, seen = measure(model, images)
    torch.save(seen, folder / f"{point}.pt")
    return table


def whole_layers(model: nn.Sequential, images: Pictures) -> tuple[pd.DataFrame, Tensor]:
    """A line a layer, and pictures from each, [1 + L, k, …]; the images themselves come first.

    What the images retain of themselves is their redundancy: more cannot be asked of a layer.
    """
    result, seen = probed(model, [str(place(model, layer)) for layer in LAYERS], images)
    table = pd.concat([pd.DataFrame({"retained": [result.redundancy]}), numbers(result)])
    table = table.assign(layer=["input", *LAYERS], channel=WHOLE)
    return table, torch.cat([images.shown[None], seen])


def single_channels(
    layer: str, model: nn.Sequential, images: Pictures
) -> tuple[pd.DataFrame, Tensor]:
    """A line a channel of a layer, and pictures from those of ``RANKS``, [3, k, …]."""
    channels = Channels(model, layer)
    result, seen = probed(channels, channels.names, images)
    table = numbers(result).assign(layer=layer, channel=range(len(seen)))
    return table, seen[ranked(table["retained"])]


def probed(
    model: nn.Module, layers: Sequence[str], images: Pictures
) -> tuple[rp.ProbeResult, Tensor]:
    """The probe of some layers, and the shown images as each knows them, [L, k, …]."""
    device = next(model.parameters()).device
    result = rp.probe(
        model,
        images.fitted.to(device),
        estimator=replace(RIDGE, samples=len(images.fitted)),
        layers=layers,
        reconstruct=images.shown.to(device),
    )
    if result.reconstructions is None:
        raise RuntimeError(f"None of the layers {layers[0]} … {layers[-1]} is finite.")
    return result, result.reconstructions.by_layer.cpu()


def numbers(result: rp.ProbeResult) -> pd.DataFrame:
    """A line a layer, to four digits."""
    names = ("retained", "relative_entropy", "activation_rms")
    table = pd.DataFrame({name: getattr(result, name) for name in names})
    return table.map(lambda value: float(f"{value:.4g}"))


def ranked(retained: pd.Series[float]) -> list[int]:
    """Positions of the best, the median and the worst channel."""
    order = retained.to_numpy().argsort()[::-1]
    return [int(order[i]) for i in (0, len(order) // 2, -1)]


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """A line a layer: what is known from all of it, and from single channels."""
    rows = []
    for layer, group in table.groupby("layer", sort=False):
        together = group[group["channel"] == WHOLE].iloc[0]
        alone = group.loc[group["channel"] != WHOLE, "retained"]
        row = {
            "layer": layer,
            "retained": f"{together['retained']:.3f}",
            "relative entropy (nats)": f"{together['relative_entropy']:.3f}",
            "activation rms": f"{together['activation_rms']:.2g}",
        }
        if len(alone):
            row["channels"] = str(len(alone))
            found = alone.iloc[ranked(alone)]
            row |= {name: f"{value:.3f}" for name, value in zip(RANKS, found, strict=True)}
            row["lost"] = str((alone < LOST).sum())
        rows.append(row)
    return pd.DataFrame(rows).fillna("").replace("nan", "")


def run(
    scale: Annotated[str, typer.Option(help="How much: see SCALES.")] = "full",
    quick: Annotated[bool, typer.Option("--quick", help="As --scale quick.")] = False,
    weights: Annotated[Weights, typer.Option(help="Trained ones are downloaded.")] = Weights.RANDOM,
    data: Annotated[str, typer.Option(help=DATA_HELP)] = "",
    data_root: Annotated[Path | None, typer.Option(help="Folder of the data sets.")] = None,
    device: Annotated[str, typer.Option(help="Default: a GPU, where there is one.")] = "",
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = FOLDER / "results",
) -> None:
    """Reconstruct images and draw; what was measured before is not measured again."""
    name = "quick" if quick else scale
    if name not in SCALES:
        raise typer.BadParameter(f"'{name}' is not one of {', '.join(SCALES)}.")
    chosen = SCALES[name]
    try:
        images = pictures(data or chosen.data, data_root, chosen.size, chosen.samples, SHOWN)
        model = network(weights)
    except RuntimeError as error:
        raise SystemExit(str(error)) from error
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    model = model.to(where)
    # Points of other settings are others.
    settings = repr((chosen, RIDGE, weights, data, data_root))
    folder = out / "points" / hashlib.sha256(settings.encode()).hexdigest()[:8]
    points = (WHOLE, *chosen.channels_of)
    table = collected(
        {point: point for point in points},
        lambda point: measured(point, model, images, folder),
        folder,
        "Reconstructing",
    )
    seen = {point: torch.load(folder / f"{point}.pt", weights_only=True) for point in points}
    together, alone = (table[(table["channel"] == WHOLE) == one] for one in (True, False))
    title = (
        f"VGG16, {weights} weights; {images.name}, {len(images.fitted)} images "
        f"{chosen.size} × {chosen.size}"
    )
    path = out / f"{name}_{images.name}_{weights}"
    write(by_layer(title, together, seen[WHOLE]), path.with_name(f"{path.name}_layers"))
    by_name = dict(zip(together["layer"], seen[WHOLE], strict=True))
    single = {layer: seen[layer] for layer in chosen.channels_of}
    write(by_channel(title, alone, by_name, single), path.with_name(f"{path.name}_channels"))
    text = (
        f"{title} fitted on, {len(images.shown)} others shown; "
        f"{platform.machine()}, {where}, torch {torch.__version__}.\n\n"
        f"{markdown(summary(table))}\n"
    )
    table.to_csv(path.with_suffix(".csv"), index=False)
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    typer.run(run)
