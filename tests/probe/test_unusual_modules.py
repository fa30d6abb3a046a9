"""Adapters, quantized, scripted and sharded parts: answered, or refused with a way out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.nn import functional as F

import recent_prune as rp
from recent_prune.probe.watching.modules import is_quantized, is_weighted
from tests.probe.called import X, Y
from tests.probe.first_steps.trials import model_state

QUIET = pytest.mark.filterwarnings(
    "ignore:.*torch.ao.quantization is deprecated:DeprecationWarning",
    "ignore:.*torch.jit.(script|trace).* is (deprecated|not supported)",
    "ignore:torch.quantize_per_tensor.* are deprecated:UserWarning",
    # The gradient ends there, which nothing before it needs.
    "ignore:.*quantized..linear_dynamic. an autograd kernel was not registered:UserWarning",
)
BATCHES = list(zip(X.split(64), Y.split(64), strict=True))
rule = rp.TrainabilityRule()


def plain() -> nn.Sequential:
    torch.manual_seed(0)
    first, second, head = nn.Linear(64, 48), nn.Linear(48, 48), nn.Linear(48, 10)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), head)


def training(model: nn.Module, rate: float = 1e-2) -> rp.Training:
    trained = [p for p in model.parameters() if p.requires_grad]
    return rp.Training(F.cross_entropy, torch.optim.Adam(trained, rate), steps=3, budget=100)


def judged(model: nn.Module, rate: float = 1e-2) -> list[tuple[rp.ProbeResult, rp.Verdict]]:
    """Without first steps and with them; the model stays as it is."""
    before = model_state(model)
    results = [rp.probe(model, BATCHES), rp.probe(model, BATCHES, training=training(model, rate))]
    assert model_state(model) == before
    return [(result, rule(result)) for result in results]


class LowRank(nn.Module):
    """An adapter on a frozen base: what it adds is zero until its first step."""

    def __init__(self, base: nn.Module, inputs: int, outputs: int, rank: int = 4) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down, self.up = nn.Linear(inputs, rank, False), nn.Linear(rank, outputs, False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.up(self.down(x))  # type: ignore[no-any-return]


def adapted(base: nn.Sequential, width: int = 48) -> nn.Sequential:
    base[0] = LowRank(base[0], 64, width)
    base[2] = LowRank(base[2], width, width)
    return base


def quantized(*names: str) -> Any:
    from torch.ao.quantization import quantize_dynamic

    return quantize_dynamic(plain(), set(names) or {nn.Linear})


def test_adapters_that_start_at_zero_are_kept() -> None:
    (forward, at_start), (steps, after) = judged(adapted(plain()))
    assert at_start.trainable
    assert after.trainable
    assert {"1", "3"} <= set(forward.layers)
    assert steps.steps is not None
    assert steps.steps.loss_after < steps.steps.loss_before


def test_adapters_on_a_dead_base_are_condemned_by_their_steps() -> None:
    dead = plain()
    for layer in (dead[0], dead[2]):
        assert isinstance(layer, nn.Linear)
        nn.init.constant_(layer.bias, -50.0)
    model = adapted(dead)
    model[4].requires_grad_(False)
    _, (_, after) = judged(model, 1e-3)
    assert not after.trainable


@QUIET
def test_adapters_on_a_quantized_base() -> None:
    base = quantized("0", "2")
    (forward, at_start), (_, after) = judged(adapted(base))
    assert at_start.trainable
    assert after.trainable
    assert {"1", "3"} <= set(forward.layers)


def test_adapters_of_peft() -> None:
    peft = pytest.importorskip("peft", reason="peft is not installed")
    config = peft.LoraConfig(target_modules=["0", "2"], modules_to_save=["4"])
    (_, at_start), (steps, after) = judged(peft.get_peft_model(plain(), config))
    assert at_start.trainable
    assert after.trainable
    assert steps.steps is not None


@QUIET
def test_quantized_layers_are_layers() -> None:
    model = quantized("0", "2")
    kinds = {name: (is_weighted(m), is_quantized(m)) for name, m in model.named_modules()}
    assert kinds["0"] == kinds["2"] == (True, True)
    assert kinds["4"] == (True, False)
    assert [name for name, kind in kinds.items() if kind[0]] == ["0", "2", "4"]
    ((forward, verdict), _) = judged(model)
    assert forward.layers == ("1", "3")
    assert forward.retained == pytest.approx(rp.probe(plain(), X[:160]).retained, abs=0.05)
    assert forward.unseen == ()
    assert verdict.trainable


@QUIET
def test_a_model_that_is_quantized_altogether_is_refused_with_a_way_out() -> None:
    with pytest.raises(ValueError, match=r"has no parameters, .*: probe it before its quantiz"):
        rp.probe(quantized(), X)
    with pytest.raises(ValueError, match=r"no initialization to probe\.$"):
        rp.probe(nn.Flatten(), X)


@QUIET
@pytest.mark.parametrize("how", ["scripted", "traced"])
def test_models_of_torchscript_are_refused_with_a_way_out(how: str) -> None:
    made: Any = torch.jit.script(plain()) if how == "scripted" else torch.jit.trace(plain(), X[:2])
    with pytest.raises(TypeError, match=r"must be an eager .*: probe it before torch\.jit\.script"):
        rp.probe(made, X)


class PartlyScripted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 48)
        part = nn.Sequential(nn.Linear(48, 48), nn.BatchNorm1d(48), nn.ReLU())
        self.part: Any = torch.jit.script(part)
        self.head = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.part(torch.relu(self.first(x))))  # type: ignore[no-any-return]


@QUIET
def test_scripted_parts_are_named_as_not_seen() -> None:
    model = PartlyScripted()
    (forward, at_start), (steps, after) = judged(model)
    assert forward.layers == ("input of head",)
    assert forward.unseen == ("part.0",)
    assert at_start.trainable
    assert after.trainable
    assert steps.gradients is not None
    assert "part.0" in steps.gradients.layers


@pytest.fixture
def one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process group of this process alone."""
    monkeypatch.setitem(os.environ, "GLOO_SOCKET_IFNAME", "lo")
    store = dist.FileStore(str(tmp_path / "store"), 1)  # type: ignore[attr-defined]
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("part", ["whole", "0"])
def test_sharded_models_are_refused_with_a_way_out(part: str) -> None:
    from torch.distributed.device_mesh import init_device_mesh

    model = plain()
    rp.probe(model, BATCHES)
    fully_shard(model if part == "whole" else model[0], mesh=init_device_mesh("cpu", (1,)))
    message = r"sharded: probe it before fully_shard \(it comes back as it was\)\."
    for training_ in (None, training(model)):
        with pytest.raises(TypeError, match=message):
            rp.probe(model, BATCHES, training=training_)
