"""For Optuna: a pruner, and what an objective calls."""

from recent_prune.audit import Audit
from recent_prune.optuna.audit import audit
from recent_prune.optuna.certified import calibrated
from recent_prune.optuna.metrics import MetricsCallback, probe_metrics
from recent_prune.optuna.objective import probe_trial
from recent_prune.optuna.pruner import ReconstructionEntropyPruner

__all__ = [
    "Audit",
    "MetricsCallback",
    "ReconstructionEntropyPruner",
    "audit",
    "calibrated",
    "probe_metrics",
    "probe_trial",
]
