"""What was pruned in a study, why, and what that saved."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import pandas as pd
import plotly.graph_objects as go
from optuna.study import Study, StudyDirection

from recent_prune.optuna import attributes
from recent_prune.report.audit_figure import audit_figures
from recent_prune.report.figures import plot_entropy_profile, plot_verdicts
from recent_prune.report.images import plot_reconstructions
from recent_prune.report.memory import memory_figures, memory_lines, ran_out
from recent_prune.report.page import html_page
from recent_prune.report.rung_zero import ranked, stopped
from recent_prune.report.telling import telling_parameters
from recent_prune.report.trials import PARAMETER, losses, trials_table, unfinished

if TYPE_CHECKING:  # an extra
    from recent_prune.ray.experiments import TuneRun

FEWEST = 20
"""Probed trials from which the share of condemned ones says something."""
MOST_CONDEMNED = 0.9
"""Share of condemned trials from which the space is at fault."""
EXAMPLES = 2
"""Trials of either kind whose reconstructions are shown."""
DEAR = 0.05
"""Share of the time in trials that probes should not take."""
LOSSES = ["loss_before", "loss_after", "constant_loss"]
DETAILS = ("cause", "reason", "advice", *LOSSES)
BY_STEPS = (
    "Each trial made a few first steps with its own optimizer and was probed, and all was undone; "
    "those that lead nowhere were pruned before their first epoch."
)
BY_INITIALIZATION = (
    "Each network was probed at its initialization; those that lose their input on the way to the "
    "last layer, or blow it up, were pruned before their first epoch. Learning rate and optimizer "
    "were not looked at (probe_trial(…, training=…) does)."
)


@dataclass(frozen=True)
class StudyReport:
    """A report of a study.

    Attributes:
        title: Name of the study.
        summary: A line a figure, a column ``value`` of text.
        warnings: What the reader should not miss, a sentence each.
        figures: Each with a caption.
        pruned: A line a pruned trial: ``number``, ``cause``, ``reason``, ``advice``, the losses of
            first steps (as far as any trial has them), ``retained`` and its parameters.
        steps: Whether trials were judged by their first steps, and so by their learning rate.
    """

    title: str
    summary: pd.DataFrame
    warnings: list[str]
    figures: list[tuple[go.Figure, str]]
    pruned: pd.DataFrame
    steps: bool = False

    @classmethod
    def of(
        cls,
        study: Study | TuneRun,
        *,
        params: tuple[str, str] | None = None,
        title: str | None = None,
    ) -> Self:
        """Report on a study.

        Args:
            study: Whose objective called ``probe_trial``, or as of ``Tuner.fit`` or ``tune.run``.
            params: The parameters over which verdicts are drawn. Default: the two that the verdict
                depends on most.
            title: Default: the study's name.

        Raises:
            TypeError: If ``study`` is something else.
            ValueError: If no trial has one of ``params``.
        """
        table = trials_table(study)
        probed = table[table["trainable"].notna()]
        axes = params or telling_parameters(probed)
        figures: list[tuple[go.Figure, str]] = []
        if axes is not None and len(probed):
            caption = "Crosses were pruned before their first epoch; hover for the reason."
            figures.append((plot_verdicts(study, axes), caption))
        if probed["profile"].notna().any():
            caption = (
                "Where the retained share falls to zero, nothing of the input is left to learn "
                "from; the relative entropy then stays at one value."
            )
            figures.append((plot_entropy_profile(study), caption))
        figures += memory_figures(table)
        if isinstance(study, Study):
            figures += _reconstructions(study)
            figures += audit_figures(study)
        pruned = probed[probed["trainable"] == False]  # noqa: E712
        details = [name for name in DETAILS if pruned[name].notna().any()]
        columns = ["number", *details, "retained", *_parameters(table)]
        return cls(
            title=title or (study.study_name if isinstance(study, Study) else "Ray Tune"),
            steps=bool(probed[LOSSES].notna().any(axis=None)),
            summary=_summary(
                table,
                probed,
                unfinished(study, table),
                several=_objectives(study) > 1,
                minimized=_is_minimized(study),
            ),
            warnings=_warnings(table, probed),
            figures=figures,
            pruned=_unprefixed(pruned[columns].convert_dtypes()),
        )

    def page(self) -> str:
        """One HTML page that works offline and prints."""
        count = len(self.pruned)
        details = [(f"The {count} trials that the probe pruned", _readable(self.pruned))]
        return html_page(
            f"recent_prune: {self.title}",
            BY_STEPS if self.steps else BY_INITIALIZATION,
            self.summary,
            self.figures,
            notes=self.warnings,
            details=details if count else [],
        )

    def to_json(self) -> str:
        """Summary, warnings and pruned trials, for scripts."""
        known = {
            "title": self.title,
            "summary": self.summary["value"].to_dict(),
            "warnings": self.warnings,
            "pruned": json.loads(self.pruned.to_json(orient="records")),
        }
        return json.dumps(known, ensure_ascii=False)


def _reconstructions(study: Study) -> list[tuple[go.Figure, str]]:
    """Of the first trials of either kind that have stored some, and can be drawn."""
    figures = []
    for trainable, kind in ((False, "pruned"), (True, "kept")):
        shown = [
            trial
            for trial in study.get_trials(deepcopy=False)
            if attributes.is_probed(trial)
            and trial.user_attrs[attributes.TRAINABLE] is trainable
            and attributes.RECONSTRUCTIONS in trial.user_attrs
        ]
        for trial in shown[:EXAMPLES]:
            try:
                figure = plot_reconstructions(trial)
            except ValueError:  # samples that are no images
                continue
            figures.append((figure, f"Trial {trial.number} ({kind}): input and reconstructions."))
    return figures


def _objectives(study: Study | TuneRun) -> int:
    return len(study.directions) if isinstance(study, Study) else 1


def _is_minimized(study: Study | TuneRun) -> bool:
    return isinstance(study, Study) and study.directions[0] == StudyDirection.MINIMIZE


def _ran(table: pd.DataFrame, probed: pd.DataFrame) -> pd.DataFrame:
    """Trials that were trained, to their end or until another pruner stopped them."""
    untrained = probed.index[(probed["trainable"] == False) | stopped(probed)]  # noqa: E712
    return table[~table.index.isin(untrained) & table["state"].isin(["COMPLETE", "PRUNED"])]


def _summary(
    table: pd.DataFrame,
    probed: pd.DataFrame,
    others: dict[str, int],
    *,
    several: bool,
    minimized: bool,
) -> pd.DataFrame:
    condemned = probed["trainable"] == False  # noqa: E712
    pruned = int(condemned.sum())
    causes = probed.loc[condemned, "cause"].value_counts()
    ran = _ran(table, probed)
    complete = ran[ran["state"] == "COMPLETE"]
    spent = float(table["seconds"].astype(float).sum())
    probes = float(table["probe_seconds"].astype(float).sum())
    epochs = int(table["epochs"].astype(float).sum())
    values = complete["value"].astype(float)
    lines = {
        "finished trials": f"{(table['state'] != 'FAIL').sum()}",
        **{name: f"{count}" for name, count in others.items()},
        "probed": f"{len(probed)}",
        "pruned by the probe": f"{pruned} ({_share(pruned, len(probed))})",
        **{f"of these, {cause}": f"{count}" for cause, count in causes.items()},
        **(
            {"not trained, by their rank": ranked(probed, minimized)}
            if probed["stopped"].any()
            else {}
        ),
        **memory_lines(table),
        "could not be judged": f"{int(table['fault'].notna().sum())}",
        "stopped later, by another pruner": f"{len(ran) - len(complete) - ran_out(ran)}",
        "epochs reported": f"{epochs}" if epochs else "–",
        "time in trials": f"{spent:.1f} s, summed over trials",
        "of that, probes": f"{probes:.1f} s ({_share(probes, spent)})",
        "saved, about": "–",
        "values" + (" of the first objective" if several else ""): (
            f"{values.min():.6g} to {values.max():.6g}" if values.notna().any() else "–"
        ),
    }
    if len(ran):
        untrained = pruned + int(stopped(probed).sum())
        saved = float(ran["seconds"].astype(float).median()) * untrained
        lines["saved, about"] = (
            f"{saved:.1f} s ({_share(saved, spent + saved)}), if the trials that the probe pruned "
            "had taken the median of the others"
        )
    return pd.DataFrame({"value": lines})


def _warnings(table: pd.DataFrame, probed: pd.DataFrame) -> list[str]:
    if table.empty:
        return ["The study has no finished trial yet."]
    told = []
    faults = table["fault"].dropna()
    if len(faults):
        told.append(
            f"{len(faults)} of {len(table)} trials could not be judged, the first because of "
            f"{faults.iloc[0]}"
        )
    elif probed.empty:
        return ["No finished trial was probed: the objective did not call probe_trial, or failed."]
    condemned = int((probed["trainable"] == False).sum())  # noqa: E712
    if len(probed) >= FEWEST and condemned >= MOST_CONDEMNED * len(probed):
        told.append(
            f"{_share(condemned, len(probed))} of the probed trials were condemned: the search "
            "space is at fault. Initialize better, or search shallower networks."
        )
    if len(probed) >= FEWEST and condemned == 0:
        told.append("Nothing was condemned: on this search space the probe is not worth its cost.")
    seconds = float(table["seconds"].astype(float).sum())
    probes = float(probed["probe_seconds"].astype(float).sum())
    if len(_ran(table, probed)) and probes > DEAR * seconds > 0:
        told.append(
            f"Probes took {_share(probes, seconds)} of the time in trials: trainings are so short "
            "here that a probe weighs much."
        )
    unprobed = len(table) - len(probed) - len(faults)
    if unprobed:
        told.append(f"{unprobed} of {len(table)} trials were not probed.")
    return told


def _readable(pruned: pd.DataFrame) -> pd.DataFrame:
    """With one text instead of three losses."""
    known = [name for name in LOSSES if name in pruned]
    if not known:
        return pruned.round(4)
    rows = pruned.reindex(columns=LOSSES).astype(float).itertuples(index=False)
    texts = [losses(*row) for row in rows]
    shown = pruned.round(4)
    shown.insert(list(shown).index(known[0]), "loss", texts)
    return shown.drop(columns=known)


def _unprefixed(table: pd.DataFrame) -> pd.DataFrame:
    """With plain names of the parameters, but for those that another column has."""
    plain = {column: _plain(column) for column in _parameters(table)}
    return table.rename(columns={c: name for c, name in plain.items() if name not in table})


def _plain(column: str) -> str:
    return column.removeprefix(PARAMETER)


def _parameters(table: pd.DataFrame) -> list[str]:
    return [str(column) for column in table if str(column).startswith(PARAMETER)]


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "–"
