"""What is measured of one run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One run, with the gate or without.

    Attributes:
        kind: ``"simulated"`` or ``"real"``.
        scheduler: What schedules the trials, behind the gate if there is one.
        trials: Sampled.
        doomed: Share of them that cannot train.
        gated: Whether the gate was there.
        round: Number of the round.
        wall_s: From the start of ``Tuner.fit`` to its end, seconds (simulated: to the last event).
        worker_starts: Workers that were started for trials.
        worker_s: Seconds of a CPU that trials held.
        gpu_s: Seconds of a (logical) GPU that trials held.
        driver_cpu_s: CPU time of the driver, seconds.
        probe_s: Seconds for which a probe actor was there, or (simulated) worked.
        best: Best score.
    """

    kind: str
    scheduler: str
    trials: int
    doomed: float
    gated: bool
    round: int
    wall_s: float
    worker_starts: int
    worker_s: float
    gpu_s: float
    driver_cpu_s: float
    probe_s: float
    best: float
