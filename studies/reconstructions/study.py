"""What each layer still knows of an image, before and after training.

    python -m studies.reconstructions.study --quick
    python -m studies.reconstructions.study --scale small --data-root ../shared/data

Tanh networks in the ordered, critical and chaotic phase; the paper's cascade turns the activations
of each layer into an image. From a one-hot output it gives the input that a class would find
optimal. Protocol and results are in README.md. Source: arXiv 2406.12916, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pandas as pd
import plotly.graph_objects as go
import torch
import typer
from plotly.subplots import make_subplots
from torch import Tensor, nn

from benchmarks.tables import markdown
from recent_prune import networks
from recent_prune.data import Images
from recent_prune.probe.reconstructing.cascade import cascade
from recent_prune.probe.reconstructing.chain import Chain
from recent_prune.probe.reconstructing.fitting import bound, fit
from recent_prune.probe.reconstructing.reconstruction_layer import ReconstructionLayer
from studies.common.figures import write
from studies.common.images import Data, load, pooled
from studies.common.training import Training, accuracy_reached

FOLDER = Path(__file__).parent
PHASES = {"ordered": 0.6, "critical": 1.76, "chaotic": 4.0}
"""σ_w² at σ_b² = 0.05."""

SHOWN = 7
"""Depths that are shown of each network."""


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    depth: int
    updates: int
    epochs: int
    data: Data
    pool: int = 1


SCALES = {
    "quick": Scale(depth=12, updates=200, epochs=10, data=Data.DIGITS),
    "small": Scale(depth=30, updates=938, epochs=3, data=Data.MNIST, pool=2),
    "full": Scale(depth=30, updates=938, epochs=5, data=Data.MNIST),
}


@dataclass(frozen=True)
class Decoder:
    """The cascade of one network, the head's reconstruction layer included.

    Attributes:
        chain: The network.
        layers: R_1, …, R_L.
        shape: Of an image.
    """

    chain: Chain
    layers: Sequence[ReconstructionLayer]
    shape: tuple[int, ...]

    @torch.no_grad()
    def from_each_layer(self, images: Tensor) -> Tensor:
        """Images as each layer knows them, [L, n, …]."""
        found = cascade(self.layers, self.chain.activations(images))
        return torch.stack(found).reshape(len(self.layers), -1, *self.shape)

    @torch.no_grad()
    def from_output(self, outputs: Tensor) -> Tensor:
        """Images that have these outputs [n, classes], as far as the cascade knows."""
        pending = outputs
        for layer in reversed(self.layers):
            pending = layer(pending)
        return pending.reshape(-1, *self.shape)


def decoder(model: nn.Module, images: Tensor, updates: int) -> Decoder:
    """Fit the paper's cascade to a network, its head included."""
    with torch.no_grad():
        chain = Chain(model, images[:100])
        layers = [ReconstructionLayer(layer) for layer in chain.layers]
        bound(layers, [[images[:500], *chain.activations(images[:500])]])

        def batches() -> list[list[Tensor]]:
            draws = torch.randint(len(images), (updates, 64))
            return [[images[draw], *chain.activations(images[draw])] for draw in draws]

        fit(layers, iter(batches()), learning_rate=1e-3)
    return Decoder(chain, layers, tuple(images.shape[1:]))


def outputs_as_probabilities(model: nn.Sequential) -> nn.Sequential:
    """With a softmax, so that a one-hot output is one that the network can have."""
    return nn.Sequential(*model, nn.Softmax(dim=1))


def gallery(rows: Sequence[tuple[str, Sequence[tuple[str, Tensor]]]], title: str) -> go.Figure:
    """Images in rows, each with a caption."""
    columns = max(len(images) for _, images in rows)
    titles = [images[i][0] if i < len(images) else "" for _, images in rows for i in range(columns)]
    figure = make_subplots(
        rows=len(rows),
        cols=columns,
        subplot_titles=titles,
        row_titles=[name for name, _ in rows],
        horizontal_spacing=0.01,
        vertical_spacing=0.05,
    )
    for row, (_, images) in enumerate(rows, start=1):
        for column, (_, image) in enumerate(images, start=1):
            figure.add_heatmap(
                z=image.squeeze(0).flip(0).numpy().round(3),
                colorscale="gray",
                showscale=False,
                hovertemplate="%{z:.2f}<extra></extra>",
                row=row,
                col=column,
            )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    figure.update_annotations(font_size=11)
    return figure.update_layout(
        title=title, width=130 * columns + 80, height=150 * len(rows) + 100, margin={"r": 90}
    )


def run(
    scale: Annotated[str, typer.Option(help="How much: see SCALES.")] = "full",
    quick: Annotated[bool, typer.Option("--quick", help="As --scale quick.")] = False,
    data: Annotated[Data | None, typer.Option(help="Default: that of the scale.")] = None,
    data_root: Annotated[Path | None, typer.Option(help="Folder of the data sets.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = FOLDER / "results",
) -> None:
    """Fit the cascades, train the networks, fit them again, and draw."""
    name = "quick" if quick else scale
    if name not in SCALES:
        raise typer.BadParameter(f"'{name}' is not one of {', '.join(SCALES)}.")
    chosen = SCALES[name]
    images = pooled(load(data or chosen.data, data_root), chosen.pool)
    name = f"{name}_{(data or chosen.data).value}"
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    layer_rows, class_rows, wrong_rows, table = [], [], [], []
    for phase, variance in PHASES.items():
        features = images.train[0].numel()
        model = networks.mlp(
            features, 10, depth=chosen.depth, width=features, weight_variance=variance
        )
        for moment in ("before", "after"):
            if moment == "after":
                # Plain logits: with the paper's double softmax, less would train in this time.
                training = Training(chosen.epochs, 20_000, 1e-4, enough=1.0, optimizer="adam")
                accuracy_reached(model, images, training, "plain", torch.device("cpu"))
            found = measured(model, images, chosen.updates)
            label = f"{phase}, {moment}"
            layer_rows.append((label, found.by_layer))
            class_rows.append((label, found.by_class))
            wrong_rows.append((label, found.wrong))
            table.append({"network": label, "σ_w²": variance, **found.numbers})
    write(gallery(layer_rows, f"{images.name}: an image from each layer"), out / f"{name}_layers")
    write(gallery(class_rows, f"{images.name}: optimal inputs"), out / f"{name}_classes")
    write(gallery(wrong_rows, f"{images.name}: misclassified"), out / f"{name}_misclassified")
    text = (
        f"{images.name}, {len(images.train)} images, depth {chosen.depth}, "
        f"{chosen.updates} updates of the cascade, {chosen.epochs} epochs of Adam.\n\n"
        f"{markdown(pd.DataFrame(table))}\n"
    )
    (out / f"{name}.md").write_text(text, encoding="utf-8")
    print(text)


@dataclass(frozen=True)
class Measured:
    """Of one network at one moment: captioned images, and numbers."""

    by_layer: list[tuple[str, Tensor]]
    by_class: list[tuple[str, Tensor]]
    wrong: list[tuple[str, Tensor]]
    numbers: dict[str, str]


def measured(model: nn.Sequential, images: Images, updates: int) -> Measured:
    """What the cascade shows of a network."""
    known = decoder(outputs_as_probabilities(model), images.train, updates)
    test, labels = images.test[:1000], images.test_labels[:1000]
    with torch.no_grad():
        told = model(test).argmax(1)
    seen = known.from_each_layer(test)
    depth = len(seen) - 1
    shown = [*sorted({round(i * (depth - 1) / (SHOWN - 2)) for i in range(SHOWN - 1)}), depth]
    names = [*(f"layer {i + 1}" for i in shown[:-1]), "output"]
    wrong = (told != labels).nonzero().flatten()[:4].tolist()
    error = (seen - test).square().mean(dim=(1, 2, 3, 4)) / test.var()
    return Measured(
        by_layer=[
            ("input", test[0]),
            *((n, seen[i, 0]) for n, i in zip(names, shown, strict=True)),
        ],
        by_class=[(str(i), image) for i, image in enumerate(known.from_output(torch.eye(10)))],
        wrong=[
            pair
            for i in wrong
            for pair in (
                (f"is {labels[i]}", test[i]),
                (f"told {told[i]}", seen[-1, i]),
            )
        ],
        numbers={
            "test accuracy": f"{float((told == labels).float().mean()):.3f}",
            **{f"error, {n}": f"{float(error[i]):.3f}" for n, i in zip(names, shown, strict=True)},
        },
    )


if __name__ == "__main__":
    typer.run(run)
