"""Where information gets lost in tanh networks of residual blocks, over σ_w² and depth.

    python -m studies.resnet_phase_diagram.study --quick
    python -m studies.resnet_phase_diagram.study --scale small --data-root ../shared/data
    python -m studies.resnet_phase_diagram.study

Depth is counted in blocks of two convolutions, after a stem of three convolutions. Protocol and
results are in README.md. Source: arXiv 2406.12916, section 3.
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

BIAS_VARIANCE = 2e-5
"""σ_b², the paper's."""


def build(images: Images, scale: Scale, weight_variance: float, depth: int, seed: int) -> nn.Module:
    """As the paper's, with the scale's number of channels."""
    channels, height, width = images.train.shape[1:]
    return networks.resnet(
        (channels, height, width),
        10,
        blocks=depth,
        channels=scale.size,
        weight_variance=weight_variance,
        bias_variance=BIAS_VARIANCE,
        seed=seed,
    )


SCALES = {
    "quick": Scale(
        data=Data.DIGITS,
        pool=1,
        size=8,
        depth=15,
        weight_variances=(0.1, 0.5, 1.0, 2.0, 4.0),
        updates=100,
        trained_variances=(0.1, 1.0, 4.0),
        trained_depths=(3, 15),
        training=Training(epochs=5, samples=1438, learning_rate=0.1),
    ),
    "small": Scale(
        data=Data.MNIST,
        pool=2,
        size=16,
        depth=50,
        weight_variances=(0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0),
        updates=200,
        trained_variances=(0.1, 0.5, 1.0, 2.0, 4.0),
        trained_depths=(5, 20, 50),
        training=Training(epochs=6, samples=6000, learning_rate=0.03),
    ),
    "compact": Scale(  # for every data set
        data=Data.MNIST,
        pool=2,
        size=8,
        depth=25,
        weight_variances=(0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 6.0),
        updates=100,
        trained_variances=(0.1, 0.5, 1.0, 2.0, 4.0, 6.0),
        trained_depths=(3, 10, 25),
        training=Training(epochs=6, samples=3000, learning_rate=0.03),
    ),
    "full": Scale(
        data=Data.MNIST,
        pool=1,
        size=32,
        depth=50,
        weight_variances=GRID,
        updates=None,
        trained_variances=COARSE_GRID,
        trained_depths=tuple(range(5, 51, 5)),
        training=PAPERS_TRAINING,
    ),
}

STUDY = Study(Path(__file__).parent, build, None, 0.01, SCALES)

if __name__ == "__main__":
    typer.run(STUDY.run)
