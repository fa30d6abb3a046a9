from __future__ import annotations

import pickle

import pytest

from recent_prune.testing import example_results


@pytest.mark.parametrize("kind", example_results())
def test_a_result_is_the_same_as_its_copy(kind: str) -> None:
    result = example_results()[kind]
    copy = pickle.loads(pickle.dumps(result))  # whose NaN is another object
    assert copy == result
    assert len({copy, result}) == 1


def test_other_results_are_others() -> None:
    results = list(example_results().values())
    assert sum(one == other for one in results for other in results) == len(results)
