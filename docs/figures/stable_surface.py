"""What of the public names is stable: all that stand here, no others."""

from __future__ import annotations

import ast
from pathlib import Path

from docs.figures.results import ROOT

STABLE = {
    "recent_prune": {
        "Cascade",
        "CertifiedRule",
        "ProbeResult",
        "Ridge",
        "SaturationRule",
        "TrainabilityRule",
        "Training",
        "Verdict",
        "networks",
        "probe",
        "probe_many",
    },
    "recent_prune.probe": {
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
    },
    "recent_prune.rules": {
        "Cause",
        "MAX_VIOLATION",
        "Rule",
        "SUMMARY",
        "SaturationRule",
        "Scalar",
        "TrainabilityRule",
        "Verdict",
        "summary",
    },
    "recent_prune.optuna": {
        "Audit",
        "MetricsCallback",
        "ReconstructionEntropyPruner",
        "audit",
        "calibrated",
        "probe_metrics",
        "probe_trial",
    },
    "recent_prune.ray": {
        "ReconstructionEntropyScheduler",
        "audit",
        "build_probed_model",
        "calibrated",
        "probe_and_report",
        "probed_trials",
        "trial_seed",
    },
    "recent_prune.lightning": {"OnCondemned", "ReconstructionEntropyCallback"},
    "recent_prune.report": {
        "DashboardCallback",
        "StudyReport",
        "html_page",
        "plot_audit",
        "plot_entropy_profile",
        "plot_reconstructions",
        "plot_saved_compute",
        "plot_trainability_map",
        "plot_verdicts",
        "save_to_dashboard",
        "trials_table",
    },
}
"""By the package that they are imported from."""
EXPERIMENTAL = dict.fromkeys(
    (
        "Asked",
        "Estimate",
        "Limits",
        "Part",
        "PreflightResult",
        "PreflightRule",
        "QuantityContract",
        "Ranking",
        "RankingAudit",
        "Room",
        "RuleContract",
        "ask_best",
        "example_result",
        "example_results",
        "example_steps",
        "out_of_memory",
        "plot_memory",
        "preflight",
        "preflight_trial",
        "room_of",
    ),
    "0.2",
)
"""By their names, the version since which they are there to be tried; the reference says so."""
INNER = {"recent_prune.audit", "recent_prune.cli", "recent_prune.demo"}
"""Not public: what they hold is reached through the other packages, or the command line."""


def public(package: str) -> set[str]:
    """What a package names in its ``__all__``."""
    file = ROOT / Path(*package.split("."), "__init__.py")
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return set(ast.literal_eval(node.value))
    raise ValueError(f"{file} has no __all__")


def packages() -> list[str]:
    """That have public names: those with stable ones, and whatever else there is."""
    found = [p.parent.relative_to(ROOT) for p in (ROOT / "recent_prune").glob("*/__init__.py")]
    named = sorted(".".join(path.parts) for path in found)
    others = set(named) - set(STABLE) - INNER
    return [*STABLE, *sorted(name for name in others if _has_all(name))]


def surface() -> str:
    """Stable and experimental names, a line a package.

    Raises:
        ValueError: If a package lacks a name that was promised to stay, or has one of which neither
            this is said nor since when it is experimental.
    """
    lines = []
    for package in packages():
        known, stable = public(package), STABLE.get(package, set())
        if not stable <= known:
            raise ValueError(f"{package} lacks {sorted(stable - known)}, which are stable names")
        lines.append(f"- `{package}`: {_listed(stable) or 'nothing yet'}.")
        for version in sorted({_since(package, name) for name in known - stable}):
            names = {name for name in known - stable if EXPERIMENTAL[name] == version}
            lines[-1] += f" *Experimental since {version}*: {_listed(names)}."
    return "\n".join(lines)


def _since(package: str, name: str) -> str:
    if name not in EXPERIMENTAL:
        raise ValueError(f"{package}.{name} is neither stable nor experimental since a version")
    return EXPERIMENTAL[name]


def _has_all(package: str) -> bool:
    file = ROOT / Path(*package.split("."), "__init__.py")
    return "__all__" in file.read_text(encoding="utf-8")


def _listed(names: set[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))
