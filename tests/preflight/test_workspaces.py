"""What libraries keep on a CPU."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from recent_prune.preflight.workspaces import AT_FIRST, COMPILED, libraries
from tests.preflight.trials import Y, estimate

IMAGES = torch.zeros(64, 4, 16, 16)


def convolutions(*kernels: int, dtype: torch.dtype | None = None) -> int:
    """Bytes for a network of convolutions with kernels of these sizes."""
    layers = [nn.Conv2d(4, 4, size, padding=size // 2) for size in kernels]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(1024, 10))
    result = estimate(model, batch=(IMAGES, Y[:64]), autocast=dtype)
    assert sum(result.parts.values()) == result.memory.value
    return int(result.parts["libraries"])


def test_convolutions_that_are_unlike_are_compiled_each() -> None:
    assert convolutions(3) == AT_FIRST + COMPILED[None]
    assert convolutions(3, 3, 3) == AT_FIRST + COMPILED[None]
    assert convolutions(1, 3, 5) == AT_FIRST + 3 * COMPILED[None]


def test_in_bfloat16_they_take_more() -> None:
    assert convolutions(1, 3, dtype=torch.bfloat16) == AT_FIRST + 2 * COMPILED[torch.bfloat16]


def test_a_network_without_them_keeps_what_any_does() -> None:
    assert convolutions() == AT_FIRST


@pytest.mark.parametrize("kind", ["cuda", "xpu"])
def test_what_a_gpus_libraries_keep_is_not_known(kind: str) -> None:
    assert libraries(torch.device(kind), [(torch.float32,)]) == 0
