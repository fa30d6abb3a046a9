from __future__ import annotations

import gc

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from recent_prune.preflight.counting import BLOCKS, MemoryCounter, Part, block_of

KIB = 1024


def counted(block: int = 64) -> MemoryCounter:
    return MemoryCounter(block)


def test_a_storage_counts_while_anything_holds_it() -> None:
    counter = counted()
    with counter:
        tensor = torch.zeros(KIB)
        view = tensor[:10]
        again = tensor.view(32, 32)
        assert counter.peak == 4 * KIB
        del tensor, again
        assert counter.held(Part.TEMPORARIES) == 4 * KIB
        del view
        assert counter.held(Part.TEMPORARIES) == 0
    assert counter.peak == 4 * KIB


def test_the_peak_is_what_was_held_at_once() -> None:
    counter = counted()
    with counter:
        first = torch.zeros(KIB)
        second = first + 1
        del first
        third = second + 1
        del second, third
    assert counter.peak == 8 * KIB
    counter.restart()
    assert counter.peak == 0


def test_what_the_graph_holds_counts_until_the_backward_pass() -> None:
    counter = counted()
    weight = torch.ones(KIB, requires_grad=True)
    with counter:
        # exp keeps its output, and sum keeps nothing.
        loss = (weight * 2.0).exp().sum()
        held = counter.held(Part.TEMPORARIES)
        loss.backward()
        del loss
    assert held == 4 * KIB + 64
    assert counter.held(Part.TEMPORARIES) == 4 * KIB  # the gradient
    weight.grad = None
    gc.collect()
    assert counter.held(Part.TEMPORARIES) == 0


@pytest.mark.parametrize(("block", "size"), [(64, 64), (512, 512)])
def test_sizes_are_rounded_up_as_by_the_allocator(block: int, size: int) -> None:
    counter = counted(block)
    with counter:
        kept = torch.zeros(1)
    assert counter.held(Part.TEMPORARIES) == size
    assert kept.numel() == 1


def test_blocks_of_devices() -> None:
    assert block_of(torch.device("cpu")) == BLOCKS["cpu"] == 64
    assert block_of(torch.device("cuda")) == block_of(torch.device("mps")) == 512


def test_parts_are_told_apart_and_can_change() -> None:
    counter = counted()
    known = torch.zeros(KIB)
    counter.hold([known, known[:5]], Part.PARAMETERS)
    with counter:
        counter.part = Part.ACTIVATIONS
        made = known + 1
        assert counter.peak_parts[Part.ACTIVATIONS] == 4 * KIB
        counter.hold([made], Part.GRADIENTS)
    assert counter.held(Part.PARAMETERS) == counter.held(Part.GRADIENTS) == 4 * KIB
    assert counter.held(Part.ACTIVATIONS) == 0
    assert counter.peak == 8 * KIB == sum(counter.peak_parts.values())


def test_sparse_tensors_count_by_what_they_hold() -> None:
    counter = counted()
    embedding = nn.Embedding(100, 16, sparse=True)
    with counter:
        embedding(torch.tensor([1, 2])).sum().backward()
        gradient = embedding.weight.grad
        assert gradient is not None
        assert gradient.is_sparse
    counter.hold([gradient], Part.GRADIENTS)
    assert counter.held(Part.GRADIENTS) == 2 * 16 * 4 + 64  # values, and two indices of 8 bytes


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.head = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.head(self.conv(images).mean((2, 3)))
        return out


def test_operations_are_those_of_pytorchs_own_counter() -> None:
    model, images = Net(), torch.zeros(4, 3, 12, 12)
    counter = counted()
    with counter:
        model(images).sum().backward()
    with FlopCounterMode(display=False) as theirs:
        model(images).sum().backward()
    assert counter.operations == theirs.get_total_flops() > 0


@pytest.mark.parametrize("channels_last", [False, True])
def test_copies_that_a_convolution_makes_on_a_cpu_count_at_the_peak(channels_last: bool) -> None:
    conv = nn.Conv2d(16, 16, 3, padding=1, bias=False)
    images = torch.zeros(4, 16, 8, 8)
    if channels_last:
        images = images.to(memory_format=torch.channels_last)
    counter = counted()
    with torch.no_grad(), counter:
        out = conv(images)
    copies = images.nbytes + conv.weight.nbytes + out.nbytes
    assert counter.peak - out.nbytes == (0 if channels_last else copies)


def test_a_number_that_a_fake_tensor_is_asked_for_can_be_answered() -> None:
    counter = counted()
    with FakeTensorMode(), counter:
        counter.scalars = True
        assert torch.zeros(3).sum().item() == 0.5
        assert torch.tensor(7.0).item() == 7.0  # a constant, which is known
        with pytest.raises(DataDependentOutputException, match="local_scalar_dense"):
            torch.zeros(3, dtype=torch.long).sum().item()
        counter.scalars = False
        with pytest.raises(DataDependentOutputException, match="local_scalar_dense"):
            torch.zeros(3).sum().item()
    counter.scalars = True
    with counter:
        assert torch.tensor([7.0]).sum().item() == 7.0
