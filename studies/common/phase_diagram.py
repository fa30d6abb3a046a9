"""Entropies over (σ_w², depth), the cutoff, mean field and what really trains.

One network of the greatest depth is probed for each σ_w²: what its layer l knows of the input does
not depend on the layers behind. Shallower ones are built anew where they are trained.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

import recent_prune as rp
from benchmarks.tables import markdown
from recent_prune.data import Images
from recent_prune.mean_field import correlation_length
from recent_prune.probe.reconstructing.cascade import DEFAULT_UPDATES
from studies.common.columns import auroc, columns_of, fitted_k, spearman, with_interval
from studies.common.points import collected
from studies.common.precision import convolutions
from studies.common.training import LOSSES, Training, accuracy_reached

FLOOR_SHARE = 0.15
"""A differential entropy within this share of its range above the floor is on the floor."""

K = 6
"""Correlation lengths that a network may be deep (Schoenholz et al. 2017)."""

Build = Callable[[float, int], nn.Module]
"""From σ_w² and a depth to a network."""


@dataclass(frozen=True)
class Diagram:
    """One phase diagram.

    Attributes:
        name: Of its files.
        build: The networks.
        images: What they look at.
        bias_variance: σ_b², for mean field; None: networks of which it knows nothing.
        depth: Of the networks that are probed: layers, or blocks.
        weight_variances: σ_w² of the networks that are probed.
        updates: Of the paper's cascade; None: its default.
        cutoff_rtol: Of the paper's cutoff.
        trained: σ_w² and depths of those that are trained as well, if any.
        training: How.
        device: Where.
        tf32: Whether 2-d convolutions are computed in TF32.
    """

    name: str
    build: Build
    images: Images
    bias_variance: float | None
    depth: int
    weight_variances: tuple[float, ...]
    updates: int | None
    cutoff_rtol: float
    trained: tuple[tuple[float, ...], tuple[int, ...]]
    training: Training
    device: torch.device
    tf32: bool = False

    def correlation_length(self, weight_variance: float) -> float:
        """Mean field's ξ, layers."""
        assert self.bias_variance is not None
        return correlation_length(weight_variance, self.bias_variance)


@dataclass(frozen=True)
class Measured:
    """What a diagram's networks came to.

    Attributes:
        profiles: A line a layer: ``weight_variance``, ``depth``, ``relative_entropy``,
            ``differential_entropy`` (nats; the cascade's), ``retained`` (ridge),
            ``gram_entropy``, and of the whole network ``cutoff`` and ``seconds``.
        training: A line a trained network: ``weight_variance``, ``depth``, ``loss``,
            ``accuracy``; of its probe ``retained`` at the deepest layer, and ``score``, the
            log-odds of the `TrainabilityRule`.
    """

    profiles: pd.DataFrame
    training: pd.DataFrame


def measured(diagram: Diagram, folder: Path) -> Measured:
    """Probe and train; what an interrupted run had measured is kept in ``folder``."""
    points = product(*diagram.trained, LOSSES) if all(diagram.trained) else ()
    with convolutions(tf32=diagram.tf32):
        profiles = collected(
            {f"{diagram.name}_{variance:g}": variance for variance in diagram.weight_variances},
            partial(profile, diagram),
            folder / "probed",
            f"Probing {diagram.name}",
        )
        training = collected(
            {f"{diagram.name}_{v:g}_{depth}_{loss}": (v, depth, loss) for v, depth, loss in points},
            lambda point: trained(diagram, *point),
            folder / "trained",
            f"Training {diagram.name}",
        )
    return Measured(profiles, training)


def profile(diagram: Diagram, weight_variance: float) -> pd.DataFrame:
    """The profiles of one network."""
    model = diagram.build(weight_variance, diagram.depth).to(diagram.device)
    images = diagram.images.train.to(diagram.device)
    start = time.perf_counter()
    cascade = rp.probe(
        model,
        images,
        estimator=rp.Cascade(updates=diagram.updates),
        rtol=diagram.cutoff_rtol,
    )
    seconds = time.perf_counter() - start
    ridge = rp.probe(model, images)
    # A block has several activations: those of the layers that the cascade knows.
    retained = dict(zip(ridge.layers, ridge.retained, strict=True))
    gram = dict(zip(ridge.layers, ridge.gram_entropy, strict=True))
    return pd.DataFrame(
        {
            "weight_variance": weight_variance,
            "depth": range(1, cascade.depth + 1),
            "relative_entropy": _rounded(cascade.relative_entropy),
            "differential_entropy": _rounded(cascade.differential_entropy),
            "retained": _rounded([retained.get(name, math.nan) for name in cascade.layers]),
            "gram_entropy": _rounded([gram.get(name, math.nan) for name in cascade.layers]),
            "cutoff": cascade.cutoff,
            "seconds": round(seconds, 2),
        }
    )


def trained(diagram: Diagram, weight_variance: float, depth: int, loss: str) -> pd.DataFrame:
    """What one network reaches, and the score of its probe."""
    model, known = probed(diagram, weight_variance, depth)
    accuracy = accuracy_reached(model, diagram.images, diagram.training, loss, diagram.device)
    row = {"weight_variance": weight_variance, "depth": depth, "loss": loss, "accuracy": accuracy}
    return pd.DataFrame([row | known])


def probed(
    diagram: Diagram, weight_variance: float, depth: int
) -> tuple[nn.Module, dict[str, float]]:
    """A network that is to be trained, and what its probe says."""
    model = diagram.build(weight_variance, depth).to(diagram.device)
    result = rp.probe(model, diagram.images.train[:2000].to(diagram.device))
    score = max(rp.TrainabilityRule.score(result), -1e9)
    return model, {"retained": result.retained[-1], "score": score}


def floor_depths(profiles: pd.DataFrame) -> pd.Series[float]:
    """Depth at which the differential entropy has fallen to its floor, by σ_w²; NaN if it has not.

    The floor is the least value of the diagram.
    """
    wide = profiles.pivot(index="depth", columns="weight_variance", values="differential_entropy")
    floor, top = wide.min().min(), wide.iloc[0].mean()
    fallen = wide <= floor + FLOOR_SHARE * (top - floor)
    depths: pd.Series[float] = fallen.idxmax().astype(float).where(fallen.any())
    return depths


def agreement(diagram: Diagram, found: Measured) -> pd.DataFrame:
    """How well each prediction agrees with training: a line a predictor and a loss.

    Columns: AUROC over the trained networks, Spearman correlation of predicted with trained depth
    over σ_w², each with a 95 % bootstrap interval, and what mean field's k was fitted to.
    """
    cutoffs = found.profiles.groupby("weight_variance")["cutoff"].first()
    rows = []
    for loss in LOSSES:
        table = found.training[found.training["loss"] == loss].copy()
        table["trains"] = table["accuracy"] > diagram.training.enough
        variance = table["weight_variance"]
        nearest = variance.map(lambda v: cutoffs.index[np.abs(cutoffs.index - v).argmin()])
        table["paper's cutoff"] = np.log((nearest.map(cutoffs) + 0.5) / table["depth"])
        table["retained information"] = table["retained"]
        table["trainability"] = table["score"]
        predictors = ["trainability", "retained information", "paper's cutoff"]
        if diagram.bias_variance is not None:
            xi = variance.map({v: diagram.correlation_length(v) for v in variance.unique()})
            table["mean field"] = np.log(xi / table["depth"])
            predictors.append("mean field")
        fits = table["trains"].nunique() == 2
        for predictor in predictors:
            columns = columns_of(table, predictor)
            rows.append(
                {
                    "data": diagram.images.name,
                    "loss": loss,
                    "predictor": predictor,
                    "networks": len(table),
                    "that train": int(table["trains"].sum()),
                    "above": diagram.training.enough,
                    "AUROC": with_interval(columns, auroc),
                    "Spearman": with_interval(columns, spearman),
                    "k": f"{fitted_k(table):.1f}" if fits and predictor == "mean field" else "",
                }
            )
    return pd.DataFrame(rows)


def report(diagram: Diagram, found: Measured) -> str:
    """What is printed and kept beside the figure: Markdown."""
    floors = floor_depths(found.profiles)
    seconds = found.profiles.groupby("weight_variance")["seconds"].first()
    table = pd.DataFrame(
        {
            "σ_w²": floors.index,
            "floor reached at": ["not" if math.isnan(v) else f"{v:.0f}" for v in floors],
            "cutoff": found.profiles.groupby("weight_variance")["cutoff"].first().to_numpy(),
        }
    )
    if diagram.bias_variance is not None:
        table[f"{K} ξ"] = [f"{K * diagram.correlation_length(v):.0f}" for v in floors.index]
    images = diagram.images
    return (
        f"{images.name}, {len(images.train)} images {tuple(images.train.shape[1:])}, depth "
        f"{diagram.depth}, {diagram.updates or DEFAULT_UPDATES} updates"
        f"{', 2-d convolutions in TF32' if diagram.tf32 else ''}; {platform.machine()}, "
        f"{diagram.device}, torch {torch.__version__}, median {seconds.median():.1f} s a network."
        f"\n\n{markdown(table)}\n"
        + (f"\n{markdown(agreement(diagram, found))}\n" if len(found.training) else "")
    )


def _rounded(values: object) -> list[float]:
    return [float(f"{value:.4g}") for value in np.asarray(values, dtype=float)]
