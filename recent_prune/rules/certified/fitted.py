"""What a certified rule learns from, and what it has learnt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any, Self

from recent_prune.rules.certified.learned_score import LearnedScore, Parameters

FORMAT = "recent_prune.FittedScore"
VERSION = 2
"""Of the file; one with another version is refused."""


@dataclass(frozen=True)
class PastTrial:
    """A trial that was judged before.

    Attributes:
        number: Its place in the study.
        features: Of its probe, see :func:`recent_prune.rules.probe_features`.
        parameters: Its hyperparameters.
        share: The probability with which it was to run though condemned; None where not condemned.
        ran: Whether it was run.
        score: That it was judged by; None where nothing was fitted yet.
        ended: Whether its outcome is known.
        value: Its final value; None if it has none (pruned on the way, failed, or not run).
    """

    number: int
    features: Mapping[str, float]
    parameters: Parameters
    share: float | None = None
    ran: bool = True
    score: float | None = None
    ended: bool = True
    value: float | None = None


@dataclass(frozen=True)
class FittedScore:
    """What a study was calibrated to.

    Attributes:
        score: From features and parameters to log-odds.
        threshold: Scores strictly below it are condemned.
        good_bound: The value from which on a trial was good.
        calibrated_on: Good trials that the threshold rests on.
        direction: Of the study, ``"maximize"`` or ``"minimize"``.
    """

    score: LearnedScore
    threshold: float
    good_bound: float
    calibrated_on: int
    direction: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, with a format and a version; a few KiB."""
        return {"format": FORMAT, "version": VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The reverse of :meth:`to_dict`.

        Raises:
            ValueError: If it is something else, of another version, or with other features.
        """
        known = {item.name for item in fields(cls)}
        if data.get("format") != FORMAT or set(data) != known | {"format", "version"}:
            raise ValueError(f"This is no {FORMAT}: it has {sorted(data)}.")
        if data["version"] != VERSION:
            raise ValueError(
                f"The {FORMAT} has version {data['version']}, but only version {VERSION} can be "
                "read: fit it again."
            )
        score = LearnedScore.from_dict(data["score"])
        return cls(score=score, **{name: data[name] for name in known - {"score"}})

    def save(self, path: str | PathLike[str]) -> None:
        """Write it to a file of JSON."""
        Path(path).write_text(json.dumps(self.to_dict()), encoding="utf-8")

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: If the file holds something else, another version, or other features.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} is no JSON: {error}") from error
        if not isinstance(data, dict):
            raise ValueError(f"{path} holds a {type(data).__name__}, not a {FORMAT}.")
        return cls.from_dict(data)
