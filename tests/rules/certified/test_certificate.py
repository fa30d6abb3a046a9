from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable

import numpy as np
import pytest
from scipy.stats import beta, binom

from recent_prune.rules.certified.certificate import (
    Certificate,
    Record,
    Tally,
    calibrated_threshold,
    calibration_trials,
)


def certificate(records: Iterable[Record], tolerance: float, confidence: float) -> Certificate:
    """What they certify, counted anew."""
    tally = Tally(tolerance, confidence)
    for record in records:
        tally.add(record)
    return tally.certificate()


def rate_at_most(lost: int, good: int, confidence: float) -> float:
    """Upper bound of a rate of which ``lost`` of ``good`` were seen (Clopper and Pearson 1934)."""
    if lost >= good:
        return 1.0
    return float(np.asarray(beta.ppf(confidence, lost + 1, good - lost)))


@pytest.mark.parametrize(("tolerance", "trials"), [(0.05, 59), (0.01, 299), (0.001, 2995)])
def test_needed_sample_sizes_are_those_of_theory(tolerance: float, trials: int) -> None:
    assert calibration_trials(tolerance, 0.95) == trials
    assert rate_at_most(0, trials, 0.95) <= tolerance < rate_at_most(0, trials - 1, 0.95)


def test_a_lost_trial_asks_for_more() -> None:
    assert calibration_trials(0.05, 0.95, lost=1) == 93
    assert rate_at_most(1, 93, 0.95) <= 0.05 < rate_at_most(1, 92, 0.95)


class TestThreshold:
    def test_too_few_trials_condemn_nothing(self) -> None:
        assert calibrated_threshold(list(np.arange(58.0)), 0.05, 0.95) == -math.inf
        assert calibrated_threshold([], 0.05, 0.95) == -math.inf

    def test_with_just_enough_it_is_the_least_score(self) -> None:
        assert calibrated_threshold(list(np.arange(59.0)), 0.05, 0.95) == 0.0

    @pytest.mark.parametrize("good", [59, 93, 200, 500])
    def test_is_the_greatest_that_a_search_by_hand_finds(self, good: int) -> None:
        scores = np.random.default_rng(good).normal(size=good)
        found = -math.inf
        for threshold in sorted(scores):
            lost = int((scores < threshold).sum())
            if rate_at_most(lost, good, 0.95) > 0.05:
                break
            found = threshold
        assert calibrated_threshold(list(scores), 0.05, 0.95) == found

    def test_holds_its_confidence(self) -> None:
        numbers = np.random.default_rng(0)
        kept = 0
        for _ in range(2000):
            threshold = calibrated_threshold(list(numbers.uniform(size=150)), 0.05, 0.9)
            kept += threshold <= 0.05  # of uniform scores the rate is the threshold itself
        # Within three standard deviations of at least 90 %.
        assert kept / 2000 >= 0.9 - 3 * math.sqrt(0.09 / 2000)


def run(good: bool | None) -> Record:
    return Record(None, True, good)


def pruned(share: float) -> Record:
    return Record(share, False, None)


def audited(share: float, good: bool) -> Record:
    return Record(share, True, good)


class TestCertificate:
    def test_without_good_trials_all_condemned_ones_run(self) -> None:
        state = certificate([run(False)] * 10, 0.05, 0.95)
        assert state.share(0.05) == 1.0
        assert state.rate == 0.0

    def test_the_more_good_trials_the_fewer_must_be_audited(self) -> None:
        shares = [
            certificate([run(True)] * good, 0.05, 0.95).share(0.05)
            for good in (0, 20, 60, 200, 600, 6000)
        ]
        assert shares == sorted(shares, reverse=True)
        assert shares[-1] == 0.05
        budget = 0.05 / 0.95 * 200
        assert shares[3] == pytest.approx(1 - 0.025 ** (1 / budget))

    def test_bound_is_the_number_pruned_while_they_are_few(self) -> None:
        assert certificate([run(True)] * 99 + [pruned(0.05)], 0.05, 0.95).lost == 1
        assert certificate([run(True)] * 99 + [pruned(0.05)], 0.05, 0.95).rate == 0.01

    def test_bound_is_what_the_audits_would_have_missed(self) -> None:
        # ln(1/0.025) / -ln(1 - 0.5) = 5.3
        assert certificate([pruned(0.5)] * 100, 0.05, 0.95).lost == 5
        # The worst case has the good ones where audits were rarest.
        mixed = [pruned(0.9)] * 50 + [pruned(0.1)] * 3
        assert certificate(mixed, 0.05, 0.95).lost == 3 + math.floor(
            (math.log(40) + 3 * math.log(0.9)) / math.log(10)
        )

    def test_a_good_one_among_the_audited_is_written_off_and_begins_a_phase(self) -> None:
        good = [run(True)] * 400
        before = certificate([*good, pruned(0.3), pruned(0.3)], 0.05, 0.95)
        after = certificate([*good, pruned(0.3), pruned(0.3), audited(0.3, True)], 0.05, 0.95)
        assert after.found == 1
        assert after.lost == before.lost == 2
        assert after.level == before.level / 2
        assert after.budget == pytest.approx(0.05 / 0.95 * 401 - 2)
        assert after.share(0.05) > before.share(0.05)

    def test_what_was_bound_to_run_is_no_evidence(self) -> None:
        assert certificate([audited(1.0, True)], 0.05, 0.95).found == 0

    def test_outcomes_to_come_count_as_nothing(self) -> None:
        assert certificate([run(None), Record(0.5, True, None)], 0.05, 0.95).good == 0

    @pytest.mark.parametrize("tolerance", [0.05, 0.2])
    @pytest.mark.parametrize("begins", [0, 150])
    def test_an_adversary_that_condemns_good_trials_only_stays_within(
        self, tolerance: float, begins: int
    ) -> None:
        """The realised rate at the end, and the bound at all times."""
        numbers = random.Random(0)
        exceeded = broken = 0
        studies = 150
        for _ in range(studies):
            records: list[Record] = []
            lost = good = 0
            violated = False
            for number in range(300):
                if number < begins or number % 2:
                    records.append(run(True))
                    good += 1
                    continue
                state = certificate(records, tolerance, 0.95)
                share = state.share(0.05)
                good += 1
                if numbers.random() < share:
                    records.append(audited(share, True))
                else:
                    records.append(pruned(share))
                    lost += 1
                    violated |= lost > certificate(records, tolerance, 0.95).lost
            exceeded += lost / good > tolerance
            broken += violated
        allowed = binom.ppf(0.999, studies, 0.05)
        assert exceeded <= allowed
        assert broken <= allowed

    def test_exact_probability_of_a_missed_phase(self) -> None:
        """All n condemned good trials are pruned unseen with probability Π (1 − ρ)."""
        shares = (0.3, 0.5, 0.2)
        chance = 0.0
        for ran in itertools.product([False, True], repeat=3):
            probability = math.prod(p if r else 1 - p for p, r in zip(shares, ran, strict=True))
            if not any(ran):
                chance += probability
        assert chance == pytest.approx(math.prod(1 - p for p in shares))
        level = chance * 1.001  # just above: three in a row are not yet ruled out
        records = [pruned(p) for p in shares]
        assert certificate(records, 0.05, 1 - 2 * level).lost == 2
        assert certificate(records, 0.05, 1 - 2 * chance * 0.999).lost == 3


@pytest.mark.parametrize(
    ("tolerance", "confidence", "message"),
    [
        (0.0, 0.95, r"`max_false_prune_rate` must lie in \(0, 1\), but got 0.0"),
        (0.01, 1.0, r"`confidence` must lie in \(0, 1\), but got 1.0"),
    ],
)
def test_rates(tolerance: float, confidence: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        calibration_trials(tolerance, confidence)
    with pytest.raises(ValueError, match=message):
        certificate([], tolerance, confidence)
