"""One case: a drawn model with its data, its training, and what goes wrong."""

from __future__ import annotations

import gc
import random
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from torch.utils.hooks import RemovableHandle

import recent_prune as rp
from benchmarks.faults.models.beside import beside
from benchmarks.faults.models.data import FLAWS, FORMS, drawn_samples, flawed, in_form
from benchmarks.faults.models.fuses import Fuse, drawn_fuse
from benchmarks.faults.models.networks import CLASSES, KINDS, Drawn, drawn_quirks
from benchmarks.faults.models.states import State, differences, state_of, state_of_python
from benchmarks.faults.models.training import drawn_training
from recent_prune.probe.first_steps.optimizers import needs_closure

Outcome = rp.ProbeResult | BaseException

DTYPES = (torch.float64, torch.float16, torch.bfloat16)
"""What a tenth of the models have instead of float32."""


@dataclass
class Case:
    """A drawn case.

    Attributes:
        seed: Of the run.
        number: In it; both together give the case again.
        fuse: What goes wrong.
        kind: What goes in, see `networks.KINDS`.
        quirks: Of its first model, see `networks.QUIRKS`.
        flaw: Of its data, see `data.FLAWS`, or "".
        form: How its batches come, see `data.FORMS`.
        beside: What another thread does meanwhile: "trains", "probes" or "".
        many: How many models are probed together; 0 is one by `probe`.
        models: The first of which has the fuse and the quirks.
        trainings: One for each, or none.
        inputs: As they are given to the probe.
        parts: The tensors that they are made of.
    """

    seed: int
    number: int
    fuse: Fuse
    kind: str = ""
    quirks: frozenset[str] = frozenset()
    flaw: str = ""
    form: str = ""
    beside: str = ""
    many: int = 0
    models: list[nn.Module] = field(default_factory=list)
    trainings: list[rp.Training] = field(default_factory=list)
    inputs: Any = None
    parts: tuple[Any, ...] = ()

    @property
    def scales(self) -> bool:
        """Whether the loss of its first model is scaled, as for mixed precision."""
        return bool(self.trainings) and self.trainings[0].scaler is not None

    @property
    def asks_again(self) -> bool:
        """Whether the optimizer of its first model asks for the loss several times a step."""
        made = self.trainings[0].optimizer if self.trainings else None
        if made is not None and not isinstance(made, torch.optim.Optimizer):
            made = made([nn.Parameter(torch.zeros(1))])
        return made is not None and needs_closure(made)

    def __str__(self) -> str:
        """As a reader needs it to see the case again."""
        told = [*sorted(self.quirks), self.flaw, self.beside and f"a thread {self.beside}"]
        odd = ", ".join(filter(None, told)) or "plain"
        how = f"{'probe_many' if self.many else 'probe'}, {len(self.trainings)} trained"
        return f"{self.seed} {self.number}: {self.kind} as {self.form}; {odd}; {how}; {self.fuse!r}"


def drawn_case(seed: int, number: int) -> Case:
    """The case of that number: the same each time, its weights and data included."""
    draw = random.Random(f"{seed} {number}")
    torch.manual_seed(draw.getrandbits(32))
    np.random.seed(draw.getrandbits(32))
    random.seed(draw.getrandbits(32))
    case = Case(seed, number, drawn_fuse(draw), draw.choice(KINDS), drawn_quirks(draw))
    case.flaw = draw.choice(FLAWS) if draw.random() < 0.1 else ""
    case.form = draw.choice(FORMS)
    if case.fuse.place == "loader":
        case.form = draw.choice(("list", "generator"))
    case.beside = draw.choice(("trains", "probes")) if draw.random() < 0.04 else ""
    case.many = draw.randint(2, 4) if draw.random() < 0.12 else 0
    width, count = draw.randint(2, 8), draw.choice((24, 32, 40))
    if case.flaw == "few":
        count = 12
    architecture = draw.getrandbits(32)
    for place in range(case.many or 1):
        own = (case.quirks, case.fuse) if place == 0 else (frozenset(), Fuse())
        model = Drawn(random.Random(architecture), case.kind, width, *own)
        case.models.append(model)
    inputs = drawn_samples(draw, case.kind, width, count)
    case.parts = flawed(inputs, torch.randint(0, CLASSES, (count,)), case.flaw)
    _give_types(case, draw)
    _give_batches(case, width)
    trainable = case.form != "inputs alone" and "no parameters" not in case.quirks
    if trainable and draw.random() < 0.75:
        case.trainings = [drawn_training(draw, m, m.fuse) for m in case.models]  # type: ignore[arg-type]
    if draw.random() < 0.3:
        case.models[0].eval()
    return case


def _give_batches(case: Case, width: int) -> None:
    size = 1 if case.flaw == "single sample" else 8
    case.inputs = in_form(case.parts, case.form, size, case.kind, case.fuse)
    given: dict[str, Any] = {"no batch": [], "text": ["a", "b"], "empty": [torch.zeros(0, width)]}
    case.inputs = given.get(case.flaw, case.inputs)


def _give_types(case: Case, draw: random.Random) -> None:
    """Lazy parameters one forward pass, some; a tenth another type than the data."""
    if "lazy, run" in case.quirks and case.kind in ("vector", "two", "mapping"):
        with torch.no_grad():
            case.models[0].stem(case.parts[0].float())  # type: ignore[operator]
    if draw.random() < 0.1 and case.kind != "complex":
        dtype = draw.choice(DTYPES)
        for model in case.models:
            model.to(dtype)
        if draw.random() < 0.8:  # the data as well
            case.parts = tuple(p.to(dtype) if p.is_floating_point() else p for p in case.parts)


@contextmanager
def hooked(case: Case) -> Iterator[None]:
    """Hooks of the user's in which the fuse may burn; the global one comes off on leaving."""
    fuse, place = case.fuse, case.fuse.place
    head: Any = case.models[0].head

    def burning(*_: object) -> None:
        fuse.raising(place)

    handles: list[RemovableHandle] = []
    if place == "forward hook":
        head.register_forward_hook(burning)
    elif place == "pre-hook":
        head.register_forward_pre_hook(burning)
    elif place == "backward hook":
        head.register_full_backward_hook(burning)
    elif place == "gradient hook":
        for parameter in head.parameters():
            if parameter.requires_grad:
                parameter.register_hook(burning)
    elif place == "global hook":
        handles.append(register_module_forward_hook(burning))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def state(case: Case) -> State:
    """All that the case's probe must leave as it was."""
    found: dict[str, object] = dict(state_of_python())
    seen: set[int] = set()
    for place, model in enumerate(case.models):
        found.update(state_of(model, f"model {place}", seen))
    for place, training in enumerate(case.trainings):
        found.update(state_of(vars(training), f"training {place}", seen))
    found.update(state_of(case.parts, "data", seen))
    if case.form in ("loader", "resumable"):
        found.update(state_of(getattr(case.inputs, "generator", case.inputs), "loader", seen))
    return found


@dataclass
class Ran:
    """What came of a case.

    Attributes:
        outcomes: For each model its result or error.
        changed: Names of what was not put back.
        warned: Texts of warnings.
        harmed: What the thread beside got, where that was not what it gets alone.
    """

    outcomes: list[Outcome]
    changed: list[str]
    warned: list[str]
    harmed: str = ""


def run(case: Case) -> Ran:
    """Probe it, and look what is as it was."""
    with hooked(case), ExitStack() as stack:
        before = state(case)
        other = stack.enter_context(beside(case.beside))
        with warnings.catch_warnings(record=True) as caught, case.fuse.lit():
            warnings.simplefilter("always")
            outcomes = _outcomes(case)
        harmed = other()
        after = state(case)
    changed = differences(before, after)
    return Ran(outcomes, changed, [str(w.message) for w in caught], harmed)


def _outcomes(case: Case) -> list[Outcome]:
    try:
        if case.many:
            trainings = case.trainings or None
            found = rp.probe_many(case.models, case.inputs, training=trainings, progress=False)
            return list(found)
        training = case.trainings[0] if case.trainings else None
        return [rp.probe(case.models[0], case.inputs, training=training)]
    except BaseException as error:
        return [error]


def witnesses(case: Case) -> list[tuple[str, Callable[[], object]]]:
    """Weak references to what must not outlive the case, by name."""
    named: list[tuple[str, Any]] = [("model", model) for model in case.models]
    named += [("data", part) for part in case.parts if isinstance(part, torch.Tensor)]
    named += [("loss", training.loss) for training in case.trainings if training.loss]
    optimizers = [training.optimizer for training in case.trainings]
    named += [("optimizer", o) for o in optimizers if isinstance(o, torch.optim.Optimizer)]
    return [(name, weakref.ref(value)) for name, value in named]


def left(watched: list[tuple[str, Callable[[], object]]]) -> list[str]:
    """Names of what is still there, after the garbage collector has run."""
    if any(reference() is not None for _, reference in watched):
        gc.collect()
    return [name for name, reference in watched if reference() is not None]
