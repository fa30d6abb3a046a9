"""What a function builds, without values."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

import recent_prune as rp
from tests.preflight.trials import X, Y, estimate, mlp


@pytest.mark.parametrize("values", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda model: model.to(torch.float64),
        lambda model: model.double(),
        lambda model: model.to("cpu", torch.float64),
        lambda model: model.cpu().double(),
    ],
)
def test_what_a_function_builds_may_be_cast_and_moved(
    make: Callable[[nn.Module], nn.Module], values: bool
) -> None:
    def build() -> nn.Module:
        width = int(torch.linspace(1, 2e6, 2).tolist()[-1]) if values else 2_000_000
        first = nn.utils.skip_init(nn.Linear, 256, width)
        return make(nn.Sequential(first, nn.ReLU(), nn.Linear(width, width), nn.Linear(width, 10)))

    swaps = torch.utils.swap_tensors
    result = estimate(build, batch=(X.double(), Y))
    assert result.method == "traced"
    assert result.parts["parameters"] == pytest.approx(8 * 2e6 * (256 + 2e6 + 10), rel=0.001)
    assert torch.utils.swap_tensors is swaps


def test_networks_of_our_own_are_built_without_values() -> None:
    large = estimate(lambda: rp.networks.mlp(256, 10, depth=2, width=2_000_000))
    assert large.method == "traced"
    assert large.memory.value > 4e12


def test_a_function_that_asks_for_values_is_built_without_those_of_its_layers() -> None:
    built: list[nn.Module] = []

    def build() -> nn.Module:
        depths = torch.linspace(1, 3, 3).tolist()
        built.append(mlp(depth=int(depths[-1])))
        return built[-1]

    assert estimate(build).memory == estimate(mlp()).memory
    assert all(parameter.is_meta for parameter in built[-1].parameters())


def test_threads_that_build_at_once_leave_pytorch_as_it_was() -> None:
    swaps = torch.utils.swap_tensors
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(estimate, lambda: mlp().to(torch.float32)) for _ in range(8)]
    assert {run.result().method for run in runs} == {"traced"}
    assert torch.utils.swap_tensors is swaps


@pytest.mark.parametrize(
    "convert", [lambda model: model.to("cuda"), lambda model: nn.Sequential(model).double()]
)
def test_a_model_that_is_there_already_is_not_converted(
    convert: Callable[[nn.Module], nn.Module],
) -> None:
    model = mlp()
    model.register_buffer("scale", torch.ones(3))
    before = {name: (id(t), t.clone()) for name, t in model.state_dict(keep_vars=True).items()}
    with pytest.raises(ValueError, match="converts a Sequential that is there already: give the"):
        estimate(lambda: convert(model))
    after = model.state_dict(keep_vars=True)
    assert all(id(after[name]) == at for name, (at, _) in before.items())
    assert all(torch.equal(after[name], value) for name, (_, value) in before.items())
    model.double()


def test_weights_with_values_in_a_model_that_is_built_are_no_obstacle() -> None:
    table = torch.randn(256, 16)

    class Embedded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding.from_pretrained(table, freeze=False)
            self.head = nn.Linear(16, 10)

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.head(self.table(x).mean(1).to(self.head.weight))
            return found

    ids = torch.randint(256, (128, 8))
    assert estimate(lambda: Embedded().double(), batch=(ids, Y)).method == "traced"
    assert table.dtype == torch.float32
