"""Realised rate of good trials lost, in many independent studies.

    python -m benchmarks.certificate.measure

Protocol. A study draws its trials from a stream (`streams.py`): honest scores, useless ones, scores
that turn into their opposite half way, a drifting sampler, networks that were really trained, and
Optuna's TPE, which learns from what it is told, with honest, useless and adversarial scores.
`CertifiedRule` judges them in order, each outcome known before the next; all start without
calibration. What a pruned trial would have come to is known here, so the share of good trials that
were pruned is the realised rate. The rule holds its promise where that is within the tolerance in
at least the stated confidence of the studies.

Writes ``studies.csv`` (a line a study) and ``results.md`` (a line a case).
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.certificate.streams import GOOD, STREAMS
from benchmarks.tables import markdown
from recent_prune.rules.certified import CertifiedRule, FittedScore, PastTrial

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Study:
    """What became of one study.

    Attributes:
        stream: Where its trials came from.
        tolerance: Stated.
        trials: In all.
        good: Good ones among them, pruned ones included.
        lost: Good ones that were pruned.
        pruned: Trials that did not run.
        audited: Condemned trials that ran.
        found: Good ones among them.
        fitted_after: Trials before anything was pruned; all if never.
        bound: On the rate, at the end.
    """

    stream: str
    tolerance: float
    trials: int
    good: int
    lost: int
    pruned: int
    audited: int
    found: int
    fitted_after: int
    bound: float


def run_study(stream: str, tolerance: float, trials: int, seed: int) -> Study:
    """Judge the trials of a stream in order."""
    rule = CertifiedRule(better_than=GOOD, max_false_prune_rate=tolerance, seed=seed)
    past: list[PastTrial] = []
    fitted: FittedScore | str = ""
    fitted_after, good, lost = trials, 0, 0
    drawing = STREAMS[stream](np.random.default_rng(seed), trials)
    drawn = next(drawing)
    for number in range(trials):
        if isinstance(fitted, str):
            fitted = rule.fit(past)
            if not isinstance(fitted, str):
                fitted_after = number
        told = rule.judge(number, drawn.features, drawn.parameters, past, fitted)
        good += drawn.value >= GOOD
        lost += drawn.value >= GOOD and not told.runs
        past.append(
            PastTrial(
                number,
                drawn.features,
                drawn.parameters,
                share=told.share,
                ran=told.runs,
                score=told.score,
                value=drawn.value if told.runs else None,
            )
        )
        if number + 1 < trials:
            drawn = drawing.send(told)
    state = rule.certify_each(past, GOOD)[-1]
    return Study(
        stream=stream,
        tolerance=tolerance,
        trials=trials,
        good=good,
        lost=lost,
        pruned=state.pruned,
        audited=sum(trial.share is not None and trial.ran for trial in past),
        found=state.found,
        fitted_after=fitted_after,
        bound=state.rate,
    )


def cases(trials: int, studies: int) -> Iterator[tuple[str, float, int, int]]:
    """All studies."""
    for stream in STREAMS:
        # At 1 % nothing would be pruned in so few trials, and TPE is slow.
        for tolerance in (0.05, 0.1) if "TPE" in stream else (0.01, 0.05, 0.1):
            for seed in range(studies):
                yield stream, tolerance, trials, seed


def table(studies: pd.DataFrame) -> pd.DataFrame:
    """A line a case."""
    rows = []
    for (stream, tolerance), group in studies.groupby(["stream", "tolerance"], sort=False):
        rate = group["lost"] / group["good"]
        rows.append(
            {
                "stream": stream,
                "tolerance": f"{tolerance:.0%}",
                "studies": len(group),
                "within tolerance": f"{(rate <= tolerance).mean():.1%}",
                "rate, mean": f"{rate.mean():.2%}",
                "rate, worst": f"{rate.max():.2%}",
                "within bound": f"{(rate <= group['bound']).mean():.1%}",
                "bound, median": f"{group['bound'].median():.2%}",
                "pruned": f"{(group['pruned'] / group['trials']).mean():.1%}",
                "pruned after fitting": f"{_after_fitting(group):.1%}",
                "fitted after": f"{group['fitted_after'].median():.0f}",
            }
        )
    return pd.DataFrame(rows)


def _after_fitting(group: pd.DataFrame) -> float:
    left = group["trials"] - group["fitted_after"]
    return float(group["pruned"].sum() / max(left.sum(), 1))


def main() -> None:
    """Measure and write down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--streams", nargs="+", choices=STREAMS, default=list(STREAMS))
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args()
    chosen = [case for case in cases(options.trials, options.studies) if case[0] in options.streams]
    with ProcessPoolExecutor(options.processes) as pool:
        columns = zip(*chosen, strict=True)
        rows = list(pool.map(run_study, *columns, chunksize=10))
    studies = pd.DataFrame([asdict(row) for row in rows])
    studies.to_csv(options.out / "studies.csv", index=False)
    text = f"Python {platform.python_version()}, NumPy {np.__version__}. {options.trials} trials a "
    text += f"study, confidence 95 %.\n\n{markdown(table(studies))}\n"
    (options.out / "results.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
