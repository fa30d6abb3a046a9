from __future__ import annotations

from types import SimpleNamespace

from recent_prune.ray.gate import Gate
from tests.ray.simulation import SimulatedPool


def gate(patience_s: float) -> Gate:
    return Gate(
        SimpleNamespace(), SimulatedPool(), on_fault="run", cohorts=False, patience_s=patience_s
    )


def test_a_trial_starves_where_fewer_run_than_could() -> None:
    at_once = gate(patience_s=-1.0)
    assert at_once._starved(running=0, waiting=True)
    assert not at_once._starved(running=2, waiting=True)  # all slots are taken by trials
    assert at_once._starved(running=1, waiting=True)  # one by a probe, perhaps
    assert at_once._starved(running=1, waiting=True)  # and it stays so until that is free
    assert not at_once._starved(running=2, waiting=True)
    assert not at_once._starved(running=0, waiting=False)


def test_for_a_while_it_may_wait() -> None:
    patient = gate(patience_s=1000.0)
    assert not patient._starved(running=0, waiting=True)
    assert not patient._starved(running=0, waiting=True)
