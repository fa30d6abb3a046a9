"""See one case: `python -m benchmarks.faults.models SEED NUMBER [NUMBER]`."""

from __future__ import annotations

import gc
import signal
import sys

from benchmarks.faults.models.checks import checked

if __name__ == "__main__":
    seed, first, *last = map(int, sys.argv[1:])
    gc.freeze()  # as `measure` does
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in range(first, (last or [first + 1])[0]):
        case = checked(seed, number)
        for finding in case.findings:
            print(number, finding, flush=True)
