"""The same networks, shrinking from layer to layer, as the paper's second family.

    python -m studies.dnn_phase_diagram.shrinking --quick
    python -m studies.dnn_phase_diagram.shrinking --scale compact --data-root FOLDER

Widths fall linearly from that of the input to that of the output. Protocol and results are in
README.md.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import typer
from torch import nn

from recent_prune import networks
from recent_prune.data import Images
from studies.common.study import Scale, Study
from studies.dnn_phase_diagram.study import BIAS_VARIANCE, SCALES

OUTPUTS = 10


def build(images: Images, scale: Scale, weight_variance: float, depth: int, seed: int) -> nn.Module:
    """From as many units as the input has features to as many as there are classes."""
    features = images.train[0].numel()
    widths = np.linspace(scale.size or features, OUTPUTS, depth + 1)[:-1].round().astype(int)
    return networks.mlp(
        features,
        OUTPUTS,
        depth=depth,
        width=widths.tolist(),
        weight_variance=weight_variance,
        bias_variance=BIAS_VARIANCE,
        seed=seed,
    )


SHRINKING = {name: SCALES[name] for name in ("quick", "compact", "small", "full")}
STUDY = Study(Path(__file__).parent / "shrinking", build, BIAS_VARIANCE, 0.005, SHRINKING)

if __name__ == "__main__":
    typer.run(STUDY.run)
