"""Predictors that cost next to nothing: what a probe has to beat.

Each gives a score, the higher the more trainable; where theory knows a threshold it is at 0.
Sources: mean field, Schoenholz et al. 2017 (arXiv 1611.01232); partial Jacobians, Doshi et al. 2021
(2111.12143); conditioning of the neural tangent kernel, Chen et al. 2021 (2102.11535).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import Tensor, nn

from benchmarks.prediction.networks import Specification
from recent_prune.mean_field import correlation_length

WORST = -100.0
"""Score of a network with numbers that are not finite."""

TRAINABLE_DEPTH = 6
"""Correlation lengths that a trainable network may be deep (Schoenholz et al. 2017)."""


def mean_field(specification: Specification, input_second_moment: float) -> float:
    """Logarithm of the trainable depth, 6 ξ, over the depth; norm and skips are not seen."""
    xi = correlation_length(
        specification.weight_variance,
        specification.bias_variance,
        specification.activation,
        second_moment=input_second_moment,
    )
    return math.log(TRAINABLE_DEPTH * xi / specification.depth)


def from_one_pass(model: nn.Sequential, inputs: Tensor, labels: Tensor) -> dict[str, float]:
    """Scores from activations, gradients and Jacobians of a batch."""
    hidden = []
    x = inputs
    for module in list(model)[:-1]:
        x = module(x)
        if not isinstance(module, nn.Flatten):
            hidden.append(x)
    loss = nn.functional.cross_entropy(model[-1](x.flatten(1)), labels)
    weights = [p for p in model.parameters() if p.dim() >= 2]
    gradients = [
        float(g.double().square().mean().sqrt())
        for g in torch.autograd.grad(loss, weights, retain_graph=True)
    ]
    # ‖∂h_L / ∂h_1‖² per unit, by Hutchinson's estimate; 1 where signals neither grow nor fade.
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    (back,) = torch.autograd.grad(x, hidden[0], direction)
    jacobian = float(back.double().square().sum()) / direction.numel()
    rows = torch.nn.functional.normalize(x.detach().flatten(1).double(), dim=1)
    n = len(rows)
    cosine = float(((rows @ rows.T).sum() - n) / (n * (n - 1)))
    scores = {
        "partial Jacobian norm": -abs(_log(jacobian)),
        "gradient ratio, first to last layer": -abs(_log(gradients[0]) - _log(gradients[-2])),
        "median gradient size": _log(float(np.median(gradients))),
        "cosine similarity of activations": 1 - cosine,
    }
    # What is not finite will not train.
    return {name: WORST if math.isnan(score) else score for name, score in scores.items()}


def tangent_kernel(model: nn.Sequential, inputs: Tensor) -> float:
    """Minus the logarithm of the condition number of the summed logits' tangent kernel."""
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    buffers = dict(model.named_buffers())

    def output(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        result: Tensor = torch.func.functional_call(model, (parameters, buffers), (x[None],)).sum()
        return result

    model.eval()
    jacobians = torch.vmap(torch.func.grad(output), in_dims=(None, 0))(parameters, inputs)
    rows = torch.cat([j.flatten(1) for j in jacobians.values()], dim=1).double()
    values = torch.linalg.eigvalsh(rows @ rows.T) if bool(torch.isfinite(rows).all()) else None
    if values is None or float(values[-1]) <= 0:
        return WORST
    return -_log(float(values[-1] / values[0].clamp_min(1e-30 * values[-1])))


def hyperparameters(table: pd.DataFrame, trains: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Out-of-fold log-odds of a logistic regression on the hyperparameters, 10 folds."""
    numbers = pd.DataFrame(
        {
            "depth": np.log(table["depth"]),
            "width": np.log(table["width"]),
            "gain": np.log(table["weight_variance"]),
            "gain squared": np.log(table["weight_variance"]) ** 2,
            "bias": table["bias_variance"],
            "skip": table["skip"].astype(float),
        }
    )
    features = pd.concat([numbers, table[["activation", "norm", "kind"]]], axis=1)
    model = make_pipeline(
        make_column_transformer(
            (StandardScaler(), list(numbers)),
            (OneHotEncoder(handle_unknown="ignore"), ["activation", "norm", "kind"]),
        ),
        LogisticRegression(max_iter=1000),
    )
    folds = StratifiedKFold(10, shuffle=True, random_state=0)
    probability = cross_val_predict(model, features, trains, cv=folds, method="predict_proba")[:, 1]
    return np.asarray(np.log(probability / (1 - probability)))


def _log(value: float) -> float:
    """Logarithm, NaN of NaN, within bounds."""
    return value if math.isnan(value) else math.log(min(max(value, 1e-30), 1e30))
