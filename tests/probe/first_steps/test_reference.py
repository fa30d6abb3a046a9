"""Against brute force: the best constant prediction by an optimizer that knows none of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    nll_loss,
    one_hot,
)

import recent_prune as rp
from recent_prune.probe.first_steps.reference import constant_loss
from tests.networks import mlp
from tests.probe.first_steps.trials import batches

Pairs = Sequence[tuple[Tensor, Any]]


def by_brute_force(loss: Any, pairs: Pairs, axes: tuple[int, ...], start: float = 0.0) -> float:
    """The least mean loss over predictions that differ along these axes alone."""
    output = pairs[0][0]
    shape = [output.shape[axis] if axis in axes else 1 for axis in range(output.dim())]

    def mean(values: Any) -> float:
        constant = torch.tensor(np.asarray(values), dtype=torch.float64).reshape(shape)
        return float(np.mean([float(loss(constant.expand(o.shape), t)) for o, t in pairs]))

    tried = [
        scipy.optimize.minimize(
            mean, np.full(math.prod(shape), start), method=method, options={"maxiter": 4000}
        ).fun
        for method in ("BFGS", "Nelder-Mead")
    ]
    return float(min(tried))


CLASSES = 4


def classes(*positions: int, count: int = 3, size: int = 20) -> list[tuple[Tensor, Tensor]]:
    """Outputs [n, 4, …] and targets [n, …], of which the first class is the commonest."""
    generator = torch.Generator().manual_seed(1)
    share = torch.tensor([0.5, 0.3, 0.15, 0.05])
    found = []
    for _ in range(count):
        drawn = torch.multinomial(
            share, size * math.prod(positions), replacement=True, generator=generator
        )
        output = torch.randn(size, CLASSES, *positions, generator=generator)
        found.append((output, drawn.reshape(size, *positions)))
    return found


def ignoring(pairs: Pairs) -> list[tuple[Tensor, Tensor]]:
    found = []
    for output, target in pairs:
        target = target.clone()
        target[::4] = -100
        found.append((output, target))
    return found


def weighted(output: Tensor, target: Tensor) -> Tensor:
    weight = torch.tensor([1.0, 2.0, 0.5, 8.0], dtype=output.dtype)
    return cross_entropy(output, target, weight=weight)


@pytest.mark.parametrize(
    ("loss", "pairs"),
    [
        (cross_entropy, classes()),
        (nn.CrossEntropyLoss(), classes()),
        (nn.CrossEntropyLoss(label_smoothing=0.2), classes()),
        (weighted, classes()),
        (cross_entropy, ignoring(classes())),
        (lambda o, t: nll_loss(o.log_softmax(1), t), classes()),
        (lambda o, t: cross_entropy(o, t, reduction="sum"), classes()),
        (lambda o, t: cross_entropy(o, t, reduction="sum", label_smoothing=0.1), classes()),
        (lambda o, t: 0.1 * cross_entropy(o, t), classes()),
        (cross_entropy, classes(5)),
        (cross_entropy, classes(3, 2)),
    ],
    ids=[
        "plain",
        "object",
        "label smoothing",
        "class weights",
        "ignored",
        "log-softmax",
        "sum",
        "smoothed sum",
        "scaled",
        "positions",
        "segmentation",
    ],
)
def test_classes(loss: Any, pairs: Pairs) -> None:
    expected = by_brute_force(loss, pairs, axes=(1,))
    assert constant_loss(loss, pairs) == pytest.approx(expected, rel=2e-3)


def test_classes_with_log_probabilities() -> None:
    """Of ``nll_loss`` alone numbers without bound are no prediction: they must be normalised."""
    pairs = classes()
    expected = by_brute_force(cross_entropy, pairs, axes=(1,))
    normalised = [(o.log_softmax(1), t) for o, t in pairs]
    assert constant_loss(nll_loss, normalised) == pytest.approx(expected, rel=2e-3)


def test_classes_along_the_last_axis() -> None:
    """As language models have them, [n, positions, classes]."""
    pairs = [(o.transpose(1, 2).contiguous(), t) for o, t in classes(5)]

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(output.flatten(0, 1), target.flatten())

    expected = by_brute_force(loss, pairs, axes=(2,))
    assert constant_loss(loss, pairs) == pytest.approx(expected, rel=2e-3)


def test_a_focal_loss() -> None:
    """A loss of somebody's own, of which shares are not the best."""

    def focal(output: Tensor, target: Tensor) -> Tensor:
        chosen = output.log_softmax(1).gather(1, target[:, None])[:, 0]
        return -((1 - chosen.exp()) ** 2 * chosen).mean()

    pairs = classes()
    expected = by_brute_force(focal, pairs, axes=(1,))
    assert constant_loss(focal, pairs) == pytest.approx(expected, rel=2e-3)


def numbers(*features: int, low: float = -2.0, high: float = 5.0) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(2)
    found = []
    for _ in range(3):
        target = low + (high - low) * torch.rand(21, *features, generator=generator) ** 3
        found.append((torch.randn(21, *features, generator=generator), target))
    return found


@pytest.mark.parametrize("features", [(1,), (3,), (2, 2)])
@pytest.mark.parametrize(
    ("loss", "tolerance"),
    [
        (mse_loss, 1e-4),
        (l1_loss, 5e-3),
        (lambda o, t: mse_loss(o, t, reduction="sum"), 1e-4),
        (lambda o, t: l1_loss(o, t, reduction="sum"), 5e-3),
    ],
    ids=["mse", "l1", "sum of squares", "sum of differences"],
)
def test_numbers(loss: Any, tolerance: float, features: tuple[int, ...]) -> None:
    pairs = numbers(*features)
    axes = tuple(range(1, 1 + len(features)))
    expected = by_brute_force(loss, pairs, axes)
    assert constant_loss(loss, pairs) == pytest.approx(expected, rel=tolerance)


def test_a_huber_loss_is_close() -> None:
    """Its best lies between mean and median; neither costs much more."""
    pairs = numbers(3)
    expected = by_brute_force(huber_loss, pairs, axes=(1,))
    found = constant_loss(huber_loss, pairs)
    assert expected * (1 - 1e-6) <= found <= 1.05 * expected


def test_numbers_without_an_axis_of_their_own() -> None:
    pairs = [(o[:, 0], t[:, 0]) for o, t in numbers(1)]
    expected = by_brute_force(mse_loss, pairs, axes=())
    assert constant_loss(mse_loss, pairs) == pytest.approx(expected, rel=1e-4)


def binary(*features: int) -> list[tuple[Tensor, Tensor]]:
    return [(o, (t > 0.0).float()) for o, t in numbers(*features)]


@pytest.mark.parametrize("features", [(1,), (4,)])
def test_logits_of_several_labels(features: tuple[int, ...]) -> None:
    pairs = binary(*features)
    expected = by_brute_force(
        lambda o, t: binary_cross_entropy_with_logits(o, t.double()), pairs, axes=(1,)
    )
    found = constant_loss(binary_cross_entropy_with_logits, pairs)
    assert found == pytest.approx(expected, rel=1e-3)


def test_probabilities_of_several_labels() -> None:
    pairs = [(o.sigmoid(), t) for o, t in binary(4)]
    expected = by_brute_force(
        lambda o, t: binary_cross_entropy(o.clamp(1e-6, 1 - 1e-6), t.double()), pairs, (1,), 0.5
    )
    assert constant_loss(binary_cross_entropy, pairs) == pytest.approx(expected, rel=1e-3)


def test_classes_with_probabilities() -> None:
    """One-hot or mixed targets, [n, classes]."""
    pairs = [(o, one_hot(t, CLASSES).float()) for o, t in classes()]
    mixed = [(o, 0.7 * t + 0.3 * t.roll(1, 0)) for o, t in pairs]
    for several in (pairs, mixed):
        expected = by_brute_force(lambda o, t: cross_entropy(o, t.double()), several, axes=(1,))
        assert constant_loss(cross_entropy, several) == pytest.approx(expected, rel=1e-3)


def test_a_divergence_from_log_probabilities() -> None:
    pairs = [(o.log_softmax(1), t.softmax(1)) for o, t in numbers(4)]

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return kl_div(output, target, reduction="batchmean")

    expected = by_brute_force(lambda o, t: loss(o.log_softmax(1), t.double()), pairs, axes=(1,))
    assert constant_loss(loss, pairs) == pytest.approx(expected, rel=1e-3)


@given(st.lists(st.integers(0, CLASSES - 1), min_size=2, max_size=40))
def test_no_constant_is_better(labels: list[int]) -> None:
    """Up to what classes cost that were not met."""
    target = torch.tensor(labels)
    pairs = [(torch.zeros(len(labels), CLASSES), target)]
    shares = np.bincount(labels, minlength=CLASSES) / len(labels)
    entropy = -sum(p * math.log(p) for p in shares if p > 0)
    found = constant_loss(cross_entropy, pairs)
    assert entropy - 1e-5 <= found <= entropy + 1e-3


def unequal(output: Tensor, target: Any) -> Tensor:
    """Works with the model's own outputs alone."""
    raise RuntimeError("these are none of mine")


@pytest.mark.parametrize(
    ("loss", "pairs"),
    [
        (unequal, classes()),
        (lambda o, t: torch.tensor(math.nan), classes()),
        (lambda o, t: mse_loss(o, t["a"]), [(torch.zeros(20, 3), {"a": torch.zeros(20, 3)})]),
        (lambda o, t: o.square().mean(), [(torch.zeros(20, 3), None)]),
        (mse_loss, [(torch.zeros(20, 3), torch.zeros(20, 5))]),
        (
            mse_loss,
            [(torch.zeros(20, 3), torch.rand(20, 3)), (torch.zeros(9, 2), torch.rand(9, 2))],
        ),
        (cross_entropy, [(torch.zeros(20, 3), torch.full((20,), -100))]),
    ],
    ids=["raises", "NaN", "mapping", "no target", "other size", "ragged", "all ignored"],
)
def test_what_cannot_be_known_is_nan(loss: Any, pairs: Pairs) -> None:
    assert math.isnan(constant_loss(loss, pairs))


def test_nothing_is_asked_for_a_gradient_or_left_behind() -> None:
    own = torch.tensor([0.0, 1.0, -1.0, 2.0], requires_grad=True)

    def learned(output: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(output + own, target, label_smoothing=0.2)

    with torch.no_grad():
        found = constant_loss(learned, classes())
        assert not torch.is_grad_enabled()
    smoothed = nn.CrossEntropyLoss(label_smoothing=0.2)
    assert found == pytest.approx(by_brute_force(smoothed, classes(), axes=(1,)), rel=2e-3)
    assert own.grad is None


def test_a_loss_that_falls_without_end_has_no_best_constant() -> None:
    pairs = numbers(3)
    assert math.isnan(constant_loss(lambda o, t: -(o * t).mean(), pairs))
    assert constant_loss(lambda o, t: mse_loss(o, t) - 5, pairs) < 0


def test_a_probe_says_both() -> None:
    data = batches()
    training = rp.Training(cross_entropy, lambda p: torch.optim.SGD(p, 0.1))
    found = rp.probe(mlp(), data, training=training).steps
    assert found is not None
    judged = torch.cat([labels for _, labels in data[6:]])
    shares_of = torch.bincount(judged).double() / len(judged)
    assert found.constant_loss == pytest.approx(float(-(shares_of * shares_of.log()).sum()), 1e-3)
    assert found.chance == pytest.approx(float(shares_of.max()))
    assert 0 <= found.accuracy_before <= 1
