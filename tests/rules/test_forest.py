from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor

from benchmarks.prediction.trials.fit import fitted
from recent_prune.rules.forest import Forest, Tree

STUMP = Tree((0, -1, -1), (0.5, 0.0, 0.0), (1, 0, 0), (2, 0, 0), (0.0, 1.0, 3.0))


def forest(*trees: Tree) -> Forest:
    return Forest(("a", "b"), (0.7, 0.0), (0.0, -1.0), (1.0, 1.0), trees)


def test_a_tree_leads_to_its_leaf() -> None:
    assert STUMP([0.5]) == 1.0
    assert STUMP([0.51]) == 3.0


def test_mean_over_the_trees_and_what_their_deviation_says_of_it() -> None:
    other = Tree((-1,), (0.0,), (0,), (0,), (5.0,))
    known = replace(forest(STUMP, other), error=(0.1, 0.5))
    answer = known({"a": 0.0, "b": 0.0})
    assert answer.mean == 3.0
    assert answer.error == pytest.approx(0.1 + 0.5 * 2.0)
    assert answer.outside == ()
    assert math.isnan(forest(STUMP)({"a": 0.0, "b": 0.0}).error)


def test_what_is_missing_counts_as_typical() -> None:
    assert forest(STUMP)({"a": math.nan, "b": 0.0}).mean == 3.0


def test_names_what_lies_outside() -> None:
    assert forest(STUMP)({"a": 1.5, "b": -2.0}).outside == ("a", "b")
    assert forest(STUMP)({"a": 1.5, "b": 1.0}).outside == ("a",)


def test_a_number_must_be_there() -> None:
    with pytest.raises(ValueError, match=r"lack \['b'\]"):
        forest(STUMP)({"a": 0.0})


def test_survives_json() -> None:
    known = forest(STUMP)
    assert Forest.from_dict(known.to_dict()) == known


def test_says_what_scikit_learn_says() -> None:
    import pandas as pd

    draw = np.random.default_rng(0)
    numbers = pd.DataFrame(draw.normal(size=(200, 4)), columns=list("abcd"))
    reach = pd.Series(np.tanh(numbers["a"] * numbers["b"]) + 0.1 * draw.normal(size=200))
    ours = fitted(numbers, reach)
    twin = ExtraTreesRegressor(100, max_leaf_nodes=64, min_samples_leaf=3, random_state=0)
    twin.fit(numbers.to_numpy(), reach.to_numpy())
    said = [ours({str(k): v for k, v in row.items()}).mean for row in numbers.to_dict("records")]
    assert said == pytest.approx(twin.predict(numbers.to_numpy()), abs=2e-2)
    assert np.corrcoef(said, twin.predict(numbers.to_numpy()))[0, 1] > 0.9999
