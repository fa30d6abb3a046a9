"""What devices can do, and the random states that they have."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

SOLVING = ("cpu", "cuda")
"""Types of devices with float64 and all of ``torch.linalg``; Apple's and others lack parts."""


def accelerator() -> torch.device | None:
    """The kind of accelerator that can be used here, if there is one."""
    # Not by `check_available`: PyTorch 2.6 does not know it.
    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None


def solvable(tensor: Tensor) -> Tensor:
    """The tensor, moved to the CPU if its device cannot solve for it (`SOLVING`)."""
    return tensor if tensor.device.type in SOLVING else tensor.cpu()


def all_solvable(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The same for many tensors of one dtype and one device, in one transfer."""
    if all(tensor.device.type in SOLVING for tensor in tensors):
        return list(tensors)
    parts = (
        torch.cat([tensor.flatten() for tensor in tensors])
        .cpu()
        .split([tensor.numel() for tensor in tensors])
    )
    return [part.reshape(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def has_random_state(device: torch.device) -> bool:
    """Whether PyTorch knows of a generator of its own on a device: not on the CPU, nor on meta."""
    return device.type != "cpu" and hasattr(getattr(torch, device.type, None), "get_rng_state")


def random_state(device: torch.device) -> Tensor:
    """The state of the generator that PyTorch uses on an accelerator."""
    module = torch.get_device_module(device)
    state: Tensor = module.get_rng_state(*_which(device))
    return state


def set_random_state(device: torch.device, state: Tensor) -> None:
    """Put back what `random_state` has read."""
    torch.get_device_module(device).set_rng_state(state, *_which(device))


def seed_random_state(device: torch.device, seed: int) -> None:
    """Seed the generator of one accelerator, and of no other."""
    module = torch.get_device_module(device)
    if device.type == "mps":
        module.manual_seed(seed)
    else:
        with module.device(device):
            module.manual_seed(seed)


def _which(device: torch.device) -> tuple[torch.device, ...]:
    # There is one Apple GPU, and it has no number.
    return () if device.type == "mps" else (device,)
