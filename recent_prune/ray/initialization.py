"""The initialization of a trial: one and the same where it is probed and where it trains."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from typing import Any

from torch import nn

from recent_prune.probe import Training
from recent_prune.probe.restoring.isolation import forked_random_states

Config = dict[str, Any]
BuildModel = Callable[[Config], nn.Module]
"""From a trial's configuration to the model with its sampled initialization, on the CPU."""

MakeTraining = Callable[[nn.Module, Config], Training | None]
"""From a trial's model and configuration to how it trains; None where it is probed as it is."""


def trial_seed(trial_id: str) -> int:
    """The seed that belongs to a trial, in [0, 2⁶³), the same on every machine."""
    return int.from_bytes(hashlib.sha256(trial_id.encode()).digest()[:8], "big") >> 1


def build_probed_model(
    build_model: BuildModel, config: Config, *, trial_id: str | None = None
) -> nn.Module:
    """Build the very model that the scheduler probed for this trial.

    Call it first in the trainable, with the function that was given to
    :class:`ReconstructionEntropyScheduler`:

    .. code-block:: python

        def train(config):
            model = build_probed_model(build_model, config)
            ...

    A class ``Trainable`` calls ``build_probed_model(build_model, config, trial_id=self.trial_id)``
    in its ``setup``. Without this call another initialization is trained than was judged.

    ``build_model`` runs with the random states of Python, NumPy and PyTorch (on the CPU) seeded by
    the trial's id; afterwards they are what they were. Build on the CPU, as the probe does, and
    move the model afterwards: GPUs draw other numbers. A function that seeds by itself, from the
    configuration perhaps, gets what it asks for in both places.

    Args:
        build_model: From a configuration to a model.
        config: The trial's configuration.
        trial_id: Default: of the function that runs as a trial.

    Returns:
        The model, equal in every bit to the one that was probed, on equal hardware and versions.

    Raises:
        ValueError: Outside a trial, if no ``trial_id`` is given.
    """
    if trial_id is None:
        from ray import tune  # probe actors, which know the trial, are not to wait for it

        with warnings.catch_warnings(action="ignore"):  # of what is raised here
            trial_id = tune.get_context().get_trial_id()
    if trial_id is None:
        raise ValueError(
            "No trial runs here to which the initialization could belong: in a class Trainable "
            "give `trial_id=self.trial_id`, outside of Tune any text."
        )
    with forked_random_states([], trial_seed(trial_id)):
        return build_model(config)
