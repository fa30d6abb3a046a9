"""The command of the studies of phase diagrams."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import nn

from recent_prune.data import Images
from studies.common.figures import phase_diagram, write
from studies.common.images import Data, load, pooled
from studies.common.phase_diagram import Diagram, agreement, measured, report
from studies.common.rescoring import rescored
from studies.common.training import Training


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        data: The data set, unless another is asked for.
        pool: Images are averaged over squares of this size.
        size: Of the networks: units or channels a layer; 0: as many as the input has features.
        depth: Of those that are probed.
        weight_variances: σ_w² of those that are probed.
        updates: Of the cascade; None: its default.
        trained_variances: σ_w² of those that are trained.
        trained_depths: Their depths.
        training: How.
    """

    data: Data
    pool: int
    size: int
    depth: int
    weight_variances: tuple[float, ...]
    updates: int | None
    trained_variances: tuple[float, ...]
    trained_depths: tuple[int, ...]
    training: Training


GRID = tuple(np.round(np.arange(0.1, 6.01, 0.1), 2).tolist())
"""σ_w² of the networks that are probed at full scale."""

COARSE_GRID = tuple(np.round(np.arange(0.25, 4.01, 0.25), 2).tolist())
"""σ_w² of those that are trained there."""

PAPERS_TRAINING = Training(epochs=200, samples=60_000, learning_rate=1e-3)

Build = Callable[[Images, Scale, float, int, int], nn.Module]
"""From images, a scale, σ_w², a depth and a seed to a network."""


@dataclass(frozen=True)
class Study:
    """A study of one family of networks.

    Attributes:
        folder: Where its results go.
        build: Its networks.
        bias_variance: σ_b², for mean field; None: networks of which it knows nothing.
        cutoff_rtol: Of the paper's cutoff.
        scales: ``quick`` (minutes on two cores), ``small`` (up to an hour there), ``full`` (the
            paper's, for a GPU), and perhaps others.
    """

    folder: Path
    build: Build
    bias_variance: float | None
    cutoff_rtol: float
    scales: Mapping[str, Scale]

    def run(
        self,
        scale: Annotated[str, typer.Option(help="How much: see SCALES in study.py.")] = "full",
        quick: Annotated[bool, typer.Option("--quick", help="As --scale quick.")] = False,
        train: Annotated[bool, typer.Option(help="Whether to train, too.")] = True,
        data: Annotated[Data | None, typer.Option(help="Default: that of the scale.")] = None,
        enough: Annotated[
            float | None, typer.Option(help="Accuracy that counts as trained. Default: 0.4.")
        ] = None,
        data_root: Annotated[Path | None, typer.Option(help="Folder of the data sets.")] = None,
        device: Annotated[str, typer.Option(help="Default: a GPU, where there is one.")] = "",
        seed: Annotated[int, typer.Option(help="Of the networks.")] = 0,
        tf32: Annotated[
            bool,
            typer.Option("--tf32", help="Round in 2-d convolutions (nothing else) as GPUs do."),
        ] = False,
        out: Annotated[Path | None, typer.Option(help="Folder of the results.")] = None,
        rescore: Annotated[
            bool,
            typer.Option("--rescore", help="Only score the trained networks by today's rule."),
        ] = False,
    ) -> None:
        """Measure, draw and compare; what was measured before is not measured again."""
        name = "quick" if quick else scale
        if name not in self.scales:
            raise typer.BadParameter(f"'{name}' is not one of {', '.join(self.scales)}.")
        chosen = self.scales[name]
        if enough is not None:
            chosen = replace(chosen, training=replace(chosen.training, enough=enough))
        images = pooled(load(data or chosen.data, data_root), chosen.pool)
        where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))

        def build(weight_variance: float, depth: int) -> nn.Module:
            return self.build(images, chosen, weight_variance, depth, seed)

        diagram = Diagram(
            name=f"{name}_{(data or chosen.data).value}"
            + ("_tf32" if tf32 else "")
            + (f"_seed{seed}" if seed else ""),
            build=build,
            images=images,
            bias_variance=self.bias_variance,
            depth=chosen.depth,
            weight_variances=chosen.weight_variances,
            updates=chosen.updates,
            cutoff_rtol=self.cutoff_rtol,
            trained=(chosen.trained_variances, chosen.trained_depths) if train else ((), ()),
            training=chosen.training,
            device=where,
            tf32=tf32,
        )
        folder = out or self.folder / "results"
        if rescore:
            found = rescored(diagram, folder)
        else:
            # Points of other settings under the same name are others.
            settings = hashlib.sha256(repr((chosen, seed)).encode()).hexdigest()[:8]
            found = measured(diagram, folder / "points" / settings)
        text = report(diagram, found)
        (folder / f"{diagram.name}.md").write_text(text, encoding="utf-8")
        found.profiles.to_csv(folder / f"{diagram.name}_profiles.csv", index=False)
        if len(found.training):
            found.training.to_csv(folder / f"{diagram.name}_training.csv", index=False)
            agreement(diagram, found).to_csv(folder / f"{diagram.name}_agreement.csv", index=False)
        if not rescore:  # which the figure does not show
            write(phase_diagram(diagram, found), folder / diagram.name)
        print(text)
