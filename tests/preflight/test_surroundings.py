"""What lies around a trial is as it was after a preflight."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from recent_prune.preflight.surroundings import is_hollow
from tests.preflight.trials import X, Y, estimate, mlp

TABLES: dict[int, Tensor] = {}
SEEN: list[Tensor] = []


@functools.lru_cache
def bounded(size: int) -> Tensor:
    return torch.linspace(0.5, 1, size)


@functools.cache
def unbounded(size: int) -> tuple[Tensor, str]:
    return torch.linspace(0.5, 1, size), "a table"


class Tabled(nn.Module):
    """Multiplies with a table that is made when it is first asked for."""

    kept: ClassVar[Tensor | None] = None

    def __init__(self, table: Callable[[int], Tensor]) -> None:
        super().__init__()
        self.table, self.layer = table, nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x * self.table(256))
        return out


def of_class(size: int) -> Tensor:
    if Tabled.kept is None:
        Tabled.kept = torch.linspace(0.5, 1, size)
    return Tabled.kept


def of_module(size: int) -> Tensor:
    if size not in TABLES:
        TABLES[size] = torch.linspace(0.5, 1, size)
    return TABLES[size]


def of_closure() -> Callable[[int], Tensor]:
    known: list[Tensor] = []

    def table(size: int) -> Tensor:
        if not known:
            known.append(torch.linspace(0.5, 1, size))
        return known[0]

    return table


def of_rebound_closure() -> Callable[[int], Tensor]:
    known: Tensor | None = None

    def table(size: int) -> Tensor:
        nonlocal known
        if known is None:
            known = torch.linspace(0.5, 1, size)
        return known

    return table


def of_object() -> Callable[[int], Tensor]:
    class Table:
        known: Tensor | None = None

        def of(self, size: int) -> Tensor:
            if self.known is None:
                self.known = torch.linspace(0.5, 1, size)
            return self.known

    return Table().of


@pytest.mark.parametrize("as_function", [False, True])
@pytest.mark.parametrize(
    "table",
    [
        bounded,
        lambda size: unbounded(size)[0],
        of_class,
        of_module,
        of_closure(),
        of_rebound_closure(),
        of_object(),
    ],
    ids=["lru_cache", "cache", "class", "module", "closure", "rebound closure", "object"],
)
def test_tables_that_a_model_fills_are_left_empty(
    table: Callable[[int], Tensor], as_function: bool
) -> None:
    model = Tabled(table)
    result = estimate((lambda: Tabled(table)) if as_function else model)
    assert (result.method, result.notes) == ("traced", ())
    assert type(table(256)) is Tensor
    cross_entropy(model(X), Y).backward()
    assert model.layer.weight.grad is not None
    assert type(model.layer.weight.grad.data) is Tensor


def test_what_was_cached_before_stays() -> None:
    bounded.cache_clear()
    before, other = bounded(256), bounded(7)
    estimate(Tabled(bounded))
    assert bounded(256) is before
    assert bounded(7) is other


def test_a_loss_that_keeps_a_mean_has_its_own() -> None:
    class Loss:
        mean: Any = None
        steps = 0

        def __call__(self, output: Tensor, target: Tensor) -> Tensor:
            loss = cross_entropy(output, target)
            self.mean = (
                loss.detach() if self.mean is None else 0.9 * self.mean + 0.1 * loss.detach()
            )
            return loss

    loss = Loss()
    estimate(mlp(), loss=loss)
    assert loss.mean is None
    loss.mean = before = torch.ones(())
    estimate(mlp(), loss=loss)
    assert loss.mean is before


def test_hooks_collect_nothing_without_values() -> None:
    model, collected = mlp(), [X]
    model[0].register_forward_hook(lambda *seen: collected.append(seen[-1]))
    estimate(model)
    assert collected == [X]


def test_a_backbone_that_gets_a_new_head_keeps_its_own() -> None:
    backbone = mlp()
    head, values = backbone[-1], [p.clone() for p in backbone.parameters()]
    first = next(backbone.parameters())
    first.grad = gradient = torch.ones_like(first)

    def build() -> nn.Module:
        backbone[-1] = nn.Linear(1024, 3)
        backbone.extra = nn.Parameter(torch.zeros(3))
        return backbone

    assert estimate(build, batch=(X, Y % 3)).method == "traced"
    assert backbone[-1] is head
    assert not hasattr(backbone, "extra")
    assert first.grad is gradient
    assert all(map(torch.equal, values, backbone.parameters()))


def test_a_frozen_backbone_is_thawed() -> None:
    backbone = mlp()

    def build() -> nn.Module:
        return nn.Sequential(backbone.requires_grad_(False), nn.Linear(10, 10))

    assert estimate(build).parts["gradients"] < 10_000
    assert all(p.requires_grad for p in backbone.parameters())


class Norm(nn.Module):
    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(256))

    def forward(self, x: Tensor) -> Tensor:
        return x - self.mean


def test_buffers_that_are_there_already_keep_their_values() -> None:
    norm = Norm()
    mean = norm.mean
    double = (X.double(), Y)
    estimate(lambda: nn.Sequential(norm, nn.Linear(256, 10)).double(), batch=double)
    assert norm.mean is mean
    assert type(norm.mean) is Tensor


@pytest.mark.parametrize("to", [torch.float64, "meta"])
def test_a_model_that_is_converted_after_a_function_asked_for_values_comes_back(to: Any) -> None:
    base = nn.Linear(256, 10)
    weight, values = base.weight, base.weight.clone()

    def build() -> nn.Module:
        torch.linspace(0, 1, 3).tolist()
        return base.to(to)

    with suppress(RuntimeError):  # on meta it cannot run
        estimate(build, batch=(X.double(), Y))
    assert base.weight is weight
    assert base.weight.dtype == torch.float32
    assert torch.equal(base.weight, values)


class Slotted:
    __slots__ = ("known",)
    known: Tensor


def test_what_cannot_be_found_is_told() -> None:
    place = Slotted()

    def table(size: int) -> Tensor:
        place.known = torch.linspace(0.5, 1, size)
        return place.known

    with pytest.warns(UserWarning, match="Tensors without values stayed somewhere"):
        (note,) = estimate(Tabled(table)).notes
    assert note.startswith("Tensors without values stayed somewhere")
    assert is_hollow(place.known)


def test_other_threads_convert_their_own_models_meanwhile() -> None:
    inside, done = threading.Event(), threading.Event()

    def build() -> nn.Module:
        inside.set()
        done.wait(10)
        return mlp().double()

    errors: list[Exception] = []

    def convert() -> None:
        inside.wait(10)
        try:
            assert nn.Linear(2, 2).double().weight.dtype == torch.float64
        except Exception as error:
            errors.append(error)
        done.set()

    thread = threading.Thread(target=convert)
    thread.start()
    estimate(build, batch=(X.double(), Y))
    thread.join()
    assert errors == []


def test_what_a_failed_attempt_wrote_is_put_back_before_real_steps() -> None:
    beside = nn.Linear(10, 10)

    class Asking(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            int(self.param_groups[0]["params"][0].sum().item())
            return super().step(closure)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(beside(output), target)

    result = estimate(mlp(), optimizer=lambda p: Asking(p, 0.1), loss=loss)
    assert result.method in ("traced", "measured")
    assert not is_hollow([p.grad for p in beside.parameters()])
    assert type(beside.weight.data) is Tensor
