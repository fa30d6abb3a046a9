"""Does pruning before training teach a sampler to avoid deep networks?

    python -m benchmarks.certificate.bias

Protocol (optuna issue 2969). TPE searches over depth and initial gain of tanh networks. The probes
are real; what a trial comes to is not: one that the rule calls trainable reaches 0.5 + depth/120,
give or take 0.02, the others 0.1. So deep networks are the best, and the deeper, the narrower the
range of gains that trains. In the wide space many networks train, in the narrow one few do. Three
arms on each seed: all trials run; condemned ones are pruned with their violation as a constraint
(`probe_trial`); condemned ones are pruned and Optuna knows no more. Compared is the mean depth of
the trainable trials in the second half of a study, paired by seed (Wilcoxon), how many there are,
and the best value.

Writes ``bias.csv`` and ``bias.md``.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import torch
from scipy.stats import wilcoxon

import recent_prune as rp
from benchmarks.tables import markdown
from recent_prune.data import load_digits
from recent_prune.optuna import ReconstructionEntropyPruner, probe_trial

FOLDER = Path(__file__).parent
ARMS = ("all run", "pruned, with constraint", "pruned, without")
GAINS = {"wide": (0.3, 3.0), "narrow": (0.03, 30.0)}
"""Of the initial weights, in units of 1/√fan_in; drawn on a logarithmic scale."""
INPUTS = load_digits().train


def run_study(space: str, arm: str, seed: int, trials: int) -> dict[str, float | str]:
    """One study of one arm in one space."""
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    numbers = np.random.default_rng(seed)
    found: list[tuple[int, bool]] = []

    def objective(trial: optuna.Trial) -> float:
        depth = trial.suggest_int("depth", 2, 60)
        gain = trial.suggest_float("gain", *GAINS[space], log=True)
        model = rp.networks.mlp(
            64, 10, depth=depth, width=32, weight_variance=gain**2, seed=1000 * seed + trial.number
        )
        noise = float(numbers.normal(scale=0.02))
        if arm == ARMS[1]:
            trainable = probe_trial(trial, model, INPUTS).trainable
        else:
            trainable = rp.TrainabilityRule()(rp.probe(model, INPUTS)).trainable
        found.append((depth, trainable))
        if not trainable and arm != ARMS[0]:
            raise optuna.TrialPruned
        return (0.5 + depth / 120 if trainable else 0.1) + noise

    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=ReconstructionEntropyPruner(),
    )
    study.optimize(objective, n_trials=trials)
    late = [depth for depth, trainable in found[trials // 2 :] if trainable]
    return {
        "space": space,
        "arm": arm,
        "seed": seed,
        "depth": float(np.mean(late)) if late else float("nan"),
        "trainable": len(late) / (trials - trials // 2),
        "best": study.best_value,
    }


def table(studies: pd.DataFrame) -> pd.DataFrame:
    """A line an arm, with its difference to the first."""
    rows = []
    for space, arm in product(GAINS, ARMS):
        wide = studies[studies["space"] == space].pivot(index="seed", columns="arm")
        row = {"space": space, "": arm}
        for quantity, form in (("depth", ".1f"), ("trainable", ".1%"), ("best", ".3f")):
            values, base = wide[quantity, arm], wide[quantity, ARMS[0]]
            row[quantity] = format(values.mean(), form)
            if arm != ARMS[0]:
                row[quantity] += f" ({_difference((values - base).dropna(), form)})"
        rows.append(row)
    return pd.DataFrame(rows)


def _difference(differences: pd.Series[float], form: str) -> str:
    """Mean and p-value; studies of two arms may be one and the same."""
    if not differences.any():
        return f"the same in all {len(differences)}"
    p = wilcoxon(differences).pvalue
    return f"{format(differences.mean(), '+' + form)}, p = {p:.2g}"


def main() -> None:
    """Measure and write down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    chosen = list(product(GAINS, ARMS, range(options.seeds), [options.trials]))
    with ProcessPoolExecutor(options.processes) as pool:
        rows = list(pool.map(run_study, *zip(*chosen, strict=True), chunksize=3))
    studies = pd.DataFrame(rows)
    studies.to_csv(FOLDER / "bias.csv", index=False)
    text = (
        f"{options.seeds} studies of {options.trials} trials a line. Mean depth of the trainable "
        "trials in the second half, their share, and the best value (difference to 'all run', "
        f"Wilcoxon).\n\n{markdown(table(studies))}\n"
    )
    (FOLDER / "bias.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
