"""On a real GPU, where there is one; what can be told of one without it is in `test_devices`."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import recent_prune as rp
from tests.networks import Noisy
from tests.probe.first_steps.trials import (
    DENSE,
    Batch,
    batches,
    bits,
    model_state,
    optimizer_values,
    snapshot,
    train,
    values,
)

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")

DATA = batches()


@pytest.fixture(autouse=True)
def _deterministic() -> Any:
    torch.backends.cudnn.deterministic = True
    yield
    torch.backends.cudnn.deterministic = False


def on_gpu(data: list[Batch]) -> list[Batch]:
    return [(images.cuda(), labels.cuda()) for images, labels in data]


def states() -> list[bytes]:
    return [bits(torch.get_rng_state()), bits(torch.cuda.get_rng_state())]


@pytest.mark.parametrize("resumed", [False, True], ids=["new", "resumed"])
@pytest.mark.parametrize("name", [name for name in DENSE if name != "Adagrad, fused"])
def test_everything_comes_back_and_trains_as_without(name: str, resumed: bool) -> None:
    initial, data = Noisy().cuda(), on_gpu(DATA)

    def run(probed: bool) -> Any:
        torch.manual_seed(3)
        model = copy.deepcopy(initial)
        optimizer = DENSE[name](model.parameters())
        if resumed:
            train(model, optimizer, data[:2])
        if probed:
            before = model_state(model), snapshot(vars(optimizer)), states()
            result = rp.probe(model, data, training=rp.Training(cross_entropy, optimizer))
            assert result.steps is not None
            assert result.steps.update > 0
            assert (model_state(model), snapshot(vars(optimizer)), states()) == before
        train(model, optimizer, data[5:])
        return values(model), optimizer_values(optimizer), states()

    assert run(probed=True) == run(probed=False)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_with_a_scaler_comes_back(dtype: torch.dtype) -> None:
    model, data = Noisy().cuda(), on_gpu(DATA)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    scaler = torch.amp.GradScaler("cuda", init_scale=2.0**24)
    for _ in range(2):
        before = snapshot(vars(scaler)), snapshot(vars(optimizer)), model_state(model), states()
        training = rp.Training(cross_entropy, optimizer, scaler=scaler, autocast=dtype)
        result = rp.probe(model, data, training=training)
        after = snapshot(vars(scaler)), snapshot(vars(optimizer)), model_state(model), states()
        assert after == before
        assert result.steps is not None
        assert result.steps.loss_after < result.steps.loss_before
        for images, labels in data[:2]:  # a state of the scaler of its own
            optimizer.zero_grad()
            with torch.autocast("cuda", dtype):
                loss = cross_entropy(model(images), labels)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()


@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_says_the_same_as_on_the_cpu_and_twice(where: str) -> None:
    """Batches on the CPU are moved, as the user's loop does."""
    model = rp.networks.mlp(64, 10, depth=6, width=64, weight_variance=1.8)

    def probed(device: str) -> rp.ProbeResult:
        moved = [(x.to(where), y.to(where)) for x, y in DATA] if device == "cuda" else DATA
        training = rp.Training(cross_entropy, lambda p: torch.optim.SGD(p, 0.1), budget=100)
        return rp.probe(copy.deepcopy(model).to(device), moved, training=training)

    here, there, again = probed("cpu"), probed("cuda"), probed("cuda")
    assert here.steps is not None
    assert there.steps is not None
    assert again.steps is not None
    assert there.steps.losses == pytest.approx(here.steps.losses, rel=1e-3)
    assert there.steps.loss_after == pytest.approx(here.steps.loss_after, rel=1e-3)
    assert there.retained == pytest.approx(here.retained, abs=1e-2)
    assert again.steps.losses == there.steps.losses
    assert again.retained == there.retained


class Large(nn.Module):
    """Its activations do not fit."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        grown: Tensor = self.body(x.flatten(1)).repeat(2**20, 4)
        return grown[: len(x), :10]


def test_out_of_memory_leaves_nothing_behind() -> None:
    model, data = Large().cuda(), on_gpu(DATA)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    before = model_state(model), snapshot(vars(optimizer)), states()
    held = torch.cuda.memory_allocated()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((held + 2**27) / total)
    try:
        with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
            rp.probe(model, data, training=rp.Training(cross_entropy, optimizer))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert (model_state(model), snapshot(vars(optimizer)), states()) == before
    assert torch.cuda.memory_allocated() == held


@pytest.mark.parametrize(("name", "most"), [("Adam", 1.3), ("SGD", 1.6)])
def test_peak_memory_is_about_that_of_a_training_step(name: str, most: float) -> None:
    """Beyond it are the former weights: a quarter of what Adam needs, half of plain SGD's."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4096), nn.ReLU(), nn.Linear(4096, 4096))
    model = model.append(nn.Linear(4096, 10)).cuda()
    data = on_gpu(DATA)
    optimizer = DENSE[name](model.parameters())

    def peak(run: Any) -> int:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        run()
        return torch.cuda.max_memory_allocated()

    training = rp.Training(cross_entropy, optimizer)
    rp.probe(model, data, training=training)  # workspaces of libraries
    probed = peak(lambda: rp.probe(model, data, training=training))
    trained = peak(lambda: train(model, optimizer, data[:2]))
    assert probed <= most * trained
