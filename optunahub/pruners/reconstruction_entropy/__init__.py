from recent_prune.optuna import audit
from recent_prune.optuna import calibrated
from recent_prune.optuna import probe_trial
from recent_prune.optuna import ReconstructionEntropyPruner
from recent_prune.probe import Training
from recent_prune.rules import SaturationRule
from recent_prune.rules import TrainabilityRule
from recent_prune.rules.certified import CertifiedRule


__all__ = [
    "CertifiedRule",
    "ReconstructionEntropyPruner",
    "SaturationRule",
    "TrainabilityRule",
    "Training",
    "audit",
    "calibrated",
    "probe_trial",
]
