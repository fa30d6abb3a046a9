"""The contract of a rule."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from recent_prune.rules import Cause, Verdict
from recent_prune.testing.results import example_results


class RuleContract:
    """What pruner, scheduler and reports rely on, whichever rule judges.

    Inherit from it in a test module, under a name that begins with ``Test``; pytest then runs what
    is inherited. Say which rule is meant, and test beside it what yours is for:

    .. code-block:: python

        class TestATenthArrives(RuleContract):
            def rule(self):
                return a_tenth_arrives

            def test_condemns_what_loses_its_input(self):
                assert not a_tenth_arrives(example_result([0.5, 0.05])).trainable

    The contract: a verdict on every result, numbers that are not finite among them; the same one
    whenever it is asked, also of a result that was stored and read; no change to the result; one
    line as a reason; a cause only where it condemns. ``score(result)``, where a rule has it, is a
    number for each result that a sampler can sort by, −∞ for what is broken.
    """

    def rule(self) -> Callable[[Any], Verdict]:
        """The rule that is tested; called anew for each test."""
        raise NotImplementedError(f"{type(self).__name__} must say its rule: def rule(self)")

    def results(self) -> Mapping[str, Any]:
        """What it must be able to judge, by what it is. Default: :func:`example_results`."""
        return example_results()

    def _judged(self) -> Iterator[tuple[str, Any, Verdict]]:
        rule = self.rule()
        for name, result in self.results().items():
            try:
                verdict = rule(result)
            except Exception as error:
                raise AssertionError(
                    f"{name}: the rule raised {type(error).__name__}: {error}"
                ) from error
            assert isinstance(verdict, Verdict), (
                f"{name}: the rule must return a Verdict, but returned {verdict!r}"
            )
            yield name, result, verdict

    def test_every_result_gets_a_verdict(self) -> None:
        """Also where there is nothing but NaN. :class:`Verdict` checks its own numbers."""
        assert list(self._judged()), "results() must hold one at least"

    def test_the_same_result_gets_the_same_verdict(self) -> None:
        """From the same rule later, and from another one of the same settings."""
        again = {name: verdict for name, _, verdict in self._judged()}
        rule = self.rule()
        for name, result, verdict in self._judged():
            assert verdict == again[name], f"{name}: first {verdict}, then {again[name]}"
            assert rule(result) == rule(result), f"{name}: another verdict when asked again"

    def test_a_result_that_was_stored_gets_the_same_verdict(self) -> None:
        """So that what stands in a study can be judged once more."""
        rule = self.rule()
        for name, result, verdict in self._judged():
            stored = json.loads(json.dumps(result.to_dict(), allow_nan=False))
            found = rule(type(result).from_dict(stored))
            assert found == verdict, f"{name}: {verdict}, but after storing {found}"

    def test_the_clock_does_not_count(self) -> None:
        """How long the probe took says nothing of the trial."""
        rule = self.rule()
        for name, result, verdict in self._judged():
            found = rule(replace(result, seconds=result.seconds + 1e6))
            assert found == verdict, f"{name}: {verdict}, but of a slower probe {found}"

    def test_the_result_is_left_alone(self) -> None:
        """Others judge it, too."""
        rule = self.rule()
        for name, result in self.results().items():
            before = copy.deepcopy(result)
            rule(result)
            assert str(result.to_dict()) == str(before.to_dict()), f"{name}: the result changed"

    def test_reasons_are_one_line_for_a_person(self) -> None:
        """They stand in tables, logs and notes. Advice likewise, where there is some."""
        for name, _, verdict in self._judged():
            for field, text in (("reason", verdict.reason), ("advice", verdict.advice)):
                if field == "advice" and text is None:
                    continue
                assert isinstance(text, str), f"{name}: `{field}` must be a text, but is {text!r}"
                assert text.strip() == text != "", f"{name}: `{field}` is empty or padded: {text!r}"
                assert len(text.splitlines()) == 1, f"{name}: `{field}` has several lines: {text!r}"

    def test_only_what_is_condemned_has_a_cause(self) -> None:
        """And it is one of :class:`Cause`, which reports count by."""
        for name, _, verdict in self._judged():
            if verdict.cause is not None:
                assert isinstance(verdict.cause, Cause), (
                    f"{name}: `cause` must be a Cause or None, but is {verdict.cause!r}"
                )
                assert not verdict.trainable, f"{name}: kept, but with the cause {verdict.cause}"

    def test_scores_can_be_sorted(self) -> None:
        """A number for each result, the same whenever it is asked."""
        score = getattr(self.rule(), "score", None)
        if score is None:  # a rule that does not rank
            return
        for name, result in self.results().items():
            found = score(result)
            assert isinstance(found, (int, float)), (
                f"{name}: the score must be a number, but is {found!r}"
            )
            assert not math.isnan(found), f"{name}: the score is NaN, which has no rank"
            assert found < math.inf, f"{name}: the score is infinite, which beats every trial"
            assert score(result) == found, f"{name}: another score when asked again"

    def test_rankings_say_how_sure_they_are(self) -> None:
        """By an ``error`` that is a number, or by None, where nothing is known."""
        ranking = getattr(self.rule(), "ranking", None)
        if ranking is None:  # a rule that does not say
            return
        for name, result in self.results().items():
            found = ranking(result)
            error = 0.0 if found is None else getattr(found, "error", None)
            assert isinstance(error, (int, float)), (
                f"{name}: the ranking must be None or have a number as `error`, but is {found!r}"
            )
            assert not error < 0, f"{name}: the error of the ranking is negative: {error}"
