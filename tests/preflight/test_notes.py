from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

from recent_prune.preflight.notes import notes_on
from recent_prune.probe import Training

CPU = torch.device("cpu")
PLAIN = Training(mse_loss, lambda p: torch.optim.SGD(p, 0.1))


def test_nothing_to_say_of_a_plain_model_on_a_cpu() -> None:
    assert notes_on(nn.Linear(2, 2), CPU, PLAIN) == ()
    assert notes_on(lambda: nn.Linear(2, 2), CPU, PLAIN) == ()


@pytest.mark.parametrize(
    ("model", "device", "accumulate", "part"),
    [
        (nn.Linear(2, 2), "cuda", 1, "the CUDA context"),
        (nn.Linear(2, 2), "mps", 1, "The allocator of mps is taken for that of CUDA."),
        (nn.Linear(2, 2), "cpu", 4, "A step is one of 4 accumulated batches."),
        (torch.compile(nn.Linear(2, 2)), "cpu", 1, "without torch.compile"),
        (nn.DataParallel(nn.Linear(2, 2)), "cpu", 1, "DataParallel spreads it"),
        (type("FSDPLinear", (nn.Linear,), {})(2, 2), "cpu", 1, "Shards (FSDP)"),
    ],
)
def test_what_is_not_counted(model: nn.Module, device: str, accumulate: int, part: str) -> None:
    training = Training(mse_loss, lambda p: torch.optim.SGD(p, 0.1), accumulate=accumulate)
    (note,) = notes_on(model, torch.device(device), training)
    assert part in note
