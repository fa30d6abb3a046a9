"""Does the probe see what trains beyond tanh: other activations, norms, transformers, defaults?

    python -m studies.other_networks.study --quick
    python -m studies.other_networks.study

Each family is built at growing depth, probed once at its initialization and then trained with Adam
at two learning rates, of which the better one counts. Protocol and results are in README.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated

import pandas as pd
import plotly.graph_objects as go
import torch
import typer
from plotly.subplots import make_subplots
from torch import Tensor, nn

import recent_prune as rp
from benchmarks.tables import markdown
from recent_prune import networks
from recent_prune.data import Images
from studies.common.figures import write
from studies.common.images import Data, load
from studies.common.points import collected
from studies.common.training import Training, accuracy_reached

FOLDER = Path(__file__).parent
WIDTH = 64
TRAINS = 0.4
"""Test accuracy above which a network counts as trained, the paper's."""
LEARNING_RATES = (1e-3, 1e-4)
KEPT, CONDEMNED = "#0072b2", "#d55e00"


def plain(activation: str, weight_variance: float, features: int, depth: int) -> nn.Module:
    """A plain MLP with σ_b² = 0.05."""
    return networks.mlp(
        features,
        10,
        depth=depth,
        width=WIDTH,
        activation=activation,
        weight_variance=weight_variance,
    )


def default(
    activation: type[nn.Module], norm: Callable[[int], nn.Module] | None, features: int, depth: int
) -> nn.Module:
    """An MLP as PyTorch initializes it: σ_w² = 1/3, whatever the activation."""
    layers: list[nn.Module] = [nn.Flatten()]
    for index in range(depth):
        layers.append(nn.Linear(features if index == 0 else WIDTH, WIDTH))
        layers += [norm(WIDTH)] if norm else []
        layers.append(activation())
    return nn.Sequential(*layers, nn.Linear(WIDTH, 10))


class Transformer(nn.Module):
    """Rows of an image as tokens, an encoder, the mean over tokens."""

    def __init__(self, rows: int, columns: int, depth: int, *, norm_first: bool) -> None:
        super().__init__()
        self.embedding = nn.Linear(columns, WIDTH)
        self.position = nn.Parameter(0.02 * torch.randn(1, rows, WIDTH))
        layer = nn.TransformerEncoderLayer(
            WIDTH, 4, 2 * WIDTH, dropout=0.0, batch_first=True, norm_first=norm_first
        )
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        for module in self.encoder.modules():  # the encoder copies one layer
            if isinstance(module, nn.Linear):
                module.reset_parameters()
            elif isinstance(module, nn.MultiheadAttention):
                module._reset_parameters()
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, 10] of images [n, 1, rows, columns]."""
        tokens = self.embedding(images.squeeze(1)) + self.position
        out: Tensor = self.head(self.encoder(tokens).mean(dim=1))
        return out


def transformer(norm_first: bool, features: int, depth: int) -> nn.Module:
    """For square images."""
    side = round(features**0.5)
    return Transformer(side, side, depth, norm_first=norm_first)


Build = Callable[[int, int], nn.Module]
"""From the number of input features and a depth to a network."""

FAMILIES: dict[str, Build] = {
    "ReLU, critical (σ_w² = 2)": partial(plain, "relu", 2.0),
    "ReLU, σ_w² = 1": partial(plain, "relu", 1.0),
    "ReLU, σ_w² = 4": partial(plain, "relu", 4.0),
    "GELU, σ_w² = 2": partial(plain, "gelu", 2.0),
    "sigmoid, σ_w² = 4": partial(plain, "sigmoid", 4.0),
    "tanh, PyTorch's default": partial(default, nn.Tanh, None),
    "ReLU, PyTorch's default": partial(default, nn.ReLU, None),
    "GELU, PyTorch's default": partial(default, nn.GELU, None),
    "ReLU, batch norm": partial(default, nn.ReLU, nn.BatchNorm1d),
    "ReLU, layer norm": partial(default, nn.ReLU, nn.LayerNorm),
    "tanh, batch norm": partial(default, nn.Tanh, nn.BatchNorm1d),
    "transformer, pre-LN": partial(transformer, True),
    "transformer, post-LN": partial(transformer, False),
}

DEPTHS = {"quick": (4, 24), "full": (2, 4, 8, 16, 24, 32, 48, 64)}
EPOCHS = {"quick": 5, "full": 30}


def measure(images: Images, epochs: int, family: str, depth: int) -> pd.DataFrame:
    """Probe one network, then train it."""
    features = images.train[0].numel()
    reached = []
    for learning_rate in LEARNING_RATES:
        torch.manual_seed(depth)
        model = FAMILIES[family](features, depth)
        result = rp.probe(model, images.train)
        verdict = rp.TrainabilityRule()(result)
        training = Training(
            epochs, len(images.train), learning_rate, enough=TRAINS, optimizer="adam"
        )
        reached.append(accuracy_reached(model, images, training, "plain", torch.device("cpu")))
        if reached[-1] > TRAINS:
            break
    row = {
        "family": family,
        "depth": depth,
        "retained": float(f"{result.retained[-1]:.4g}"),
        "trainable": verdict.trainable,
        "accuracy": max(reached),
    }
    return pd.DataFrame([row])


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """A line a family: how often the verdict and the training differ."""
    rows = []
    for family, group in table.groupby("family", sort=False):
        trains = group["accuracy"] > TRAINS
        rows.append(
            {
                "family": family,
                "trains to depth": int(group.loc[trains, "depth"].max()) if trains.any() else 0,
                "kept to depth": int(group.loc[group["trainable"], "depth"].max())
                if group["trainable"].any()
                else 0,
                "networks": len(group),
                "train": int(trains.sum()),
                "condemned though they train": int((trains & ~group["trainable"]).sum()),
                "kept though they do not": int((~trains & group["trainable"]).sum()),
            }
        )
    return pd.DataFrame(rows)


def figure(table: pd.DataFrame) -> go.Figure:
    """Accuracy and retained information over depth, a panel a family."""
    families = table["family"].unique()
    columns = 3
    rows = -(-len(families) // columns)
    drawn = make_subplots(
        rows=rows,
        cols=columns,
        subplot_titles=list(families),
        shared_xaxes="all",
        shared_yaxes=True,
    )
    shown: set[str] = set()  # in the legend
    for index, family in enumerate(families):
        group = table[table["family"] == family]
        place = {"row": 1 + index // columns, "col": 1 + index % columns}
        drawn.add_scatter(
            x=group["depth"],
            y=group["retained"],
            name="retained information",
            mode="lines",
            line={"color": "#666", "dash": "dash"},
            legendgroup="retained",
            showlegend=index == 0,
            **place,
        )
        for trainable, name, colour, symbol in (
            (True, "accuracy, kept", KEPT, "circle"),
            (False, "accuracy, condemned", CONDEMNED, "x"),
        ):
            some = group[group["trainable"] == trainable]
            drawn.add_scatter(
                x=some["depth"],
                y=some["accuracy"],
                name=name,
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": 9},
                legendgroup=name,
                showlegend=len(some) > 0 and name not in shown,
                **place,
            )
            shown |= {name} if len(some) else set()
    drawn.update_xaxes(title_text="depth (layers)", row=rows)
    drawn.update_yaxes(range=[-0.03, 1.03])
    return drawn.update_layout(
        title="Retained information before training, accuracy after it",
        height=240 * rows + 120,
        width=1000,
        legend={"orientation": "h", "y": -0.08},
    )


def run(
    quick: Annotated[bool, typer.Option("--quick", help="Two depths, five epochs.")] = False,
    data: Annotated[Data, typer.Option(help="The images.")] = Data.DIGITS,
    data_root: Annotated[Path | None, typer.Option(help="Folder of the data sets.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = FOLDER / "results",
) -> None:
    """Probe, train and compare; what was measured before is not measured again."""
    scale = "quick" if quick else "full"
    images = load(data, data_root).head(6000, 1000)
    name = f"{scale}_{data.value}"
    points = list(product(FAMILIES, DEPTHS[scale]))
    table = collected(
        {f"{name}_{EPOCHS[scale]}_{_slug(f)}_{depth}": (f, depth) for f, depth in points},
        lambda point: measure(images, EPOCHS[scale], *point),
        out / "points",
        "Probing and training",
    )
    text = (
        f"{images.name}, {len(images.train)} images, at most {EPOCHS[scale]} epochs of Adam.\n\n"
        f"{markdown(summary(table))}\n"
    )
    table.to_csv(out / f"{name}.csv", index=False)
    (out / f"{name}.md").write_text(text, encoding="utf-8")
    write(figure(table), out / name)
    print(text)


def _slug(family: str) -> str:
    return re.sub(r"\W+", "_", family)


if __name__ == "__main__":
    typer.run(run)
