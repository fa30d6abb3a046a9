"""Where information gets lost in tanh networks, over σ_w² and depth.

    python -m studies.dnn_phase_diagram.study --quick
    python -m studies.dnn_phase_diagram.study --scale small --data-root ../shared/data
    python -m studies.dnn_phase_diagram.study --data fashion_mnist

Protocol and results are in README.md. Source: arXiv 2406.12916, section 3.
"""

from __future__ import annotations

from pathlib import Path

import typer
from torch import nn

from recent_prune import networks
from recent_prune.data import Images
from studies.common.images import Data
from studies.common.study import COARSE_GRID, GRID, PAPERS_TRAINING, Scale, Study
from studies.common.training import Training

BIAS_VARIANCE = 0.05
"""σ_b², the paper's."""

READ_OFF = (0.3, 0.6, 0.85, 1.1, 1.25, 1.4, 1.5, 1.55)
"""σ_w² at which the paper's figure was read off."""


def build(images: Images, scale: Scale, weight_variance: float, depth: int, seed: int) -> nn.Module:
    """As wide as the input, unless the scale says otherwise."""
    features = images.train[0].numel()
    return networks.mlp(
        features,
        10,
        depth=depth,
        width=scale.size or features,
        weight_variance=weight_variance,
        bias_variance=BIAS_VARIANCE,
        seed=seed,
    )


SCALES = {
    "quick": Scale(
        data=Data.DIGITS,
        pool=1,
        size=0,
        depth=40,
        weight_variances=(0.3, 0.6, 0.85, 1.1, 1.4, 1.76, 2.5, 4.0),
        updates=200,
        trained_variances=(0.6, 1.1, 1.76, 4.0),
        trained_depths=(5, 20, 40),
        training=Training(epochs=15, samples=1438, learning_rate=0.03),
    ),
    "small": Scale(
        data=Data.MNIST,
        pool=2,
        size=0,
        depth=200,
        weight_variances=(0.1, *READ_OFF, 1.65, 1.76, 2.0, 2.25, 2.5, 3.0, 4.0, 5.0, 6.0),
        updates=200,
        trained_variances=(0.3, 0.6, 0.85, 1.1, 1.4, 1.76, 2.25, 3.0, 5.0),
        trained_depths=(5, 10, 20, 40, 70, 100),
        training=Training(epochs=8, samples=6000, learning_rate=0.01),
    ),
    "compact": Scale(  # for every data set
        data=Data.MNIST,
        pool=2,
        size=0,
        depth=100,
        weight_variances=(0.3, 0.6, 0.85, 1.1, 1.4, 1.76, 2.25, 3.0, 5.0),
        updates=200,
        trained_variances=(0.3, 0.85, 1.4, 1.76, 2.25, 3.0, 5.0),
        trained_depths=(5, 10, 20, 40, 70),
        training=Training(epochs=6, samples=3000, learning_rate=0.01),
    ),
    "one_pass": Scale(  # as `small`, with the paper's updates, to compare the boundary
        data=Data.MNIST,
        pool=2,
        size=0,
        depth=175,
        weight_variances=(*READ_OFF, 1.65),
        updates=None,
        trained_variances=(),
        trained_depths=(),
        training=PAPERS_TRAINING,
    ),
    "wide": Scale(  # whether the width matters to the boundary; five minutes a network on a core
        data=Data.MNIST,
        pool=1,
        size=0,
        depth=140,
        weight_variances=(0.1, 1.1, 1.25),
        updates=200,
        trained_variances=(),
        trained_depths=(),
        training=PAPERS_TRAINING,
    ),
    "wide_one_pass": Scale(  # the paper's own setting where the boundary is deepest
        data=Data.MNIST,
        pool=1,
        size=0,
        depth=185,
        weight_variances=(1.4, 1.5, 1.55),
        updates=None,
        trained_variances=(),
        trained_depths=(),
        training=PAPERS_TRAINING,
    ),
    "full": Scale(
        data=Data.MNIST,
        pool=1,
        size=0,
        depth=200,
        weight_variances=tuple(sorted({*GRID, *READ_OFF, 1.65, 1.75})),
        updates=None,
        trained_variances=COARSE_GRID,
        trained_depths=tuple(range(5, 151, 5)),
        training=PAPERS_TRAINING,
    ),
}

STUDY = Study(Path(__file__).parent, build, BIAS_VARIANCE, 0.005, SCALES)

if __name__ == "__main__":
    typer.run(STUDY.run)
