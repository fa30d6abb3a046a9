from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recent_prune.probe.watching.code import names_in_code
from recent_prune.probe.watching.function_calls import FunctionCalls


def helper(x: Tensor) -> Tensor:
    return torch.rsqrt(x)


class Own(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.softplus(helper(x))


def test_each_call_is_shown_with_what_it_got_and_gave() -> None:
    seen: list[tuple[str, Sequence[Any], Any]] = []
    x, w = torch.randn(3, 4), torch.randn(2, 4)
    with FunctionCalls([lambda *call: seen.append(call)]):
        y = F.linear(x, weight=w)
    assert [name for name, _, _ in seen] == ["linear"]
    _, given, result = seen[0]
    assert given[0] is x
    assert given[1] is w
    assert result is y


def test_not_those_of_who_looks_nor_any_while_it_rests() -> None:
    seen: list[str] = []

    def look(name: str, _: Sequence[Any], result: Any) -> None:
        seen.append(name)
        result.exp()

    with FunctionCalls([look]) as calls:
        with calls.resting():
            torch.ones(2).sin()
        torch.ones(2).cos()
    assert "cos" in seen
    assert not {"sin", "exp"} & set(seen)


def test_code_names_what_methods_and_their_helpers_call() -> None:
    assert {"softplus", "rsqrt"} <= names_in_code([nn.Linear(2, 2), Own()])
    assert names_in_code([nn.Linear(2, 2), nn.LayerNorm(2)]) == set()
