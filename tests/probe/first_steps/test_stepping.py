from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import recent_prune as rp
from recent_prune.probe.first_steps import stepping
from tests.networks import mlp
from tests.probe.first_steps.trials import DENSE, Factory, batches

DATA = batches()


def result(
    model: nn.Module, optimizer: Callable[[Any], torch.optim.Optimizer], **other: Any
) -> rp.ProbeResult:
    data = other.pop("data", DATA)
    training = rp.Training(other.pop("loss", cross_entropy), lambda p: optimizer(p), **other)
    return rp.probe(model, data, training=training)


def first_by_hand(model: nn.Module, make: Any) -> tuple[Tensor, Tensor, list[Tensor]]:
    """First loss, −⟨gradient, update⟩ and gradients, with copies of everything."""
    model = copy.deepcopy(model)
    optimizer = make(model.parameters())
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    before = [p.detach().clone() for p in trained]
    images, labels = DATA[0]
    loss = cross_entropy(model(images), labels)
    gradients = list(torch.autograd.grad(loss, trained))

    def closure() -> Tensor:
        optimizer.zero_grad()
        again = cross_entropy(model(images), labels)
        again.backward()
        return again

    optimizer.step(closure)
    pairs = zip(trained, before, gradients, strict=True)
    promised = torch.stack([-(g * (p.detach() - b)).sum() for p, b, g in pairs]).sum()
    return loss.detach(), promised, gradients


def in_foreach(kind: Any) -> Factory:
    return lambda p: kind(p, 0.01, foreach=True)


OPTIMIZERS: dict[str, Factory] = {
    **DENSE,
    **{
        f"{kind.__name__} in foreach": in_foreach(kind)
        for kind in (
            torch.optim.Adadelta,
            torch.optim.Adagrad,
            torch.optim.Adamax,
            torch.optim.ASGD,
            torch.optim.NAdam,
            torch.optim.RAdam,
            torch.optim.RMSprop,
            torch.optim.Rprop,
        )
    },
    "Nesterov in foreach": lambda p: torch.optim.SGD(
        p, 0.1, momentum=0.9, nesterov=True, foreach=True
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_first_gradient_is_the_one_before_the_update(name: str) -> None:
    """Some optimizers write into it, and line searches make others."""
    torch.manual_seed(1)
    model = mlp(depth=2)
    loss, promised, gradients = first_by_hand(model, OPTIMIZERS[name])
    found = result(model, OPTIMIZERS[name], steps=1)
    assert found.steps is not None
    assert found.gradients is not None
    assert found.gradients.loss == pytest.approx(float(loss), rel=1e-6)
    assert found.steps.first_order == pytest.approx(float(promised), rel=1e-3, abs=1e-8)
    rms = [float(g.square().mean().sqrt()) for g in gradients if g.dim() == 2]
    assert found.gradients.gradient_rms == pytest.approx(rms, rel=1e-4)


@pytest.mark.parametrize("clip", [1e-3, 0.1, 1e3])
def test_what_the_gradient_promises_is_told_of_the_unclipped(clip: float) -> None:
    found = result(mlp(), lambda p: torch.optim.SGD(p, 0.1), clip_norm=clip).steps
    assert found is not None
    norm = found.gradient_norms[0]
    assert norm > 0.1
    assert found.first_update == pytest.approx(0.1 * min(norm, clip), rel=1e-3)
    assert found.first_order == pytest.approx(norm * found.first_update, rel=1e-3)


def test_accumulated_batches_are_one_large_batch() -> None:
    joined = [
        (torch.cat([a[0], b[0]]), torch.cat([a[1], b[1]]))
        for a, b in zip(DATA[::2], DATA[1::2], strict=True)
    ]
    sgd = lambda p: torch.optim.SGD(p, 0.3, momentum=0.9)  # noqa: E731
    parts = result(mlp(), sgd, steps=2, accumulate=2).steps
    whole = result(mlp(), sgd, steps=2, data=joined).steps
    assert parts is not None
    assert whole is not None
    assert parts.losses == pytest.approx(whole.losses, rel=1e-5)
    assert parts.gradient_norms == pytest.approx(whole.gradient_norms, rel=1e-5)
    assert parts.update == pytest.approx(whole.update, rel=1e-5)


@pytest.mark.parametrize("power", [40, 126])
def test_steps_that_the_scaler_skips_are_made_again(power: int) -> None:
    """In float16 the first ones overflow until the scale has come down; that is no failure."""

    def huge(output: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(output, labels) * 1e3

    def sgd(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, 1e-4)

    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**power)
    scaled = result(mlp(), sgd, loss=huge, scaler=scaler).steps
    plain = result(mlp(), sgd, loss=huge).steps
    assert scaled is not None
    assert plain is not None
    assert scaled.nonfinite_step is None
    assert scaled.losses == pytest.approx(plain.losses, rel=1e-4)
    assert scaled.gradient_norms == pytest.approx(plain.gradient_norms, rel=1e-3)
    assert scaler.get_scale() == 2.0**power


def test_a_gradient_that_stays_infinite_ends_the_patience() -> None:
    calls: list[int] = []

    class Infinite(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            calls.append(1)
            return x.clone()

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            return gradient / 0

    found = result(
        mlp(),
        lambda p: torch.optim.SGD(p, 0.1),
        loss=lambda output, labels: cross_entropy(Infinite.apply(output), labels),
        scaler=torch.amp.GradScaler("cpu"),
        steps=1,
    ).steps
    assert found is not None
    assert found.nonfinite_step == 1
    assert stepping.MOST_SKIPPED < len(calls) < 3 * stepping.MOST_SKIPPED


def test_within_an_autocast_region_every_step_sees_its_own_weights() -> None:
    """PyTorch keeps cast weights until the outermost region ends."""

    def losses(**other: Any) -> tuple[float, ...]:
        found = result(mlp(), lambda p: torch.optim.SGD(p, 1.0), **other).steps
        assert found is not None
        return found.losses

    alone = losses(autocast=torch.bfloat16)
    assert len(set(alone)) == 6
    model = mlp()
    with torch.autocast("cpu", torch.bfloat16):
        model(DATA[0][0])  # the caller's own are kept, too
        assert losses() == pytest.approx(alone, rel=1e-6)
        assert losses(autocast=torch.bfloat16) == pytest.approx(alone, rel=1e-6)
        output = model(DATA[0][0])
    output.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(64, 16, dtype=torch.complex64)
        self.head = nn.Linear(16, 10, dtype=torch.complex64)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.body(x.flatten(1) * (1 + 1j))
        return self.head(torch.complex(hidden.real.relu(), hidden.imag.relu())).abs()  # type: ignore[no-any-return]


def test_complex_weights_count_both_parts() -> None:
    model = Complex()
    found = result(model, lambda p: torch.optim.SGD(p, 0.1), steps=1)
    assert found.steps is not None
    assert found.gradients is not None
    weights = torch.cat([torch.view_as_real(p.detach()).flatten() for p in model.parameters()])
    assert found.steps.weight_norm == pytest.approx(float(weights.norm()), rel=1e-5)
    assert found.steps.first_update == pytest.approx(0.1 * found.steps.gradient_norms[0], rel=1e-4)
    assert found.steps.update == pytest.approx(found.steps.first_update, rel=1e-5)
    body = model.body.weight.detach()
    assert found.gradients.weight_rms[0] == pytest.approx(
        float(body.abs().square().mean().sqrt()), rel=1e-5
    )
    assert found.steps.unreached == 0


def test_no_gradient_and_no_graph_are_left_for_the_probe() -> None:
    model = mlp()
    seen: list[bool] = []
    model.register_forward_pre_hook(
        lambda m, _: seen.append(any(p.grad is not None for p in m.parameters()))
    )
    found = result(model, lambda p: torch.optim.SGD(p, 0.3), steps=3).steps
    assert found is not None
    assert math.isfinite(found.loss_after)
    assert not any(seen[-2:])


def test_large_gradients_of_double_precision_are_finite() -> None:
    model = mlp(depth=1).double()
    data = [(images.double(), labels) for images, labels in DATA]

    def loss(output: Tensor, labels: Tensor) -> Tensor:
        return 1e60 * cross_entropy(output, labels)

    steps = result(model, lambda p: torch.optim.Adam(p, 1e-3), data=data, loss=loss).steps
    assert steps is not None
    assert steps.nonfinite_step is None
    assert all(1e50 < norm < 1e62 for norm in steps.gradient_norms)
    assert all(1e59 < value < 1e62 for value in steps.losses)


def test_large_gradients_of_single_precision_are_finite() -> None:
    def loss(output: Tensor, labels: Tensor) -> Tensor:
        return 1e22 * cross_entropy(output, labels)

    steps = result(mlp(depth=1), lambda p: torch.optim.Adam(p, 1e-3), loss=loss).steps
    assert steps is not None
    assert all(1e19 < norm < 1e24 for norm in steps.gradient_norms)


class SetByData(nn.Module):
    """Sets its scale as it first runs."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(depth=2)
        self.scale = nn.Parameter(torch.ones(1))
        self.ready = False

    def forward(self, images: Tensor) -> Tensor:
        if not self.ready and self.training:
            self.scale.data.fill_(1e6)
            self.ready = True
        output: Tensor = self.net(images)
        return output * self.scale / 1e6


@pytest.mark.parametrize("name", ["SGD", "LBFGS"])
def test_what_a_model_sets_as_it_first_runs_is_no_update(name: str) -> None:
    steps = result(SetByData(), lambda p: DENSE[name](p)).steps
    assert steps is not None
    assert steps.update < 1e3
    assert steps.weight_norm == pytest.approx(1e6, rel=1e-3)
