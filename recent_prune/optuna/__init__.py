"""For Optuna: a pruner, and what an objective calls."""

from recent_prune.audit import Audit, RankingAudit
from recent_prune.optuna.asking import Asked, ask_best
from recent_prune.optuna.audit import audit
from recent_prune.optuna.certified import calibrated
from recent_prune.optuna.metrics import MetricsCallback, probe_metrics
from recent_prune.optuna.objective import probe_trial
from recent_prune.optuna.preflight import preflight_trial
from recent_prune.optuna.pruner import ReconstructionEntropyPruner
from recent_prune.optuna.ran_out import out_of_memory

__all__ = [
    "Asked",
    "Audit",
    "MetricsCallback",
    "RankingAudit",
    "ReconstructionEntropyPruner",
    "ask_best",
    "audit",
    "calibrated",
    "out_of_memory",
    "preflight_trial",
    "probe_metrics",
    "probe_trial",
]
