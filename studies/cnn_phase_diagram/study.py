"""Where information gets lost in tanh networks of 3×3 convolutions, over σ_w² and depth.

    python -m studies.cnn_phase_diagram.study --quick
    python -m studies.cnn_phase_diagram.study --scale small --data-root ../shared/data
    python -m studies.cnn_phase_diagram.study

Protocol and results are in README.md. Source: arXiv 2406.12916, section 3.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import typer
from torch import nn

from recent_prune import networks
from recent_prune.data import Images
from studies.common.images import Data
from studies.common.study import COARSE_GRID, GRID, PAPERS_TRAINING, Scale, Study
from studies.common.training import Training

BIAS_VARIANCE = 2e-5
"""σ_b², the paper's."""

READ_OFF = (0.25, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.97)
"""σ_w² at which the paper's figure was read off."""


def build(images: Images, scale: Scale, weight_variance: float, depth: int, seed: int) -> nn.Module:
    """As the paper's, with the scale's number of channels."""
    channels, height, width = images.train.shape[1:]
    return networks.cnn(
        (channels, height, width),
        10,
        depth=depth,
        channels=scale.size,
        weight_variance=weight_variance,
        bias_variance=BIAS_VARIANCE,
        seed=seed,
    )


ONE_PASS = Scale(
    data=Data.MNIST,
    pool=2,
    size=16,
    depth=130,
    weight_variances=tuple(v for v in READ_OFF if v <= 0.9),  # the others need more depth
    updates=None,
    trained_variances=(),
    trained_depths=(),
    training=PAPERS_TRAINING,
)
"""As `small`, with the paper's updates; 1.5 minutes a network, 10 to 15 if wide or deep."""

SCALES = {
    "quick": Scale(
        data=Data.DIGITS,
        pool=1,
        size=8,
        depth=30,
        weight_variances=(0.25, 0.6, 0.85, 1.05, 1.5, 3.0),
        updates=100,
        trained_variances=(0.6, 1.05, 3.0),
        trained_depths=(5, 30),
        training=Training(epochs=5, samples=1438, learning_rate=0.1),
    ),
    "small": Scale(
        data=Data.MNIST,
        pool=2,
        size=16,
        depth=100,
        weight_variances=(*READ_OFF, 1.0, 1.05, 1.2, 1.5, 2.0, 3.0, 4.0),
        updates=200,
        trained_variances=(0.5, 0.75, 0.9, 1.05, 1.5, 3.0),
        trained_depths=(5, 20, 50, 100),
        training=Training(epochs=6, samples=6000, learning_rate=0.03),
    ),
    "compact": Scale(  # for every data set
        data=Data.MNIST,
        pool=2,
        size=8,
        depth=50,
        weight_variances=(0.25, 0.5, 0.75, 0.9, 1.05, 1.5, 2.0, 3.0),
        updates=100,
        trained_variances=(0.5, 0.75, 0.9, 1.05, 1.5, 3.0),
        trained_depths=(5, 15, 30, 50),
        training=Training(epochs=6, samples=3000, learning_rate=0.03),
    ),
    "one_pass": ONE_PASS,
    "wide_one_pass": replace(ONE_PASS, size=64, weight_variances=(0.5, 0.85, 0.9)),
    "deep_one_pass": replace(ONE_PASS, depth=430, weight_variances=(0.95, 0.97)),
    "wide_deep_one_pass": replace(ONE_PASS, size=64, depth=250, weight_variances=(0.95,)),
    "wide_deepest_one_pass": replace(ONE_PASS, size=64, depth=430, weight_variances=(0.97,)),
    "full": Scale(
        data=Data.MNIST,
        pool=1,
        size=128,
        depth=400,
        weight_variances=tuple(sorted({*GRID, *READ_OFF})),
        updates=None,
        trained_variances=COARSE_GRID,
        trained_depths=tuple(range(10, 401, 10)),
        training=PAPERS_TRAINING,
    ),
}

STUDY = Study(Path(__file__).parent, build, BIAS_VARIANCE, 0.01, SCALES)

if __name__ == "__main__":
    typer.run(STUDY.run)
