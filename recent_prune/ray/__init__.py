"""For Ray Tune: a scheduler that never starts a doomed trial, and what a trainable calls."""

try:
    import ray.tune  # noqa: F401
except ImportError as error:
    raise ImportError("recent_prune.ray needs Ray Tune: pip install 'recent-prune[ray]'") from error

from recent_prune.ray.audit import audit, calibrated
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
