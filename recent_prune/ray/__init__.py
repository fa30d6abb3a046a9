"""For Ray Tune: a scheduler that never starts a doomed trial, and what a trainable calls."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

_NEEDS = "recent_prune.ray needs Ray Tune: pip install 'recent-prune[ray]'"

if find_spec("ray") is None:
    raise ImportError(_NEEDS)

if TYPE_CHECKING:
    from recent_prune.ray.auditing import audit, calibrated
    from recent_prune.ray.in_trial import probe_and_report
    from recent_prune.ray.initialization import build_probed_model, trial_seed
    from recent_prune.ray.ledger import probed_trials
    from recent_prune.ray.scheduler import ReconstructionEntropyScheduler

__all__ = [
    "ReconstructionEntropyScheduler",
    "audit",
    "build_probed_model",
    "calibrated",
    "probe_and_report",
    "probed_trials",
    "trial_seed",
]

_MODULES = {
    "ReconstructionEntropyScheduler": "scheduler",
    "audit": "auditing",
    "build_probed_model": "initialization",
    "calibrated": "auditing",
    "probe_and_report": "in_trial",
    "probed_trials": "ledger",
    "trial_seed": "initialization",
}


def __getattr__(name: str) -> Any:
    """Load Ray Tune only when it is asked for: probe actors need not wait for it."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    except ModuleNotFoundError as error:
        raise ImportError(_NEEDS) from error
