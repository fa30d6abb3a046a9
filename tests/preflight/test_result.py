from __future__ import annotations

import json
import math
from dataclasses import astuple, replace
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

import recent_prune as rp
from recent_prune.data import load_digits
from recent_prune.preflight import Estimate, PreflightResult
from recent_prune.probe import FirstSteps

RESULT = PreflightResult(
    device="cpu",
    method="traced",
    batch_size=128,
    memory=Estimate(1000.0, 900.0, 1200.0),
    parts={"parameters": 360, "activations": 640},
    growth=((400.0, 0.0), (360.0, 5.0)),
    operations=7000,
    above=0.1,
    budget=100,
    notes=("A note.",),
)


@pytest.fixture(scope="module")
def probed() -> rp.ProbeResult:
    digits = load_digits()
    training = rp.Training(
        cross_entropy, lambda p: torch.optim.SGD(p, 0.1), steps=4, budget=50, accumulate=2
    )
    batches = list(
        zip(digits.train.split(32)[:20], digits.train_labels.split(32)[:20], strict=True)
    )
    return rp.probe(rp.networks.mlp(64, 10, depth=2, width=16), batches, training=training)


def steps_of(result: rp.ProbeResult, **changed: Any) -> rp.ProbeResult:
    assert result.steps is not None
    return replace(result, steps=replace(result.steps, **changed))


def test_an_interval_by_relative_errors() -> None:
    assert Estimate.within(100.0, 0.1, 0.5) == Estimate(100.0, 90.0, 150.0)
    assert Estimate(1.0, 0.5, 2.0).times(3) == Estimate(3.0, 1.5, 6.0)


@pytest.mark.parametrize(("limit", "fits"), [(1200, True), (1199, False), (900, False)])
def test_it_fits_where_the_upper_end_does(limit: int, fits: bool) -> None:
    assert RESULT.fits(limit) is fits


def test_the_largest_batch_fits_and_the_next_does_not() -> None:
    for limit in (450, 700, 1200, 5000):
        largest = RESULT.largest_batch(limit)
        assert largest is not None
        needed = 360 + largest * 5
        assert 1.1 * needed + 100 <= limit or largest == 0
        assert 1.1 * (needed + 5) + 100 > limit


def test_where_the_optimizers_step_does_not_fit_no_batch_does() -> None:
    assert RESULT.largest_batch(1.1 * 400 + 99) == 0
    assert RESULT.largest_batch(1.1 * 400 + 101) == 8


def test_one_more_sample_takes_what_the_peak_does() -> None:
    assert RESULT.per_sample == 5
    assert replace(RESULT, batch_size=4).per_sample == 0


def test_largest_batches_where_there_is_none() -> None:
    assert RESULT.largest_batch(10) == 0
    assert replace(RESULT, growth=()).largest_batch(5000) is None
    assert replace(RESULT, growth=()).per_sample is None
    flat = replace(RESULT, growth=((1000.0, 0.0),))
    assert (flat.largest_batch(1201), flat.largest_batch(1199)) == (128, 0)


@pytest.mark.parametrize("limit", [0, -5, math.nan])
def test_limits_must_be_positive(limit: float) -> None:
    with pytest.raises(ValueError, match="`limit` must be a positive number of bytes, but got"):
        RESULT.fits(limit)
    with pytest.raises(ValueError, match="`limit` must be a positive number of bytes, but got"):
        RESULT.largest_batch(limit)


@pytest.mark.parametrize("limit", ["24GiB", None])
def test_limits_are_numbers(limit: Any) -> None:
    with pytest.raises(TypeError, match=r"`limit` must be a number of bytes such as 24 \* 2\*\*30"):
        RESULT.fits(limit)


def test_first_steps_tell_their_time(probed: rp.ProbeResult) -> None:
    steps = probed.steps
    assert steps is not None
    assert len(steps.step_seconds) == 3
    assert all(0 < second < steps.seconds for second in steps.step_seconds)
    assert 0 <= steps.loading_seconds < 1


def test_time_does_not_count_when_steps_are_compared(probed: rp.ProbeResult) -> None:
    assert steps_of(probed, step_seconds=(9.0,), loading_seconds=1.0) == probed


def test_refined_by_the_median_of_the_steps_and_the_loader(probed: rp.ProbeResult) -> None:
    told = steps_of(probed, step_seconds=(2.0, 1.0, 3.0), loading_seconds=0.5)
    refined = RESULT.refined(told)
    assert refined.step_seconds is not None
    assert astuple(refined.step_seconds) == pytest.approx((2.5, 0.75, 3.8))
    assert refined.training_seconds is not None
    assert astuple(refined.training_seconds) == pytest.approx((250.0, 75.0, 380.0))
    assert replace(refined, step_seconds=None) == RESULT
    assert RESULT.training_seconds is None


def test_the_budget_of_the_steps_is_taken_where_there_is_none(probed: rp.ProbeResult) -> None:
    refined = replace(RESULT, budget=None).refined(steps_of(probed, loading_seconds=math.nan))
    assert refined.budget == 50
    assert refined.training_seconds is not None


def test_a_probe_without_steps_tells_no_time(probed: rp.ProbeResult) -> None:
    for result in (replace(probed, steps=None), steps_of(probed, step_seconds=())):
        with pytest.raises(ValueError, match="`result` must be of a probe that made at least two"):
            RESULT.refined(result)


def test_to_json_and_back(probed: rp.ProbeResult) -> None:
    for result in (RESULT, RESULT.refined(probed), replace(RESULT, growth=())):
        text = json.dumps(result.to_dict(), allow_nan=False)
        assert PreflightResult.from_dict(json.loads(text)) == result
    with pytest.raises(ValueError, match=r"`data` must have the keys .*\['parts'\] are missing"):
        PreflightResult.from_dict({k: v for k, v in RESULT.to_dict().items() if k != "parts"})


def test_steps_of_earlier_versions_are_read(probed: rp.ProbeResult) -> None:
    known = probed.to_dict()
    assert json.loads(json.dumps(known))["steps"]["step_seconds"]
    for name in ("step_seconds", "loading_seconds"):
        del known["steps"][name]
    read = rp.ProbeResult.from_dict(known)
    assert read.steps == probed.steps
    assert isinstance(read.steps, FirstSteps)
    assert read.steps.step_seconds == ()
