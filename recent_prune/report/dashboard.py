"""For Optuna's dashboard: beside each trial why it was pruned, and the figures of the study."""

from __future__ import annotations

import threading
import warnings
from html import escape
from types import ModuleType, SimpleNamespace

from optuna.study import Study
from optuna.trial import FrozenTrial

from recent_prune.optuna import attributes
from recent_prune.report.figures import plot_entropy_profile, plot_verdicts
from recent_prune.report.telling import telling_parameters
from recent_prune.report.trials import losses, trials_table

HEADING = "**recent_prune:"
"""How our part of a note begins; a note that has it is left as it is."""
VERDICTS = "recent_prune-verdicts"
PROFILES = "recent_prune-profiles"
"""Under these ids the dashboard keeps the figures, each replaced by the next."""

_FIGURES = threading.Lock()
"""A figure is stored in pieces, which two threads (``n_jobs > 1``) would mix."""


class DashboardCallback:
    """Show in Optuna's dashboard why trials were pruned, while the study runs.

    .. code-block:: python

        study.optimize(objective, n_trials=100, callbacks=[DashboardCallback()])

    Each trial that was probed gets a note with verdict, reason and numbers, below what its note
    says already; every so many trials the study's figures are drawn anew. The last ones may be
    missing there: :func:`save_to_dashboard` completes them.

    All is kept in the study's storage, in pieces of 2 KB: a note is one, the figures of 200 trials
    of 50 layers are 130, which SQLite takes in about a second. Where several processes work on
    one study, give all of them the callback, all but one with ``every=None``: figures stored at
    the same time would mix their pieces.

    Args:
        every: Number of trials after which figures are drawn anew; None draws none. Default 20.
        params: The parameters over which verdicts are drawn. Default: the two that the verdict
            depends on most.

    Raises:
        ImportError: If optuna-dashboard is not installed.
        ValueError: If ``every`` is less than 1.
    """

    def __init__(self, *, every: int | None = 20, params: tuple[str, str] | None = None) -> None:
        _dashboard()
        if every is not None and every < 1:
            raise ValueError(f"`every` must be at least 1 or None, but got {every}.")
        self._every = every
        self._params = params

    def __call__(self, study: Study, trial: FrozenTrial) -> None:
        """Write the trial's note, and the figures when it is time."""
        try:
            _save_note(study, trial)
            if self._every is not None and (trial.number + 1) % self._every == 0:
                _save_figures(study, self._params)
        except Exception as error:  # neither a note nor a figure is worth the study
            warnings.warn(f"Not shown in the dashboard: {error}", stacklevel=2)


def save_to_dashboard(study: Study, *, params: tuple[str, str] | None = None) -> None:
    """Write the notes and figures of a study into its storage, for Optuna's dashboard to show.

    Args:
        study: Whose objective called ``probe_trial``. Called once more, it replaces the figures
            and adds the notes of new trials.
        params: As in :class:`DashboardCallback`.

    Raises:
        ImportError: If optuna-dashboard is not installed.
        ValueError: If no trial was probed, or none has one of ``params``.
    """
    _dashboard()
    trials = study.get_trials(deepcopy=False)
    if not any(attributes.is_probed(trial) for trial in trials):
        raise ValueError(
            f"Study {study.study_name!r} has no probed trials: its objective did not call "
            "probe_trial."
        )
    for trial in trials:
        _save_note(study, trial)
    _save_figures(study, params)


def _save_note(study: Study, trial: FrozenTrial) -> None:
    if not attributes.is_probed(trial):
        return
    # All that the dashboard reads of a Trial. A real one cannot be had of a finished trial: its
    # constructor would tell the sampler that a trial begins.
    like_trial = SimpleNamespace(storage=study._storage, study=study, _trial_id=trial._trial_id)
    known = _dashboard().get_note(like_trial)
    if HEADING not in known:
        note = _note(trial)
        _dashboard().save_note(like_trial, f"{known}\n\n{note}" if known else note)


def _note(trial: FrozenTrial) -> str:
    # What the dashboard shows is Markdown, in which names of layers or of errors might be markup.
    known = {
        key: escape(value, quote=False) if isinstance(value, str) else value
        for key, value in trial.user_attrs.items()
    }
    seconds = f"- probed in {known[attributes.SECONDS]:.3g} s"
    fault = known.get(attributes.FAULT)
    if fault is not None:
        return "\n".join((f"{HEADING} could not be judged**", "", fault, "", seconds))
    verdict = "can train" if known[attributes.TRAINABLE] else "cannot train"
    cause, advice = known.get(attributes.CAUSE), known.get(attributes.ADVICE)
    loss = losses(
        *map(known.get, (attributes.LOSS_BEFORE, attributes.LOSS_AFTER, attributes.CONSTANT_LOSS))
    )
    entropy = known[attributes.RELATIVE_ENTROPY]
    lines = (
        f"{HEADING} {verdict}{f' ({cause})' if cause else ''}**",
        "",
        known[attributes.REASON],
        *(("", advice) if advice else ()),
        "",
        *((f"- loss in the first steps: {loss}",) if loss else ()),
        f"- retained at the deepest layer: {known[attributes.RETAINED]:.2%} of the input's "
        "variance",
        "- relative entropy there: " + ("not finite" if entropy is None else f"{entropy:.4g} nats"),
        f"- layers before the profile saturates: {known[attributes.CUTOFF]} of "
        f"{known[attributes.DEPTH]}",
        f"- violation: {known[attributes.VIOLATION]:.3g} (positive is condemned, 1 is worst)",
        seconds,
    )
    return "\n".join(lines)


def _save_figures(study: Study, params: tuple[str, str] | None) -> None:
    table = trials_table(study)
    probed = table[table["trainable"].notna()]
    if probed.empty:
        return
    figures = {PROFILES: plot_entropy_profile(study)}
    axes = params or telling_parameters(probed)
    if axes is not None:
        figures[VERDICTS] = plot_verdicts(study, axes)
    with _FIGURES:
        for name, figure in figures.items():
            _dashboard().save_plotly_graph_object(study, figure, graph_object_id=name)


def _dashboard() -> ModuleType:
    try:
        import optuna_dashboard
    except ImportError as error:
        raise ImportError(
            "Notes and figures for the dashboard need optuna-dashboard: "
            "pip install 'recent-prune[dashboard]'."
        ) from error
    module: ModuleType = optuna_dashboard
    return module
