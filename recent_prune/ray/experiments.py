"""A Tune run, however it is given."""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path

from ray.tune import ExperimentAnalysis, ResultGrid

TuneRun = ResultGrid | ExperimentAnalysis
"""What ``Tuner.fit()`` returned, or ``tune.run()``."""

Experiment = TuneRun | str | PathLike[str]
"""That, or the run's folder (a path or a URI)."""


def grid_of(experiment: Experiment, name: str = "experiment") -> ResultGrid:
    """A run as ``Tuner.fit()`` returns it.

    Args:
        experiment: The run.
        name: Of the argument.

    Raises:
        TypeError: If it is something else.
        ValueError: As :func:`loaded`.
    """
    if isinstance(experiment, ResultGrid):
        return experiment
    if isinstance(experiment, ExperimentAnalysis):
        return ResultGrid(experiment)
    if isinstance(experiment, (str, PathLike)):
        return loaded(experiment)
    raise TypeError(
        f"`{name}` must be what Tuner.fit() returned (a ResultGrid), an ExperimentAnalysis or the "
        f"run's folder, but got {experiment!r}."
    )


def loaded(folder: str | PathLike[str], metric: str | None = None) -> ResultGrid:
    """A run that is kept in a folder.

    Args:
        folder: A path or a URI.
        metric: What its trials report, as their value.

    Raises:
        ValueError: If it is not the folder of a run.
    """
    mode = None if metric is None else "max"
    try:
        found = ExperimentAnalysis(located(folder), default_metric=metric, default_mode=mode)
    except Exception as error:  # whatever Ray raises over a folder that is no run
        raise ValueError(
            f"{folder} is not the folder of a Tune run (with experiment_state-….json): {error}"
        ) from error
    return ResultGrid(found)


def located(folder: str | PathLike[str]) -> str:
    """A folder as pyarrow finds it: a URI, or an absolute path."""
    text = fspath(folder)
    return text if "://" in text else str(Path(text).expanduser().resolve())
