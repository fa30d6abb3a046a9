from __future__ import annotations

import copy
import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.functional import cross_entropy, mse_loss
from torch.optim import Optimizer
from torch.utils.checkpoint import checkpoint

import recent_prune as rp
from recent_prune.preflight import estimating
from recent_prune.preflight.counting import MemoryCounter
from recent_prune.preflight.stepping import CountedSteps
from tests.preflight.trials import BYTES, Unrolled, X, Y, adam, estimate, mlp, sgd
from tests.probe.first_steps.trials import DENSE, model_state, random_states


def of_tensors(result: Any) -> int:
    """The estimate without what libraries keep."""
    return int(result.memory.value) - int(result.parts["libraries"])


class TestByHand:
    """One linear layer: all that a step holds can be written down."""

    model = nn.Linear(256, 512, bias=False)
    batch = (torch.zeros(128, 256), torch.zeros(128, 512))

    def test_parts(self) -> None:
        result = estimate(self.model, sgd, self.batch, loss=mse_loss)
        weights = 256 * 512 * BYTES
        inputs, outputs = 128 * 256 * BYTES, 128 * 512 * BYTES
        assert result.parts["parameters"] == weights
        assert result.parts["optimizer"] == weights  # momentum
        assert result.parts["batch"] == inputs + outputs
        # At the peak the loss's gradient has come to the outputs, and the weight's is made of it;
        # and there are the loss, its share of the step and its gradient, a block of 64 bytes each.
        assert of_tensors(result) == 3 * weights + inputs + 2 * outputs + 3 * 64

    def test_memory_is_affine_in_the_batch(self) -> None:
        result = estimate(self.model, sgd, self.batch, loss=mse_loss)
        assert result.batch_size == 128
        assert result.per_sample == (256 + 2 * 512) * BYTES
        smaller = (self.batch[0][:32], self.batch[1][:32])
        less = estimate(self.model, sgd, smaller, loss=mse_loss)
        assert max(start + 32 * slope for start, slope in result.growth) == less.memory.value

    def test_operations(self) -> None:
        result = estimate(self.model, sgd, self.batch, loss=mse_loss)
        assert result.operations == 2 * 2 * 128 * 256 * 512  # the input needs no gradient


def allocated(model: nn.Module, optimizer: Optimizer, batch: Any) -> int:
    """The peak of PyTorch's CPU allocator in a real second step, from its own events."""

    def step() -> None:
        optimizer.zero_grad()
        cross_entropy(model(batch[0]), batch[1]).backward()
        optimizer.step()

    step()
    optimizer.zero_grad()
    with torch.profiler.profile(profile_memory=True, acc_events=True) as profile:
        step()
    results: Any = profile.profiler.kineto_results
    changes = [(e.start_ns(), e.nbytes()) for e in results.events() if e.name() == "[memory]"]
    now, most = 0, 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    held = [*model.parameters(), *model.buffers(), *batch]
    held += [v for s in optimizer.state.values() for v in s.values() if isinstance(v, Tensor)]
    return int(most + sum(tensor.nbytes for tensor in held))


@pytest.mark.parametrize("optimizer", [sgd, adam])
@pytest.mark.filterwarnings("ignore")  # the profiler's own
def test_against_the_allocators_own_record(optimizer: Any) -> None:
    model = mlp()
    told = of_tensors(estimate(model, optimizer))
    assert told == pytest.approx(allocated(model, optimizer(model.parameters()), (X, Y)), rel=0.02)


def test_against_the_memory_tracker_of_pytorch() -> None:
    tracker_of = pytest.importorskip("torch.distributed._tools.mem_tracker")
    model = mlp()
    told = estimate(model, adam)
    optimizer = adam(model.parameters())
    tracker = tracker_of.MemTracker()
    tracker.track_external(model, optimizer, X, Y)
    with tracker:
        for _ in range(2):
            cross_entropy(model(X), Y).backward()
            optimizer.step()
            optimizer.zero_grad()
            tracker.reset_mod_stats()
    peak = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]
    assert of_tensors(told) == pytest.approx(peak, rel=0.02)


@pytest.mark.parametrize("name", [name for name in DENSE if name not in ("LBFGS", "Muon")])
def test_every_optimizer_is_traced(name: str) -> None:
    model = mlp(1)
    result = estimate(model, lambda p: DENSE[name](p))
    assert result.method == "traced"
    optimizer = DENSE[name](model.parameters())
    cross_entropy(model(X), Y).backward()
    optimizer.step()
    state = [v for s in optimizer.state.values() for v in s.values() if isinstance(v, Tensor)]
    rounded = sum(-(-tensor.nbytes // 64) * 64 for tensor in state)
    assert result.parts["optimizer"] == pytest.approx(rounded, abs=64 * len(state))


def test_what_fake_tensors_cannot_do_is_measured_and_said() -> None:
    model = Unrolled()
    result = estimate(model)
    assert result.method == "measured"
    assert "real batches of 2 and 4 samples were counted" in result.notes[-1]
    whole = Unrolled()
    whole.forward = lambda x: whole.head(  # type: ignore[method-assign]
        whole.norm(torch.relu(whole.layer(torch.relu(whole.layer(x)))))
    )
    twin = estimate(whole)
    assert twin.method == "traced"
    assert result.memory.value == pytest.approx(twin.memory.value, rel=0.15)
    assert result.operations == pytest.approx(twin.operations, rel=0.01)
    assert result.memory.high / result.memory.value > twin.memory.high / twin.memory.value


@pytest.mark.parametrize("make", [mlp, Unrolled])
@pytest.mark.parametrize("as_object", [True, False])
def test_nothing_of_the_model_is_changed(make: Callable[[], nn.Module], as_object: bool) -> None:
    model = make().eval()
    optimizer = adam(model.parameters())
    cross_entropy(model(X), Y).backward()
    optimizer.step()
    state, settings = model_state(model), copy.deepcopy(optimizer.state_dict())
    before = random_states()
    estimate(model, optimizer if as_object else adam)
    assert model_state(model) == state
    assert random_states() == before
    after = optimizer.state_dict()
    assert after["param_groups"] == settings["param_groups"]
    for index, known in settings["state"].items():
        assert all(torch.equal(known[k], after["state"][index][k]) for k in known)


@pytest.mark.parametrize("model", [mlp(), mlp, Unrolled()])
def test_nothing_is_left_behind(model: Any) -> None:
    estimate(model, adam)
    gc.collect()
    assert not [held for held in gc.get_objects() if type(held) is FakeTensor]


def test_an_optimizer_over_the_model_becomes_one_of_its_kind() -> None:
    model = mlp()
    groups: Any = [
        {"params": model[0].parameters(), "amsgrad": True},
        {"params": model[2].parameters()},
    ]
    optimizer = torch.optim.AdamW(groups, 1e-3)
    state = sum(p.nbytes for p in model[0].parameters()) * 3
    state += sum(p.nbytes for p in model[2].parameters()) * 2
    assert estimate(model, optimizer).parts["optimizer"] == pytest.approx(state, rel=0.001)
    assert not optimizer.state


def test_a_loss_that_refers_to_the_model_leaves_no_fake_gradient() -> None:
    model = mlp()

    def loss(output: Tensor, target: Tensor) -> Tensor:
        norms = torch.stack([p.norm() for p in model.parameters()])
        return cross_entropy(output, target) + norms.sum()

    assert estimate(model, loss=loss).method == "traced"
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_model_larger_than_any_machine() -> None:
    result = estimate(lambda: mlp(depth=2, width=2_000_000))
    weights = 4 * (256 * 2e6 + 2e6 * 2e6)
    assert result.method == "traced"
    assert result.parts["parameters"] == pytest.approx(weights, rel=0.01)
    assert not result.fits(1e12)


def test_a_model_on_meta() -> None:
    with torch.device("meta"):
        model = mlp()
    assert estimate(model).memory == estimate(mlp()).memory
    assert all(parameter.is_meta for parameter in model.parameters())


def test_tied_weights_count_once() -> None:
    model = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 256), nn.Linear(256, 10))
    apart = estimate(model).parts["parameters"]
    model[2].weight = model[0].weight
    assert apart - estimate(model).parts["parameters"] == 256 * 256 * BYTES


def test_frozen_parameters_have_no_gradient_and_no_state() -> None:
    model = mlp()
    every = estimate(model, adam)
    model[:4].requires_grad_(False)
    part = estimate(model, adam)
    assert part.parts["parameters"] == every.parts["parameters"]
    frozen = sum(parameter.nbytes for parameter in model[:4].parameters())
    for name in ("gradients", "optimizer"):
        times = 1 if name == "gradients" else 2
        assert every.parts[name] - part.parts[name] == pytest.approx(times * frozen, rel=0.001)


class Deep(nn.Module):
    def __init__(self, saves: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(256, 256), nn.Tanh(), nn.Linear(256, 256)) for _ in range(8)
        )
        self.saves = saves

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            out = checkpoint(block, x, use_reentrant=False) if self.saves else block(x)
            x = x + torch.tanh(out)
        return x[:, :10]


def test_checkpointing_holds_fewer_activations() -> None:
    batch = (torch.randn(4096, 256), torch.randint(10, (4096,)))
    plain, saved = estimate(Deep(False), batch=batch), estimate(Deep(True), batch=batch)
    assert saved.method == "traced"
    assert saved.parts["activations"] < 0.75 * plain.parts["activations"]
    assert saved.operations > 1.15 * plain.operations


def test_mixed_precision_halves_activations() -> None:
    batch = (torch.randn(8192, 256), torch.randint(10, (8192,)))
    plain, mixed = (
        estimate(mlp(4), batch=batch),
        estimate(mlp(4), batch=batch, autocast=torch.bfloat16),
    )
    assert mixed.parts["activations"] < 0.7 * plain.parts["activations"]
    assert mixed.parts["parameters"] == plain.parts["parameters"]


def test_accumulated_batches_hold_gradients_while_the_next_one_runs() -> None:
    one, four = estimate(mlp()), estimate(mlp(), accumulate=4)
    assert four.memory.value > one.memory.value
    assert four.memory.value == estimate(mlp(), accumulate=9).memory.value
    assert four.operations == 4 * one.operations
    assert four.notes == ("A step is one of 4 accumulated batches.",)


def test_clipping_is_part_of_the_step() -> None:
    assert estimate(mlp(), clip_norm=1.0).method == "traced"


def test_a_gpu_that_is_not_here() -> None:
    here, there = estimate(mlp(), adam), estimate(mlp(), adam, device="cuda:1")
    assert there.device == "cuda"
    assert any("There is no cuda here" in note for note in there.notes)
    # All parameters are updated at once, which holds more.
    assert of_tensors(there) > of_tensors(here)
    assert there.memory.low / of_tensors(there) < here.memory.low / of_tensors(here)
    assert there.parts["libraries"] == 0  # not known


def test_a_step_at_a_time_is_what_two_whole_steps_take() -> None:
    """The twin: every step with its update, and all of it under the counter."""
    place = torch.device("cpu")
    loop = CountedSteps(mlp(), rp.Training(cross_entropy, adam), MemoryCounter(64), place)
    peaks = [loop.step((X, Y)).memory for _ in range(3)]
    assert peaks[0] == peaks[1] == peaks[2] == estimate(mlp(), adam).memory.value


def test_errors_by_device_are_those_of_the_benchmark() -> None:
    error, result = estimating.ERRORS["traced", "cpu"], estimate(mlp())
    memory = result.memory
    # What libraries keep may be there already.
    assert memory.low == pytest.approx(of_tensors(result) * (1 - error.below))
    assert memory.high == pytest.approx(memory.value * (1 + error.above) + error.more)
