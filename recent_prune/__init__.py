"""Prune networks that cannot train before they start to train.

Small reconstructions try to get the input back from each layer's activations at initialization;
where the reconstruction entropy says that the information is lost on the way, the network will
not train (Thurn, Jefferson and Erdmenger, arXiv 2406.12916).

The Optuna pruner is in `recent_prune.optuna`; the functions behind the probe in
`recent_prune.probe` (reach them with ``from recent_prune.probe import …``: as an attribute of
this package, ``probe`` is the function).
"""

from recent_prune import networks
from recent_prune.probe import Backward, Cascade, ProbeResult, Ridge, probe, probe_many
from recent_prune.rules import RetainedInformationRule, SaturationRule, Verdict

__version__ = "0.1.0"

__all__ = [
    "Backward",
    "Cascade",
    "ProbeResult",
    "RetainedInformationRule",
    "Ridge",
    "SaturationRule",
    "Verdict",
    "networks",
    "probe",
    "probe_many",
]
