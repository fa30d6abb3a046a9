"""That probes run on GPUs, seen on devices that are not there (see `tests.elsewhere`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from multiprocessing import get_context
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

import recent_prune as rp
from recent_prune.data import load_digits
from recent_prune.probe import Cascade, ProbeResult
from recent_prune.probe.watching.observation import observe
from tests import elsewhere
from tests.networks import cnn as small_cnn

DIGITS = load_digits()
IMAGES = DIGITS.train[:160]
LARGE = nn.functional.interpolate(IMAGES, size=32).expand(-1, 3, -1, -1)
LABELS = DIGITS.train_labels[:160]
TRAINING = rp.Training(nn.CrossEntropyLoss(), lambda p: torch.optim.SGD(p, 0.1), before=True)


class Tokens(nn.Module):
    """A transformer for sequences of tokens."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.first = nn.Embedding(20, 16)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.first(x)).mean(1))  # type: ignore[no-any-return]


def mlp() -> nn.Module:
    return rp.networks.mlp(64, 10, depth=6, width=64, weight_variance=1.5, seed=0)


def cnn() -> nn.Module:
    return rp.networks.cnn((1, 8, 8), 10, depth=4, channels=8, seed=0)


def broken() -> nn.Module:
    model = mlp()
    next(model.parameters()).data.fill_(torch.nan)
    return model


def vision() -> nn.Module:
    model: nn.Module = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=10)
    return model


def resnet() -> nn.Module:
    model: nn.Module = torchvision.models.resnet18(num_classes=10)
    return model


def batch_norm() -> nn.Module:
    return small_cnn(batch_norm=True)


Case = tuple[Callable[[], nn.Module], Any, dict[str, Any]]
FORWARD: dict[str, Case] = {
    "MLP": (mlp, IMAGES, {}),
    "bfloat16": (lambda: mlp().bfloat16(), IMAGES.bfloat16(), {}),
    "reconstructions": (mlp, IMAGES, {"reconstruct": IMAGES[:3]}),
    "named layers": (mlp, IMAGES, {"layers": ["tanh2", "input of head"]}),
    "not finite": (broken, IMAGES, {}),
    "CNN": (cnn, IMAGES, {}),
    "ResNet-18": (resnet, LARGE, {}),
    "vision transformer": (vision, LARGE, {}),
    "tokens": (Tokens, torch.arange(2400).reshape(200, 12) ** 2 % 19, {}),
}
DIFFERENTIATED: dict[str, Case] = {
    "first steps": (mlp, (IMAGES, LABELS), {"training": TRAINING}),
    "first steps through batch norm": (batch_norm, (IMAGES, LABELS), {"training": TRAINING}),
    "cascade": (mlp, IMAGES, {"estimator": Cascade(updates=20)}),
    "cascade that settles": (mlp, IMAGES, {"estimator": Cascade(updates=220, tolerance=0.5)}),
    "cascade of a CNN": (cnn, IMAGES, {"estimator": Cascade(updates=5)}),
    "cascade of a ResNet": (resnet, LARGE, {"estimator": Cascade(updates=2)}),
}
CASES = {**FORWARD, **DIFFERENTIATED}
REAL = torch.cuda.is_available()


def lying_on(device: str) -> AbstractContextManager[object]:
    """A real GPU needs nothing that stands for it."""
    return nullcontext() if REAL and device == elsewhere.CUDA else elsewhere.elsewhere()


@pytest.fixture(scope="module")
def process() -> Iterator[ProcessPoolExecutor]:
    """One that knows of a device that is not there, and ends with these tests."""
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=elsewhere.register) as pool:
        yield pool


def built(case: str) -> nn.Module:
    torch.manual_seed(0)
    return CASES[case][0]()


def numbers(result: ProbeResult) -> list[float]:
    gradients = result.gradients.gradient_rms if result.gradients else ()
    shown = result.reconstructions.by_layer.flatten().tolist() if result.reconstructions else []
    steps = (result.steps.loss_before, result.steps.loss_after) if result.steps else ()
    profile = [*result.retained, *result.relative_entropy, *result.jacobian_norm]
    return [*profile, *gradients, *shown, *steps]


def probed(case: str, device: str) -> tuple[list[float], list[float]]:
    """The numbers of a probe on the CPU, and on the device."""
    _, inputs, settings = CASES[case]
    torch.set_num_threads(1)
    here = rp.probe(built(case), inputs, **settings)
    with lying_on(device):
        there = rp.probe(built(case).to(device), inputs, **settings)
        if there.reconstructions is not None:
            assert str(there.reconstructions.inputs.device) == device
            assert str(there.reconstructions.by_layer.device) == device
        return numbers(here), numbers(there)


@pytest.mark.parametrize(
    ("case", "device"),
    [
        *((case, elsewhere.DEVICE) for case in CASES),
        *((case, elsewhere.CUDA) for case in (CASES if REAL else FORWARD)),
    ],
)
def test_says_the_same_as_on_the_cpu(process: ProcessPoolExecutor, case: str, device: str) -> None:
    here, there = process.submit(probed, case, device).result()
    assert there == pytest.approx(here, rel=1e-2, abs=1e-3, nan_ok=True)


def probed_together(device: str) -> tuple[list[list[float]], list[list[float]]]:
    models = [built(case) for case in ("MLP", "MLP", "CNN", "not finite", "MLP")]
    here = rp.probe_many(models, IMAGES)
    with lying_on(device):
        there = rp.probe_many([model.to(device) for model in models], IMAGES)
    for outcome in there:
        if isinstance(outcome, Exception):
            raise outcome
    return [numbers(r) for r in here], [numbers(r) for r in there]  # type: ignore[arg-type]


@pytest.mark.parametrize("device", [elsewhere.DEVICE, elsewhere.CUDA])
def test_many_say_the_same_as_on_the_cpu(process: ProcessPoolExecutor, device: str) -> None:
    for here, there in zip(*process.submit(probed_together, device).result(), strict=True):
        assert there == pytest.approx(here, rel=1e-2, abs=1e-3, nan_ok=True)


def reads_in_a_forward_pass(device: str) -> tuple[list[str], list[str]]:
    with elsewhere.elsewhere() as reads, torch.no_grad():
        model, inputs = built("ResNet-18").to(device), LARGE.to(device)
        observe(model, inputs, 3, None, perturbed=16)
        in_the_pass = list(reads)
        float(inputs.sum())
    return in_the_pass, reads


def test_the_forward_pass_waits_for_nothing(process: ProcessPoolExecutor) -> None:
    in_the_pass, afterwards = process.submit(reads_in_a_forward_pass, elsewhere.DEVICE).result()
    assert not in_the_pass
    assert len(afterwards) == 1


def reads_in_a_probe(depth: int, device: str) -> int:
    layers = [
        layer for _ in range(depth) for layer in (nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU())
    ]
    with elsewhere.elsewhere() as reads:
        model = nn.Sequential(nn.Flatten(), *layers, nn.Linear(64, 10)).to(device)
        reads.clear()
        rp.probe(model, IMAGES)
        return len(reads)


@pytest.mark.parametrize("device", [elsewhere.DEVICE, elsewhere.CUDA])
def test_deep_networks_are_waited_for_no_more_often(
    process: ProcessPoolExecutor, device: str
) -> None:
    shallow, deep = (process.submit(reads_in_a_probe, n, device).result() for n in (3, 30))
    assert 0 < deep == shallow < 20


def random_states(device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Of the device: before, inside and after a probe."""
    module = torch.get_device_module(device)
    inside = []

    class Looking(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            inside.append(module.get_rng_state(torch.device(device)))
            return super().forward(x)

    with elsewhere.elsewhere():
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Tanh(), Looking(32, 10))
        before = module.get_rng_state(torch.device(device))
        rp.probe(model.to(device), IMAGES, seed=7)
        return before, inside[0], module.get_rng_state(torch.device(device))


def test_random_states_of_the_device_come_back(process: ProcessPoolExecutor) -> None:
    before, inside, after = process.submit(random_states, elsewhere.DEVICE).result()
    assert not torch.equal(inside, before)
    assert torch.equal(after, before)


def mixed() -> None:
    with elsewhere.elsewhere():
        torch.ones(3).to(elsewhere.DEVICE) + torch.ones(3)


def double() -> None:
    with elsewhere.elsewhere():
        torch.ones(3).to(elsewhere.DEVICE).double()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [(mixed, "on elsewhere:0 and on the CPU"), (double, "no float64 elsewhere")],
)
def test_the_device_is_as_strict_as_a_real_one(
    process: ProcessPoolExecutor, wrong: Callable[[], None], message: str
) -> None:
    with pytest.raises((RuntimeError, TypeError), match=message):
        process.submit(wrong).result()
