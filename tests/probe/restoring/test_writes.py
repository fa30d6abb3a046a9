from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch._higher_order_ops.while_loop import while_loop

from recent_prune.probe.restoring.writes import Writes
from tests.probe.first_steps.trials import bits


def scripted(x: Tensor) -> None:
    with warnings.catch_warnings(action="ignore", category=FutureWarning):
        torch.jit.script(_double)(x)


def _double(x: Tensor) -> Tensor:
    return x.mul_(2.0)


def into(x: Tensor) -> None:
    torch.add(x, 1.0, out=x)


WRITES: dict[str, Callable[[Tensor], object]] = {
    "in place": lambda x: x.add_(1),
    "by its data": lambda x: x.data.clamp_(max=0.1),
    "a view": lambda x: x.view(-1)[2:].zero_(),
    "an item": lambda x: x.__setitem__((0, 0), 7.0),
    "a list": lambda x: torch._foreach_mul_([torch.ones(2), x], 2.0),
    "as the result": into,
    "scripted": scripted,
    "copied to": lambda x: x.copy_(torch.ones(3, 3)),
    "initialized": nn.init.orthogonal_,
    "bounded": lambda x: x.renorm_(2, 0, 0.1),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_what_is_written_to_is_kept_as_it_was(write: Callable[[Tensor], object]) -> None:
    tensor, other = nn.Parameter(torch.randn(3, 3)), nn.Parameter(torch.ones(2))
    before = tensor.detach().clone()
    with torch.no_grad(), Writes([tensor, other]) as writes:
        write(tensor)
        write(tensor)  # what it held then is not what is asked for
    assert bits(tensor) != bits(before)
    ((found, was),) = writes.former
    assert found is tensor
    assert bits(was) == bits(before)


def test_what_shares_its_memory_is_kept_with_it() -> None:
    whole = torch.randn(6)
    parts = [nn.Parameter(whole[:3]), nn.Parameter(whole[3:])]
    before = [part.detach().clone() for part in parts]
    with Writes(parts) as writes, torch.no_grad():
        parts[0].zero_()
    assert [id(part) for part, _ in writes.former] == [id(part) for part in parts]
    for (_, was), value in zip(writes.former, before, strict=True):
        assert torch.equal(was, value)


def test_what_is_only_read_is_not_copied() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(inplace=True))
    with Writes(model.parameters()) as writes:
        loss = model(torch.randn(8, 4)).square().mean()
        loss.backward()
    assert writes.former == []


def test_higher_order_operators_go_through() -> None:
    scale = nn.Parameter(torch.tensor(2.0))
    with Writes([scale]) as writes, torch.no_grad():
        (result,) = while_loop(
            lambda x: x.sum() < 10, lambda x: (x * scale.detach(),), (torch.ones(1),)
        )
    assert float(result) == 16
    assert writes.former == []
