"""Small sweeps by Tune on a cluster of several nodes on one machine, in which things die.

Protocol. Sweeps of 3 or 4 trials, each of a few short iterations with checkpoints, under FIFO,
ASHA, HyperBand, median stopping and PBT in turns. All else is drawn by the seed and the sweep's
number (`plan.py`): sampled at random or by `OptunaSearch`, judged at initialization or by first
steps, `keep` 1 or 1/2, probes quick, slow or one of them stuck; and what is killed with SIGKILL
after so many signs of life: the process of a trial, a probe actor, a node (one like it is added),
the driver (which is started again and restores). Every third sweep is followed by the same one
without our scheduler, with the same seed and the same kills, so that faults of Ray's own are told
apart. Three sweeps run at a time, each on two nodes of its own in one cluster.

Counted for each (`counting.py`): hangs (no sign of life for 240 s: the stacks of all its processes
are kept in its folder, and it is ended), drivers that raise, trials lost, run twice, or started
though condemned, trials held in the end, resources not given back, and the seconds from a kill to
the first sign of life of a new process (of the same trial, or of a probe). `runs.csv` has a line
for each sweep, written as it ends.
"""

from __future__ import annotations

from benchmarks.faults.counted import Counted


def measure(seed: int, until: float) -> list[Counted]:
    """Run sweeps until the time has come; see the protocol above.

    Args:
        seed: What is drawn.
        until: A `time.monotonic`, after which no sweep begins.
    """
    # Not at the top: workers import this package, and need none of it.
    from benchmarks.faults.ray_sweeps.measuring import measured

    return measured(seed, until)
