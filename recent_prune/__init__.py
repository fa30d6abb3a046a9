"""Prune networks that cannot train before they start to train.

Small reconstructions try to get the input back from each layer's activations at initialization;
where the reconstruction entropy says that the information is lost on the way, the network will
not train (Thurn, Jefferson and Erdmenger, arXiv 2406.12916).

The Optuna pruner is in `recent_prune.optuna`; the functions behind the probe in
`recent_prune.probe` (reach them with ``from recent_prune.probe import …``: as an attribute of
this package, ``probe`` is the function).
"""

from typing import TYPE_CHECKING, Any

from recent_prune import networks
from recent_prune.preflight import Limits, PreflightResult, preflight
from recent_prune.probe import Cascade, ProbeResult, Ridge, Training, probe, probe_many
from recent_prune.rules import PreflightRule, SaturationRule, TrainabilityRule, Verdict

__version__ = "0.2.0"

if TYPE_CHECKING:
    from recent_prune.rules.certified import CertifiedRule

__all__ = [
    "Cascade",
    "CertifiedRule",
    "Limits",
    "PreflightResult",
    "PreflightRule",
    "ProbeResult",
    "Ridge",
    "SaturationRule",
    "TrainabilityRule",
    "Training",
    "Verdict",
    "networks",
    "preflight",
    "probe",
    "probe_many",
]


def __getattr__(name: str) -> Any:
    """Load what needs more than PyTorch only when it is asked for."""
    if name == "CertifiedRule":
        from recent_prune.rules.certified import CertifiedRule

        return CertifiedRule
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
