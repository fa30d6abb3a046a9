"""One trial on two real processes, with batches of all kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recent_prune.optuna import attributes
from tests.optuna.two_processes import CASES, run
from tests.processes import FORKED

Answers = dict[tuple[str, bool, int], Any]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """What each of two processes was told, by case, whether it was trained, and rank."""
    folder: Path = tmp_path_factory.mktemp("two")
    line = FORKED.Queue()
    processes = [FORKED.Process(target=run, args=(rank, str(folder), line)) for rank in range(2)]
    for process in processes:
        process.start()
    try:
        found: Answers = {}
        for _ in range(2 * 2 * len(CASES)):
            case, trained, rank, answer = line.get(timeout=120)
            found[case, trained, rank] = answer
        return found
    finally:
        for process in processes:
            process.join(timeout=60)
            process.kill()


@pytest.mark.parametrize("trained", [False, True], ids=["forward", "trained"])
@pytest.mark.parametrize("case", CASES)
def test_both_are_told_the_verdict_of_the_first(case: str, trained: bool, answers: Answers) -> None:
    first, second = (answers[case, trained, rank] for rank in range(2))
    assert first == second
    trainable, reason, stored, untouched = first
    assert trainable
    assert untouched
    assert stored[attributes.REASON] == reason
    assert attributes.FAULT not in stored
