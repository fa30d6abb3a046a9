"""The trial's optimizer, at the largest rate that it will reach."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Iterator
from functools import partial

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from recent_prune.probe.batches.raising import raising
from recent_prune.probe.first_steps.training import Training
from recent_prune.probe.restoring.interrupts import putting_back
from recent_prune.probe.restoring.objects import attributes_restored

MOST_SCHEDULED = 10_000
"""Steps over which a schedule is followed where the budget is unknown or longer."""


@putting_back
def prepared(model: nn.Module, training: Training, factor: float = 1.0) -> Iterator[Optimizer]:
    """The optimizer at the largest rates of its schedule; it comes back as it was.

    Args:
        model: Whose parameters it is over.
        training: As the user gave it.
        factor: Of the rates.

    Raises:
        TypeError: If what is given, or made, is no optimizer or no schedule.
        Exception: What the user's functions raise, with a note.
        ValueError: If it has parameters of another model, or none that trains.
    """
    given = training.optimizer
    with raising("the function `optimizer`"):
        made = given if isinstance(given, Optimizer) else given(model.parameters())
    optimizer = checked(made, model)
    with attributes_restored(optimizer, model=model):
        if callable(begin := getattr(optimizer, "train", None)):  # schedule-free ones have modes
            begin()
        rates = [factor * rate for rate in _largest(optimizer, training)]
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            if group.get("lr") is None:
                continue
            tensor = torch.is_tensor(group["lr"])  # that of a captured graph
            group["lr"] = torch.full_like(group["lr"], rate) if tensor else rate
        yield optimizer


def needs_closure(optimizer: Optimizer) -> bool:
    """Whether ``step`` wants to evaluate the loss itself, as that of LBFGS does."""
    step = inspect.signature(type(optimizer).step).parameters
    return "closure" in step and step["closure"].default is inspect.Parameter.empty


def asks_for_closure(optimizer: Optimizer, error: Exception) -> bool:
    """Whether ``step()`` raised since it wants a closure that it declares optional, as SAM does."""
    if "closure" not in inspect.signature(type(optimizer).step).parameters:
        return False
    bare = isinstance(error, AssertionError) and not str(error) and _is_raised_by_step(error)
    return bare or "closure" in str(error) or "'NoneType' object is not callable" in str(error)


def _is_raised_by_step(error: Exception) -> bool:
    """Whether by ``step`` itself, and nothing that it calls."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return place is not None and "closure" in place.tb_frame.f_code.co_varnames


def starts_slowly(optimizer: Optimizer) -> bool:
    """Whether it has a warm-up of its own, or first has to find its rate.

    RAdam moves like plain SGD until its variance is known; Prodigy and D-Adaptation begin at a
    millionth (``d0``); schedule-free optimizers may have ``warmup_steps``.
    """
    warms_up = any(
        group.get("d0") is not None or any(value for key, value in group.items() if "warmup" in key)
        for group in optimizer.param_groups
    )
    return warms_up or "radam" in type(optimizer).__name__.lower()


def _largest(optimizer: Optimizer, training: Training) -> list[float]:
    """The largest rate that each parameter group reaches."""
    groups = optimizer.param_groups
    known = [_known_rate(group) for group in groups]
    if training.learning_rate is not None:
        most = max(known)
        return [training.learning_rate * (rate / most if most > 0 else 1.0) for rate in known]
    scheduler = training.scheduler
    if scheduler is None:
        return known
    if not isinstance(scheduler, (LRScheduler, ReduceLROnPlateau)):
        scheduler = _followed_from(optimizer, scheduler)
    elif scheduler.optimizer is not optimizer:
        raise ValueError(
            "`scheduler` must be over the trial's `optimizer`, but is over another: give both as "
            "objects, or the scheduler as a function from the optimizer to one."
        )
    return reached(scheduler, min(training.budget or MOST_SCHEDULED, MOST_SCHEDULED))


def _known_rate(group: dict[str, object]) -> float:
    """The rate that a schedule was built around, or the group's own."""
    rates = (group.get(name) for name in ("lr", "initial_lr", "max_lr"))
    return max((float(rate) for rate in rates if rate is not None), default=0.0)  # type: ignore[arg-type]


def _followed_from(optimizer: Optimizer, factory: object) -> LRScheduler:
    with raising("the function `scheduler`"):
        made = factory(optimizer)  # type: ignore[operator]
    if not isinstance(made, LRScheduler):
        raise TypeError(
            "`scheduler` must be a torch.optim.lr_scheduler.LRScheduler or a function from the "
            f"optimizer to one, but got {type(made).__name__}."
        )
    return made


def reached(scheduler: LRScheduler, steps: int) -> list[float]:
    """The largest rates over so many steps, of a copy.

    It shares the parameters, and modules whose methods say the rate: a copy of those would know
    nothing of what they are in, as a LightningModule of its trainer.
    """
    optimizer = scheduler.optimizer
    shared: dict[int, object] = {
        id(p): p for group in optimizer.param_groups for p in group["params"]
    }
    shared |= {id(module): module for module in _asked(scheduler)}
    # Nor is the state of a run that goes on copied: it may be twice as large as the model.
    followed = copy.deepcopy(scheduler, {**shared, id(optimizer.state): {}})
    most = [float(group["lr"]) for group in followed.optimizer.param_groups]
    if isinstance(followed, ReduceLROnPlateau):  # it can only go down
        return most
    with warnings.catch_warnings(action="ignore"):  # no optimizer steps before it here
        for _ in range(steps):
            try:
                followed.step()
            except ValueError:  # a one-cycle schedule that is over
                break
            now = [float(group["lr"]) for group in followed.optimizer.param_groups]
            most = [max(pair) for pair in zip(most, now, strict=True)]
    return most


def _asked(scheduler: LRScheduler) -> Iterator[nn.Module]:
    for part in (scheduler, *getattr(scheduler, "_schedulers", ())):
        for each in (*vars(part).values(), *getattr(part, "lr_lambdas", ())):
            while isinstance(each, partial):
                each = each.func
            owner = getattr(each, "__self__", each)
            if isinstance(owner, nn.Module):
                yield owner


def checked(optimizer: object, model: nn.Module) -> Optimizer:
    """An optimizer that trains parameters of the model, and no others.

    Raises:
        TypeError: If it is no optimizer.
        ValueError: If it has parameters of another model, or none that trains.
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            "`optimizer` must be a torch.optim.Optimizer or a function from parameters to one, "
            f"but got {type(optimizer).__name__}."
        )
    known = {id(parameter) for parameter in model.parameters()}
    own = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    foreign = [tuple(p.shape) for p in own if id(p) not in known]
    if foreign:
        raise ValueError(
            f"`optimizer` ({type(optimizer).__name__}) must be over parameters of `model`, but "
            f"{len(foreign)} of its {len(own)} are of another, the first of shape {foreign[0]}. "
            "Where the loss has parameters that train, give one module of model and loss that "
            "returns its loss, and `loss=None`."
        )
    if not any(parameter.requires_grad for parameter in own):
        raise ValueError(
            f"`optimizer` ({type(optimizer).__name__}) must have a parameter that trains, but "
            f"all its {len(own)} are frozen (requires_grad=False)."
        )
    return optimizer
