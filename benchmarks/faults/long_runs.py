"""Does a study stay as quick and as small after ten thousand trials as it was after a hundred?

Studies of 10,000 trials, each in a process of its own: under plain Optuna, under plain Optuna that
writes as many attributes as this package does (so that what Optuna makes of them is told apart),
and under the pruner: by a rule, by rank (`keep=1/8`) and by a `CertifiedRule`. The model is really
probed once, and what came of it is told again with another loss for each trial: what is measured is
the pruner and what it stores, not the probe, whose time is measured by itself and added where "a
trial" is told. Nothing is trained. Times are those of the process on its CPU, medians of the first
200 trials (around the 100th) and of the last 200; memory is what the process holds, after a
collection, at the last trial less at the 200th. Each study is audited after a tenth of its trials,
and in the end.
"""

from __future__ import annotations

import gc
import json
import math
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import numpy as np
import optuna
import torch
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import Trial, TrialState
from torch import nn

import recent_prune as rp
from benchmarks.faults.counted import Counted
from recent_prune.optuna import ReconstructionEntropyPruner, audit, probe_trial

TRIALS = 10_000
SHORT = 1_000
"""Of a study on a file, where only the bytes that a trial takes are asked for."""

WINDOW = 200
"""Trials that a time is the median of."""


@dataclass(frozen=True)
class Case:
    """A study.

    Attributes:
        judged: By what: one of `PRUNERS`; "plain" and "attributes" are Optuna without this package.
        storage: "memory", "sqlite" or "journal".
        trials: How many.
    """

    judged: str
    storage: str
    trials: int

    def __str__(self) -> str:
        return f"{self.judged}, {self.storage}"


@dataclass(frozen=True)
class Run:
    """What was seen of it.

    Attributes:
        trials: How many there was time for.
        early: Milliseconds of a trial around the 100th.
        late: Of the last ones.
        grown: MiB of memory that came to the process between them.
        stored: Bytes of the file, a trial; NaN in memory.
        audits: Milliseconds a trial that an audit of the first tenth took, and one of all.
    """

    trials: int
    early: float
    late: float
    grown: float
    stored: float
    audits: tuple[float, float]


class ByLoss:
    """Keeps all, and ranks by the loss after the first steps."""

    def __call__(self, result: rp.ProbeResult) -> rp.Verdict:
        """Fine, whatever it is."""
        assert result.steps is not None
        return rp.Verdict(True, 0.0, f"Its loss came to {result.steps.loss_after:.2f}.")

    def score(self, result: rp.ProbeResult) -> float:
        """The lower the loss the better."""
        assert result.steps is not None
        return -result.steps.loss_after


PRUNERS: dict[str, Callable[[], ReconstructionEntropyPruner]] = {
    "a rule": lambda: ReconstructionEntropyPruner(ByLoss()),
    "keep=1/8": lambda: ReconstructionEntropyPruner(ByLoss(), keep=1 / 8),
    "CertifiedRule": lambda: ReconstructionEntropyPruner(
        rp.CertifiedRule(better_than=0.7, max_false_prune_rate=0.05)
    ),
}

CASES = [
    *(Case(judged, "memory", TRIALS) for judged in ("plain", "attributes", *PRUNERS)),
    *(Case(judged, "journal", SHORT) for judged in ("plain", "keep=1/8")),
    *(Case(judged, "sqlite", SHORT) for judged in ("plain", "keep=1/8")),
    *(Case(judged, "sqlite", TRIALS) for judged in ("attributes", "keep=1/8")),
]


def measure(seed: int, until: float) -> list[Counted]:
    """Figures of all studies; `until` is a `time.monotonic`."""
    forked = multiprocessing.get_context("forkserver")
    forked.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(1, mp_context=forked) as one:
        probe = one.submit(probe_milliseconds).result()
    rows = [Counted("a tiny MLP, 6 first steps", "ms of CPU, the probe by itself", probe)]
    before: dict[Case, Run] = {}
    for number, case in enumerate(CASES):
        share = (until - time.monotonic()) / (len(CASES) - number)
        with ProcessPoolExecutor(1, mp_context=forked) as one:
            run = before[case] = one.submit(run_case, case, seed, share).result()
        rows += figures(case, run, before, probe)
    return rows


def figures(case: Case, run: Run, before: dict[Case, Run], probe: float) -> list[Counted]:
    """What a study comes to, beside those that were run before it."""
    told, note = f"{case}, {case.trials:,} trials", ""
    if run.trials < case.trials:
        note = f"time was up after {run.trials} trials"
    rows = [
        Counted(told, "ms of CPU a trial, around the 100th", run.early, note=note),
        Counted(told, "ms of CPU a trial, the last ones", run.late, note=note),
        Counted(told, "MiB that came to the process", run.grown, note=note),
    ]
    if not math.isnan(run.stored):
        rows.append(Counted(told, "bytes a trial on disk", run.stored, note=note))
    if case.judged not in PRUNERS:
        return rows
    ratio = (probe + run.late) / (probe + run.early)
    rows.append(Counted(told, "a trial with its probe, last over 100th", ratio, goal="≤ 1.2"))
    beside = before.get(replace(case, judged="attributes"))
    if beside is not None:
        per_trial = run.grown / run.trials - beside.grown / beside.trials
        extra = per_trial * run.trials
        rows.append(
            Counted(told, "MiB beyond Optuna with such attributes", extra, goal="≤ 10", note=note)
        )
    if not math.isnan(run.audits[1]):
        early, late = run.audits
        rows.append(Counted(told, "ms of CPU of an audit, a trial", late))
        rows.append(Counted(told, "the same, all over the first tenth", late / early, goal="≤ 1.2"))
    return rows


def run_case(case: Case, seed: int, seconds: float) -> Run:
    """A study, in this process."""
    quietly()
    told = really_probed()
    values = np.random.default_rng(seed).random(case.trials)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study"
        study = study_of(case, path, seed)
        like_ours = written(told) if case.judged == "attributes" else "{}"
        end = time.monotonic() + seconds
        took: list[float] = []
        held, size, first_audit = 0.0, 0, math.nan
        for number, value in enumerate(values):
            start = time.process_time()
            run_trial(study, case, float(value), told, like_ours)
            took.append(1000 * (time.process_time() - start))
            if number == WINDOW:
                held, size = held_mib(), path.stat().st_size if path.exists() else 0
            if number == case.trials // 10:
                first_audit = audit_milliseconds(study, case, len(took))
            if time.monotonic() > end and number > 2 * WINDOW:
                break
        grown = held_mib() - held
        stored = (path.stat().st_size - size) / (len(took) - WINDOW) if size else math.nan
        audits = first_audit, audit_milliseconds(study, case, len(took))
    early, late = took[:WINDOW], took[-WINDOW:]
    return Run(len(took), statistics.median(early), statistics.median(late), grown, stored, audits)


def run_trial(study: Study, case: Case, value: float, told: rp.ProbeResult, like_ours: str) -> None:
    """One trial that comes to a value."""
    trial = study.ask()
    trial.suggest_float("rate", 0, 1)
    if case.judged in PRUNERS:
        judge(trial, value, told)
    for key, known in json.loads(like_ours).items():
        trial.set_user_attr(key, known)
    if trial.should_prune():
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, value)


def judge(trial: Trial, value: float, told: rp.ProbeResult) -> None:
    """As `probe_trial` does it, but for the probe, of which the result is given."""
    assert told.steps is not None
    result = replace(told, steps=replace(told.steps, loss_after=1 - value))
    result = replace(result, retained=(*result.retained[:-1], value))
    with mock.patch("recent_prune.optuna.objective.ready", return_value=lambda: result):
        probe_trial(trial, nn.Identity(), [], training=trained(nn.Linear(1, 1)))


def study_of(case: Case, path: Path, seed: int) -> Study:
    storage: BaseStorage | str | None = None
    if case.storage == "sqlite":
        storage = f"sqlite:///{path}"
    elif case.storage == "journal":
        storage = JournalStorage(JournalFileBackend(str(path)))
    return optuna.create_study(
        storage=storage,
        sampler=RandomSampler(seed=seed),
        pruner=PRUNERS[case.judged]() if case.judged in PRUNERS else optuna.pruners.NopPruner(),
        direction="maximize",
    )


def audit_milliseconds(study: Study, case: Case, trials: int) -> float:
    """Of CPU, a trial; NaN where there is nothing to audit."""
    if case.judged not in ("keep=1/8", "CertifiedRule"):
        return math.nan
    start = time.process_time()
    audit(study)
    return 1000 * (time.process_time() - start) / trials


def written(told: rp.ProbeResult) -> str:
    """What a trial under `keep` stores, under names of another, as JSON."""
    study = optuna.create_study(pruner=PRUNERS["keep=1/8"]())
    judge(study.ask(), 0.5, told)
    known = study.trials[0].user_attrs
    return json.dumps({key.replace("recent_prune:", "plain:"): known[key] for key in known})


def trained(model: nn.Module) -> rp.Training:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    return rp.Training(nn.functional.cross_entropy, optimizer, budget=100)


def really_probed() -> rp.ProbeResult:
    draw = torch.Generator().manual_seed(0)
    samples = torch.rand(64, 8, generator=draw)
    labels = torch.randint(0, 3, (64,), generator=draw)
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))
    return rp.probe(model, (samples, labels), training=trained(model))


def probe_milliseconds() -> float:
    """Of CPU, of the probe of a tiny model: the median of ten, after two."""
    quietly()
    took = []
    for _ in range(12):
        start = time.process_time()
        really_probed()
        took.append(1000 * (time.process_time() - start))
    return statistics.median(took[2:])


def quietly() -> None:
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def held_mib() -> float:
    """What this process holds."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 2**20
