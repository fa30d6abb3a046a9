"""Verdicts on file, beside the experiment that they belong to.

Tune saves its state every ten seconds or so; a driver that is killed in between would forget
verdicts and probe again. So every batch of outcomes goes to a file of its own in the experiment's
storage (any that pyarrow writes to) before it is acted upon.
"""

from __future__ import annotations

import hashlib
import json
import logging
import posixpath
import re
import time
import uuid
from collections.abc import Iterable, Iterator
from os import PathLike
from typing import Any

import pandas as pd
import pyarrow.fs
from ray.tune import ResultGrid

from recent_prune.ray import tune_controller
from recent_prune.ray.experiments import Experiment, grid_of, located
from recent_prune.ray.initialization import Config
from recent_prune.ray.judging.outcome import RANKED, Outcome
from recent_prune.rules import SUMMARY

logger = logging.getLogger(__name__)

FOLDER = "recent_prune"
"""Within the experiment's folder."""

STUDY = "study"
"""Within that: what a certified rule or rung zero goes by."""


COLUMNS = ["trial_id", *SUMMARY, *RANKED, "memory", "memory_limit", "fault"]


class Ledger:
    """Outcomes of an experiment, by trial and configuration.

    After a restore Tune may use the id of a trial that it forgot for another configuration, so
    both must agree.

    Args:
        filesystem: Where the experiment is kept.
        experiment_path: Its folder there.
    """

    def __init__(self, filesystem: pyarrow.fs.FileSystem, experiment_path: str) -> None:
        self._filesystem = filesystem
        self._folder = posixpath.join(experiment_path, FOLDER)
        self._known: dict[str, tuple[str, Outcome]] = {}
        self._unwritten: list[dict[str, Any]] = []
        self._study: dict[str, Any] | None = None  # that could not be written
        for entry in _entries(filesystem, self._folder):
            self._remember(entry["config"], Outcome.from_dict(entry["outcome"]))

    @property
    def outcomes(self) -> dict[str, Outcome]:
        """The last of each trial, by its id, in the order in which they were recorded."""
        return {trial_id: outcome for trial_id, (_, outcome) in self._known.items()}

    def find(self, trial_id: str, config: Config) -> Outcome | None:
        """What is known of a trial with this configuration.

        What is known of another configuration under its id is forgotten.
        """
        known, outcome = self._known.get(trial_id, ("", None))
        if known != _fingerprint(config):
            self._known.pop(trial_id, None)
            return None
        return outcome

    def record(self, outcomes: Iterable[tuple[Outcome, Config]]) -> None:
        """Keep outcomes; where the storage fails, a warning says so, and the next batch has them.

        (The order of the files is that of the verdicts, so late ones keep theirs.)
        """
        for outcome, config in outcomes:
            known = _fingerprint(config)
            self._remember(known, outcome)
            self._unwritten.append({"config": known, "outcome": outcome.to_dict()})
        if self._write(f"{time.time_ns()}-{uuid.uuid4().hex[:8]}.json", self._unwritten):
            self._unwritten = []
        if self._study is not None:
            self.record_study(self._study)

    def record_study(self, study: dict[str, Any]) -> None:
        """Keep what decides and its audit go by, see :func:`recorded_study`.

        Where the storage fails, it is tried again with the next verdicts.
        """
        self._study = None if self._write(STUDY, study) else study

    def _remember(self, config: str, outcome: Outcome) -> None:
        self._known.pop(outcome.trial_id, None)
        self._known[outcome.trial_id] = (config, outcome)

    def _write(self, name: str, content: Any) -> bool:
        target = posixpath.join(self._folder, name)
        try:
            self._filesystem.create_dir(self._folder, recursive=True)
            with self._filesystem.open_output_stream(f"{target}.partial") as stream:
                # What a rule of somebody's says may be a number of NumPy's.
                stream.write(json.dumps(content, default=str).encode())
            self._filesystem.move(f"{target}.partial", target)
        except Exception:  # whatever the storage raises: a run without it is better than none
            logger.warning("Verdicts are not kept for a restore: %s", target, exc_info=True)
            return False
        return True


def probed_trials(experiment: Experiment) -> pd.DataFrame:
    """All probes of an experiment, those of trials that then ran included.

    Args:
        experiment: What ``Tuner.fit()`` or ``tune.run()`` returned, or the experiment's folder (a
            path or a URI), with all runs that were kept there.

    Returns:
        One row a probed trial in the order of their verdicts, with ``trial_id``, the columns of
        :func:`recent_prune.rules.summary` (missing where it could not be probed), ``rank_score``,
        ``rank_error`` and ``stopped`` (missing where nothing was ranked), ``memory`` and
        ``memory_limit``, bytes (missing without ``preflight``), and ``fault``, why it could not be
        probed (or None).

    Raises:
        TypeError: If ``experiment`` is something else.
        FileNotFoundError: If there is no such folder.

    Example:
        .. code-block:: python

            probes = probed_trials(results)
            runs = results.get_dataframe().merge(probes, on="trial_id")
    """
    run = None
    if isinstance(experiment, (str, PathLike)):
        filesystem, path = pyarrow.fs.FileSystem.from_uri(located(experiment))
        if filesystem.get_file_info(path).type != pyarrow.fs.FileType.Directory:
            raise FileNotFoundError(f"`experiment` must be a folder, but there is no {experiment}.")
    else:
        run = grid_of(experiment)
        filesystem, path = run.filesystem, run.experiment_path
    rows = {}
    for entry in _entries(filesystem, posixpath.join(path, FOLDER)):
        outcome = Outcome.from_dict(entry["outcome"])
        rows[outcome.trial_id] = {
            "trial_id": outcome.trial_id,
            **{name: outcome.metrics.get(name) for name in (*SUMMARY, *RANKED)},
            "memory": outcome.memory.get("estimate"),
            "memory_limit": outcome.memory.get("limit"),
            "fault": outcome.fault,
        }
    if run is not None:  # an earlier run may have had the same name
        # Not from the metrics: PBT copies those of another trial, its id included.
        known = {trial.trial_id for trial in tune_controller.trials_of(run)}
        rows = {trial_id: row for trial_id, row in rows.items() if trial_id in known}
    return pd.DataFrame(rows.values(), columns=COLUMNS)


def recorded_study(experiment: ResultGrid) -> tuple[dict[str, Any], dict[str, Outcome]]:
    """What an audit goes by.

    Returns:
        What :meth:`Ledger.record_study` kept, and the outcomes of :attr:`Ledger.outcomes`.

    Raises:
        ValueError: If neither rung zero nor a certified rule decided in the experiment.
    """
    filesystem, path = experiment.filesystem, experiment.experiment_path
    ledger = Ledger(filesystem, path)
    file = posixpath.join(path, FOLDER, STUDY)
    if filesystem.get_file_info(file).type == pyarrow.fs.FileType.NotFound:
        raise ValueError(
            f"Neither rung zero (`keep` below 1) nor a CertifiedRule decided on trials in {path}."
        )
    with filesystem.open_input_stream(file) as stream:
        return json.loads(stream.readall()), ledger.outcomes


def _entries(filesystem: pyarrow.fs.FileSystem, folder: str) -> Iterator[dict[str, Any]]:
    selector = pyarrow.fs.FileSelector(folder, allow_not_found=True)
    for path in sorted(info.path for info in filesystem.get_file_info(selector)):
        if path.endswith(".json"):
            try:
                with filesystem.open_input_stream(path) as stream:
                    entries = json.loads(stream.readall())
            except Exception:
                logger.warning("Verdicts in %s cannot be read.", path, exc_info=True)
            else:
                yield from entries


def _fingerprint(config: Config) -> str:
    """Equal for equal configurations, in other processes as well."""
    plain = json.dumps(config, sort_keys=True, default=_described)
    return hashlib.sha256(plain.encode()).hexdigest()[:16]


def _described(value: Any) -> str:
    """A function by its name, all else without its address in memory."""
    name = getattr(value, "__qualname__", None)
    return f"{value.__module__}.{name}" if name else re.sub(r" at 0x[0-9a-f]+", "", repr(value))
