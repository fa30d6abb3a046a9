"""One trial on two processes; here they are threads, and the trial is like optuna-integration's."""

from __future__ import annotations

import queue
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import optuna
import pytest
from optuna.study import Study
from optuna.trial import FixedTrial, Trial
from torch import nn

from recent_prune.optuna import ReconstructionEntropyPruner, attributes, probe_trial
from recent_prune.optuna.distributed import is_shared, study_of
from recent_prune.probe import ProbeResult
from recent_prune.rules import Verdict
from tests.networks import mlp
from tests.optuna.studies import DIGITS


class Shared:
    """What of ``TorchDistributedTrial`` is used: all ranks ask, rank zero's trial answers."""

    def __init__(self, delegate: Trial | None, line: queue.Queue[Any]) -> None:
        self._delegate = delegate
        self._line = line
        self._user_attrs: dict[str, Any] = {}
        self.asked = 0

    def _broadcast(self, value: Any) -> Any:
        if self._delegate is None:
            return self._line.get(timeout=60)
        self._line.put(value)
        return value

    def set_user_attr(self, key: str, value: Any) -> None:
        self.asked += 1
        if self._delegate is not None:
            self._delegate.set_user_attr(key, value)
        self._user_attrs = self._broadcast(self._delegate and self._delegate.user_attrs)

    @property
    def user_attrs(self) -> dict[str, Any]:
        return self._user_attrs


def study(rule: Any = None) -> Study:
    return optuna.create_study(pruner=ReconstructionEntropyPruner(rule))


def on_two_ranks(trial: Trial, models: list[nn.Module]) -> tuple[list[Any], list[Shared]]:
    """What each rank's call gives or raises, and their trials."""
    line: queue.Queue[Any] = queue.Queue()
    trials: list[Any] = [Shared(trial, line), Shared(None, line)]

    def call(rank: int) -> Any:
        try:
            return probe_trial(trials[rank], models[rank], DIGITS.train[rank::2])
        except Exception as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(call, range(2))), trials


def by_samples(result: ProbeResult) -> Verdict:
    return Verdict(False, 0.5, f"{result.samples} samples of {result.depth} layers.")


@pytest.mark.parametrize("rule", [None, by_samples])
def test_the_first_rank_judges_by_the_rule_of_its_study(rule: Any) -> None:
    trial = study(rule).ask()
    # The second rank's would be kept.
    found, trials = on_two_ranks(trial, [mlp(depth=24, weight_variance=0.1), mlp(depth=3)])
    assert found[0] == found[1]
    assert not found[0].trainable
    assert (found[0].violation == 0.5) == (rule is not None)
    assert trial.should_prune()
    assert trial.constraints == {"recent_prune": found[0].violation}
    for shared in trials:
        assert shared.user_attrs == trial.user_attrs
        assert shared.user_attrs[attributes.REASON] == found[0].reason
        assert shared.asked == 1  # each time is a message to all


def test_a_rank_that_fails_leaves_no_other_waiting() -> None:
    broken = nn.Sequential(nn.Flatten(), nn.Linear(63, 10))
    for models, failed in (([broken, mlp()], True), ([mlp(), broken], False)):
        trial = study().ask()
        with pytest.warns(UserWarning, match="The probe failed, so the trial is kept"):
            found, trials = on_two_ranks(trial, models)
        assert found[0] == found[1]
        assert found[0].trainable
        assert (trial.user_attrs.get(attributes.FAULT) is not None) is failed
        assert trials[1].user_attrs == trial.user_attrs


def test_what_is_wrong_with_the_first_call_is_raised_everywhere() -> None:
    class Bare(nn.Module):
        pass

    found, _ = on_two_ranks(study().ask(), [Bare(), mlp()])
    assert [str(error) for error in found] == [
        "`model` (Bare) has no parameters, so there is no initialization to probe."
    ] * 2


def test_trials_are_told_apart() -> None:
    line: queue.Queue[Any] = queue.Queue()
    trial = study(by_samples).ask()
    first: Any = Shared(trial, line)
    second: Any = Shared(None, line)
    assert is_shared(first)
    assert is_shared(second)
    assert not is_shared(trial)
    assert study_of(first) is study_of(trial) is trial.study
    assert study_of(second) is study_of(FixedTrial({})) is None
