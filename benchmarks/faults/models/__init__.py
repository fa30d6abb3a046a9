"""Random models, data and trainings, most of them odd or broken: what does a probe leave behind?

A case is drawn by its number (`cases.drawn_case`): a small random module (`networks`) with quirks
(shared, frozen and lazy parameters; modules that replace, write to or add parameters and buffers,
count, draw random numbers, switch their mode, need gradients), data of many types, shapes and forms
with flaws (`data`), a loss, an optimizer and a schedule (`training`), another thread that trains or
probes meanwhile (`beside`), and a fuse (`fuses`): an error at the n-th call of the forward or
backward pass, loss, ``step()``, loader, a hook, or the function that makes the optimizer or its
schedule; memory that runs out; NaN or infinity from a call on; or an interrupt at a random line of
the probe itself. ``rp.probe`` is called once, or ``rp.probe_many`` with two to four models.

Counted are, a case at most once each:

- **silent verdicts**: a trial is condemned though its fuse's error was raised while it was probed,
  unless its own first steps broke; or a loss, gradient norm, update, root mean square of
  activations or of inputs is not finite, or the fuse has put a number that is not finite into the
  model's outputs, their loss, gradients or a parameter, and neither the verdict's cause nor its
  reason, nor a note or warning says so, or that the model does not say the same twice, or that this
  pass raised and another was judged. (Where the probe asks the loss about a constant prediction, or
  looks for a critical rate, no number is the trial's; nor does a verdict rest on the rate. A
  gradient scaler skips a step whose gradient is not finite, and it is made again; LBFGS asks again
  elsewhere; in an image's gradient it may be where a ReLU is off; and what cannot be run in a stack
  is probed again by itself.)
- **things not put back**: of models, loss, optimizer, schedule, scaler, data, loader and its
  generator, and of Python, anything that is not the same object with the same bits, types, flags,
  gradients, hooks and modes (`states`).
- **errors that do not name what was wrong**: one that is neither a TypeError or ValueError that
  names an argument, nor has a note that says where it was raised: batch, step, or function of the
  user's. Interrupts need none.
- **errors of the user's that came out as another**, or at another model of several.
- **left in memory**: models, data, losses and optimizers that are alive when the case is let go of
  and the garbage collector has run.
- **threads beside that got something else** than they get alone, to the last bit.
- **results that are not the same from JSON**.

Memory is that of the process, before and after the first thousand cases are run again in the end:
PyTorch keeps what it has prepared for each shape that it meets, so that new cases add to it.
"""

from __future__ import annotations

import gc
import math
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from benchmarks.faults.counted import Counted
from benchmarks.faults.models.checks import Checked, What, checked

CASES = 10_000
"""As many as there is time for, at most."""

MEASURED = 1_000
"""Cases between two looks at the memory."""


def measure(seed: int, until: float) -> list[Counted]:
    """Run cases until there are `CASES`, or time is up; standard error tells what was found."""
    gc.freeze()  # what is imported need not be looked through after each case
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where it runs behind a shell
    counts: Counter[str] = Counter()
    number = 0
    while number < CASES and time.monotonic() < until:
        _count(counts, checked(seed, number))
        number += 1
        if number % MEASURED == 0:
            print(number, dict(counts), f"{_resident():.1f} MiB", file=sys.stderr, flush=True)
    again = min(number, MEASURED)
    before = _resident()
    for known in range(again):
        checked(seed, known)
    return _rows(counts, number, (_resident() - before) * MEASURED / again if again else math.nan)


def _count(counts: Counter[str], case: Checked) -> None:
    counts.update({finding.what for finding in case.findings})
    counts.update([case.outcome, f"fault: {case.fault}"])
    for finding in case.findings:
        print(finding, file=sys.stderr, flush=True)


def _rows(counts: Counter[str], number: int, growth: float) -> list[Counted]:
    faults = ("raises", "not finite", "interrupted")
    told = ", ".join(f"{counts[f'fault: {fault}']:,} {fault}" for fault in faults)
    note = f"{told}; {counts['judged']:,} judged, {counts['raised']:,} raised the fuse's error"
    rows = [Counted("random models", "cases", number, goal=f"≥ {CASES:,}", note=note)]
    rows += [Counted("random models", what, counts[what], number, goal="0") for what in What]
    if number:
        what = f"growth of memory over {MEASURED:,} cases that were run before, MiB"
        rows.append(Counted("random models", what, growth, goal="≤ 1"))
    return rows


def _resident() -> float:
    """Memory of this process, MiB."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
