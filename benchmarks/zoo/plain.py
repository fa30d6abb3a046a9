"""A plain training loop, which knows nothing of the probe: what a verdict is held against."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.zoo.specification import BUDGET, Entry

LABELS = ("labels", "label", "targets", "target", "y")

CLEARLY = 0.03
"""By so much of what it starts from a loss must fall on fresh batches to be said to train."""

EVERY = 50
"""Steps between two looks at fresh batches: some of these models begin to overfit early."""

ENOUGH = 200
"""Steps that are made at least; further ones, up to the budget, where it does not train clearly."""


@dataclass(frozen=True)
class Trained:
    """What a short training came to, on fresh batches in evaluation mode.

    Attributes:
        steps: Made.
        before: Loss before the first.
        after: The least loss at any look.
        seconds: Of all of it.
        ended: Whether it had all the steps it may have, or broke; not cut for time.
    """

    steps: int
    before: float
    after: float
    seconds: float
    ended: bool = True

    def trains(self, constant: float) -> bool:
        """Whether it falls clearly below its start and below the best constant, where known."""
        start = min(self.before, constant) if math.isfinite(constant) else self.before
        if not math.isfinite(start):
            start = constant
        return self.after < start - CLEARLY * abs(start)


def output_of(entry: Entry, model: nn.Module, batch: Any) -> Any:
    """Of a forward pass without the target, as for a prediction."""
    call = entry.call or entry.training.call
    if call is not None:
        return call(model, batch)
    if isinstance(batch, Mapping):
        names = {k: v for k, v in batch.items() if k not in LABELS}
        return model(batch) if takes_batch(model) else model(**names)
    if isinstance(batch, (tuple, list)) and type(batch[0]) is tuple:  # no PackedSequence
        return model(*batch[0])
    return model(*batch[:-1]) if isinstance(batch, (tuple, list)) else model(batch)


def takes_batch(model: nn.Module) -> bool:
    """Whether ``forward(batch)`` wants the mapping itself, by the name of its argument."""
    code = getattr(model.forward, "__code__", None)
    return code is not None and code.co_varnames[1:2] == ("batch",)


def loss_of(entry: Entry, model: nn.Module, batch: Any) -> Tensor:
    """The loss that the loop would take the gradient of."""
    trial = entry.training
    if trial.loss is None:
        if trial.call is not None:
            output = trial.call(model, batch)
        elif isinstance(batch, Mapping):
            output = model(batch) if takes_batch(model) else model(**batch)
        else:
            output = model(*batch) if isinstance(batch, (tuple, list)) else model(batch)
        if isinstance(output, Mapping) and "loss" not in output:
            return torch.stack(list(output.values())).sum()  # as detectors are trained
        found = output["loss"] if isinstance(output, Mapping) else getattr(output, "loss", output)
        found = found[0] if isinstance(found, tuple) else found
        assert isinstance(found, Tensor)
        return found
    output = trial.call(model, batch) if trial.call is not None else output_of(entry, model, batch)
    if isinstance(batch, Mapping):
        target = next(batch[name] for name in LABELS if name in batch)
    else:
        target = batch[-1] if isinstance(batch, (tuple, list)) else batch.y
    return trial.loss(output, target)


def fresh_loss(entry: Entry, model: nn.Module, batches: list[Any]) -> float:
    """Mean over batches, in evaluation mode, the same random numbers each time.

    With gradients recorded, as some models differentiate in their forward pass.
    """
    state = torch.get_rng_state()
    torch.manual_seed(1)
    model.eval()
    try:
        losses = [loss_of(entry, model, batch).item() for batch in batches]
    except Exception:
        model.train()  # such as detectors, which give a loss in training mode only
        losses = [loss_of(entry, model, batch).item() for batch in batches]
    torch.set_rng_state(state)
    model.train()
    return sum(losses) / len(losses)


def trained(entry: Entry, constant: float, limit: float) -> Trained:
    """Build it anew and train it until that is clear, for its budget, or for so many seconds.

    Args:
        entry: Of the zoo.
        constant: Loss of the best constant prediction, NaN where unknown.
        limit: Seconds.
    """
    start = time.perf_counter()
    torch.manual_seed(0)
    model = entry.build()
    batches, fresh = entry.batches(0), entry.batches(1)
    factory = entry.training.optimizer
    assert not isinstance(factory, torch.optim.Optimizer)
    optimizer = factory(model.parameters())
    before = after = fresh_loss(entry, model, fresh)
    model.train()
    for step in range(1, BUDGET + 1):
        optimizer.zero_grad()
        loss = loss_of(entry, model, batches[(step - 1) % len(batches)])
        loss.backward()
        optimizer.step()
        late = time.perf_counter() - start > limit
        if step % EVERY == 0 or late:
            now = fresh_loss(entry, model, fresh)
            after = now if not after <= now else after
        broken = not math.isfinite(loss.item())
        ended = broken or step == BUDGET
        found = Trained(step, before, after, time.perf_counter() - start, ended)
        if late or broken or (step >= ENOUGH and step % EVERY == 0 and found.trains(constant)):
            break
    return found


def forward_seconds(entry: Entry, model: nn.Module, batches: list[Any], samples: int) -> float:
    """Of a plain forward pass over so many samples, the better of two; NaN where it raises."""
    count = max(-(-samples // size_of(batches[0])), 1)
    model.eval()
    best = math.inf
    for _ in range(2):
        start = time.perf_counter()
        try:
            with torch.no_grad():
                for batch in batches[:count]:
                    output_of(entry, model, batch)
        except Exception:
            try:  # some need autograd, or training mode
                model.train()
                start = time.perf_counter()
                for batch in batches[:count]:
                    output_of(entry, model, batch)
            except Exception:
                return math.nan
        best = min(best, time.perf_counter() - start)
    return best


def size_of(batch: Any) -> int:
    """Samples of a batch."""
    if hasattr(batch, "num_graphs"):
        return int(batch.num_graphs)
    if isinstance(batch, Mapping):
        return len(next(v for v in batch.values() if isinstance(v, Tensor)))
    if isinstance(batch, (tuple, list)):
        return size_of(batch[-1]) if not isinstance(batch[0], Tensor) else len(batch[0])
    return len(batch)
