"""What is wrong about what came of a case."""

from __future__ import annotations

import json
import math
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import recent_prune as rp
from benchmarks.faults.models.cases import Case, Outcome, Ran, drawn_case, left, run, witnesses
from recent_prune.rules.verdict import Cause


class What(StrEnum):
    """The kinds of faults that are counted, defined in the package's docstring."""

    SILENT = "silent verdicts"
    CHANGED = "things not put back"
    UNNAMED = "errors that do not name what was wrong"
    FOREIGN = "errors of the user's that came out as another, or at another model"
    LEFT = "models, data, losses or optimizers left in memory"
    BESIDE = "threads beside that got something else"
    STORED = "results that are not the same from JSON"


@dataclass(frozen=True)
class Finding:
    """One fault, with the case that shows it."""

    what: What
    detail: str
    case: str

    def __str__(self) -> str:
        """In one line."""
        return f"{self.what}: {self.detail} [{self.case}]"


@dataclass(frozen=True)
class Checked:
    """What a case showed.

    Attributes:
        findings: What was wrong.
        outcome: "judged", "refused" (an error without a fault of the harness) or "raised".
        fault: What the fuse was, if it burnt: "raises", "not finite", "interrupted" or "".
    """

    findings: list[Finding]
    outcome: str
    fault: str


def checked(seed: int, number: int) -> Checked:
    """Run a case and look at what came of it."""
    told, details, watched, outcome, fault = _looked_at(seed, number)
    details += [(What.LEFT, name) for name in left(watched)]
    return Checked([Finding(what, detail, told) for what, detail in details], outcome, fault)


def _looked_at(seed: int, number: int):  # type: ignore[no-untyped-def]
    """All that the case held is let go of when this returns."""
    case = drawn_case(seed, number)
    found, told = run(case), str(case)
    details = list(_details(case, found))
    fuse = case.fuse
    fault = ""
    if fuse.fired:
        spoilt = "interrupted" if fuse.place == "line" else "not finite"
        fault = spoilt if fuse.error is None or fuse.place == "line" else "raises"
    first = found.outcomes[0]
    outcome = "judged" if isinstance(first, rp.ProbeResult) else "refused"
    if outcome == "refused" and fuse.raised:
        outcome = "raised"
    # A fuse in a graph, and an error in it whose frames hold the graph: no collector sees through.
    fuse.raised.clear()
    return told, details, witnesses(case), outcome, fault


def _details(case: Case, found: Ran) -> Iterator[tuple[What, str]]:
    for name in found.changed:
        yield What.CHANGED, name
    if found.harmed and case.fuse.place != "global hook":  # which is the thread's as well
        yield What.BESIDE, found.harmed
    for place, outcome in enumerate(found.outcomes):
        if isinstance(outcome, rp.ProbeResult):
            yield from _of_result(case, outcome, " ".join(found.warned), place)
        else:
            yield from _of_error(case, outcome, place)


def _of_result(
    case: Case, result: rp.ProbeResult, warned: str, place: int
) -> Iterator[tuple[What, str]]:
    stored = rp.ProbeResult.from_dict(json.loads(json.dumps(result.to_dict(), allow_nan=False)))
    if stored != result:
        yield What.STORED, repr(result)
    verdict = rp.TrainabilityRule()(result)
    told = " ".join([verdict.reason, *result.notes, warned])
    if result.before is not None:
        told += rp.TrainabilityRule()(result.before).reason
    fuse = case.fuse if place == 0 else None
    steps_broke = result.steps is not None and result.steps.nonfinite_step is not None
    raised = fuse is not None and fuse.raised and fuse.counted and not steps_broke
    if raised and not verdict.trainable:
        yield What.SILENT, f"condemned though {fuse!r} was raised: {verdict.reason}"
    spoilt = fuse is not None and fuse.error is None and fuse.counted
    if case.scales and case.fuse.place == "backward":
        spoilt = False  # such a step is made again
    if place == 0 and case.asks_again and case.fuse.place in ("forward", "backward", "loss"):
        spoilt = False  # a line search drops what it was told too far away
    run_again = case.fuse.place == "forward" and case.fuse.calls > case.fuse.number
    if case.many and not case.trainings and run_again and not case.fuse.lasting:
        spoilt = False  # what cannot be run in a stack is probed again by itself
    if case.kind == "image" and case.fuse.place == "backward":
        spoilt = False  # it is behind a ReLU, and may be where that is off
    said = verdict.cause is Cause.NONFINITE or any(
        part in told for part in ("finite", "by inf times", "same twice", "otherwise it raised")
    )
    if (spoilt or not _is_finite(result)) and not said:
        yield What.SILENT, f"not finite, but it says: {verdict.reason}"


def _is_finite(result: rp.ProbeResult) -> bool:
    """Whether all numbers that a verdict may rest on are finite."""
    steps = result.steps
    numbers = [*result.activation_rms, result.input_rms]
    if steps is not None:
        numbers += [*steps.losses, *steps.gradient_norms, steps.loss_before, steps.loss_after]
        numbers += [steps.update]
    return result.nonfinite_layer is None and all(map(math.isfinite, numbers))


def _of_error(case: Case, error: Outcome, place: int) -> Iterator[tuple[What, str]]:
    assert isinstance(error, BaseException)
    raised, chain = case.fuse.raised, list(_chain(error))
    # Where none is counted, it was no error of the trial's.
    own = list(raised) if place == 0 and case.fuse.counted else []
    if case.fuse.place == "global hook":  # of all models
        own = [error] if isinstance(error, tuple(map(type, raised))) else []
    *_, last = [None, *traceback.extract_tb(error.__traceback__)]
    where = "" if last is None else f" ({Path(last.filename).name}:{last.lineno})"
    gist = f"{type(error).__name__}: {str(error)[:120]}{where}"
    if own and not any(link is one for link in chain for one in own):
        yield What.FOREIGN, f"{own!r} came out as {gist}"
    elif place and case.fuse.place != "global hook" and any(one in chain for one in raised):
        yield What.FOREIGN, f"{raised!r} came out at model {place}"
    if not isinstance(error, Exception):
        return
    notes = "\n".join(getattr(error, "__notes__", []))
    if isinstance(error.__cause__, StopIteration) and "raised StopIteration" in str(error):
        # What Python makes of it within a generator.
        notes += "\n".join(getattr(error.__cause__, "__notes__", []))
    frames = notes + "".join(traceback.format_tb(error.__traceback__))
    if "Raised " not in notes:
        ours = isinstance(error, (ValueError, TypeError)) and "`" in str(error)
        if not ours and all(error is not one for one in own):
            yield What.UNNAMED, f"{gist}, of no documented type, without a note"
        elif not ours:
            yield What.UNNAMED, f"{gist}, without a note"
    elif "in make_steps" in frames and "first step" not in notes:
        yield What.UNNAMED, f"{gist}, without its step: {notes[:200]}"
    elif "function `" not in notes and "batch" not in notes:
        yield What.UNNAMED, f"{gist}, without its batch: {notes[:200]}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
