"""What the demo found, in numbers and on a page."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd
from optuna.study import Study
from optuna.trial import TrialState

from recent_prune.demo.studies import SOURCE, Settings
from recent_prune.report import (
    html_page,
    plot_entropy_profile,
    plot_saved_compute,
    plot_verdicts,
    trials_table,
)


@dataclass(frozen=True)
class Totals:
    """Sums over the finished trials of a study; seconds are wall clock and include probes.

    ``causes`` counts pruned trials by what condemned them; ``best`` is NaN if none is complete.
    """

    trials: int
    pruned: int
    causes: dict[str, int]
    epochs: int
    seconds: float
    probe_seconds: float
    best: float

    @staticmethod
    def of(study: Study) -> Totals:
        """Count a study's finished trials."""
        table = trials_table(study)
        complete = table[table["state"] == "COMPLETE"]
        causes = table.loc[table["trainable"].eq(False), "cause"].value_counts()
        return Totals(
            trials=len(table),
            pruned=len(table) - len(complete),
            causes={str(cause): int(count) for cause, count in causes.items()},
            epochs=int(table["epochs"].sum()),
            seconds=float(table["seconds"].sum()),
            probe_seconds=float(table["probe_seconds"].astype(float).sum()),
            best=float(complete["value"].astype(float).max()),
        )


def summary_table(study: Study, reference: Study | None) -> pd.DataFrame:
    """The totals as text, a column for each study that ran, and what was saved."""
    ours = Totals.of(study)
    table = pd.DataFrame({"with recent_prune": _texts(ours)})
    if reference is not None:
        full = Totals.of(reference)
        table["without"] = _texts(full)
        table["saved"] = [
            "",
            _best_of_pruned(study, reference),
            "",
            f"{full.epochs - ours.epochs} ({_share(full.epochs - ours.epochs, full.epochs)})",
            f"{full.seconds - ours.seconds:.1f} s "
            f"({_share(full.seconds - ours.seconds, full.seconds)})",
            "",
            _lost(ours.best, full.best),
        ]
    return table


def summary_page(study: Study, reference: Study | None, settings: Settings) -> str:
    """The self-contained HTML page of a demo."""
    figures = [
        (
            plot_verdicts(
                study,
                ("learning_rate", "depth"),
                reference=reference,
                value_name="test accuracy",
            ),
            "Crosses were pruned before their first epoch; their colour is the accuracy they "
            "reach when they are trained all the same."
            if reference is not None
            else "Crosses were pruned before their first epoch.",
        ),
        (
            plot_entropy_profile(study),
            "After the first steps. Where the retained share falls to zero, nothing of the input "
            "is left to learn from.",
        ),
    ]
    if reference is not None:
        figures.append(
            (
                plot_saved_compute(study, reference),
                "Both studies ran the same trials from the same initializations.",
            )
        )
    lead = (
        f"A search over plain MLPs on {settings.data} ({settings.train_samples} training images, "
        f"{settings.epochs} epochs a trial). Each trial made a few first steps with its own "
        "optimizer, was probed and judged, and all was undone; those that lead nowhere were pruned."
    )
    return html_page("recent_prune demo", lead, summary_table(study, reference), figures)


def _texts(totals: Totals) -> pd.Series[str]:
    return pd.Series(
        {
            "trials": str(totals.trials),
            "pruned": str(totals.pruned),
            "because": ", ".join(f"{cause} {count}" for cause, count in totals.causes.items()),
            "epochs": str(totals.epochs),
            "wall clock": f"{totals.seconds:.1f} s",
            "of that, probes": f"{totals.probe_seconds:.1f} s "
            f"({_share(totals.probe_seconds, totals.seconds)})",
            "best test accuracy": "–" if math.isnan(totals.best) else f"{totals.best:.4f}",
        }
    )


def _best_of_pruned(study: Study, reference: Study) -> str:
    """What the pruned trials come to if they are trained all the same."""
    pruned = study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
    numbers = {trial.number for trial in pruned}
    complete = reference.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    values = [t.values[0] for t in complete if t.user_attrs[SOURCE] in numbers]
    return f"their best: {max(values):.4f}" if values else ""


def _lost(ours: float, full: float) -> str:
    if math.isnan(ours):
        return "all pruned"
    return f"{full - ours:.4f} lost" if full > ours else "nothing lost"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "–"
