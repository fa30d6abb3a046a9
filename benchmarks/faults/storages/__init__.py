"""Eight processes on one study, on PostgreSQL, SQLite and a journal file, which are broken.

Each process is killed with SIGKILL at random moments and started again; in other studies the
storage is locked (SQLite), stopped and started (PostgreSQL) or full (all three, on a small tmpfs,
where it may be mounted), and a process that ends for it is started again. A study is run by a rule,
by rank (`keep=1/4`), by a `CertifiedRule`, and without this package, to tell Optuna's own faults
apart. Trials probe a real, tiny model and train none. What a process does it notes in a file, line
by line, before and after each call; this is compared with what stands in the storage in the end.
"""

from benchmarks.faults.storages.sweeps import measure

__all__ = ["measure"]
