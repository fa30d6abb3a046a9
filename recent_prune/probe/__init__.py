"""The probe, in pure PyTorch: activations → reconstructions → entropies → `ProbeResult`."""

from recent_prune.probe.first_steps.result import FirstSteps
from recent_prune.probe.first_steps.training import Training
from recent_prune.probe.many import probe_many
from recent_prune.probe.probing import probe
from recent_prune.probe.quantities.cutoff import saturation_cutoff
from recent_prune.probe.quantities.entropies import (
    differential_entropy,
    gram_entropy,
    relative_entropy,
)
from recent_prune.probe.quantities.gradients import GradientProfile
from recent_prune.probe.reconstructing.cascade import Cascade
from recent_prune.probe.reconstructing.ridge import Ridge
from recent_prune.probe.result import ProbeResult, Reconstructions

__all__ = [
    "Cascade",
    "FirstSteps",
    "GradientProfile",
    "ProbeResult",
    "Reconstructions",
    "Ridge",
    "Training",
    "differential_entropy",
    "gram_entropy",
    "probe",
    "probe_many",
    "relative_entropy",
    "saturation_cutoff",
]
