"""What a probe of a model that is called with whole batches refuses."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import recent_prune as rp
from tests.networks import Bert, Compared
from tests.probe.called import (
    SAME,
    X,
    Y,
    of_logits,
    pairs,
    table,
)
from tests.probe.called_models import EncoderDecoder, Table

TRAINED = pytest.mark.parametrize("trained", [False, True], ids=["forward", "trained"])


def training(loss: Any = F.cross_entropy) -> rp.Training:
    return rp.Training(loss, lambda p: torch.optim.Adam(p, 1e-3), steps=2)


def swapped(model: nn.Module, batch: Any) -> Any:
    return model(batch[1], batch[0])


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"call": 3}, TypeError, "`call` must be a function of model and batch, but got 3"),
        ({"call": swapped, "training": training()}, ValueError, r"must be None .*Training\(…, ca"),
        ({"estimator": "cascade"}, ValueError, "`estimator` must be 'ridge' for a model that is"),
        ({"reconstruct": X[:2]}, ValueError, "`reconstruct` must be None for a model that is"),
        ({"layers": ["third"]}, ValueError, r"`layers` must name modules .* \['third'\]"),
        ({"layers": "first"}, TypeError, "`layers` must be a sequence of names"),
    ],
)
def test_refuses_bad_arguments(settings: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        rp.probe(Compared(), pairs(), **settings)


@pytest.mark.parametrize(
    ("batch", "held"),
    [
        ({"left": X, "right": X, "y": Y}, r"'left', 'right'"),
        ({"a": X, "right": X, "y": Y}, r"'a', 'right'"),
        (X, r"\(\d+, 64\)"),
        ((X,), r"\(\d+, 64\)"),
    ],
)
@TRAINED
def test_what_fits_no_convention_is_refused_with_a_way_out(
    batch: Any, held: str, trained: bool
) -> None:
    with pytest.raises((TypeError, ValueError), match="say how with a batch") as caught:
        rp.probe(Compared(), [batch], training=training() if trained else None)
    said = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert "Compared(a: 'Tensor', b: 'Tensor')" in said
    assert "call=lambda model, batch: model(…)" in said
    assert re.search(held, said)


def rows(tokens: int) -> list[dict[str, Tensor]]:
    """As of a data set of transformers', before they are put together."""
    ids = torch.randint(1, 50, (64, tokens))
    return [{"input_ids": row, "labels": torch.tensor(k % 2)} for k, row in enumerate(ids)]


@pytest.mark.parametrize(
    ("build", "items"),
    [
        (Compared, [((a, b), int(same)) for a, b, same in zip(X, X, SAME, strict=True)]),
        (Compared, [(a, b, same) for a, b, same in zip(X, X, SAME, strict=True)]),
        (Table, table()),
        (Bert, rows(20)),
        (Bert, [{**row, "labels": int(row["labels"])} for row in rows(20)]),
    ],
    ids=["nested", "triples", "table", "tokens", "tokens, number"],
)
@TRAINED
def test_single_samples_are_not_taken_for_batches(
    build: Any, items: list[Any], trained: bool
) -> None:
    with pytest.raises(ValueError, match="looks like a single sample") as caught:
        rp.probe(build(), items, training=training(of_logits) if trained else None)
    assert "DataLoader(dataset, batch_size=…)" in str(caught.value)


def spoiled(value: float) -> Tensor:
    inputs = X.clone()
    inputs[3, 4] = value
    return inputs


ALIKE = X[:1].repeat(64, 1)
SENTENCE = torch.arange(1, 6).repeat(64, 1)


@pytest.mark.parametrize(
    ("build", "batch", "message"),
    [
        (Compared, (X, spoiled(math.nan), SAME), "must be finite, but 'b' holds NaN or infinity"),
        (Compared, (spoiled(math.inf), X, SAME), "must be finite, but 'a' holds NaN or infinity"),
        (Compared, (ALIKE, ALIKE, SAME[:64]), "must vary, but all samples are equal"),
        (Bert, {"input_ids": SENTENCE, "attention_mask": SENTENCE}, "must vary, but all samples"),
        (Compared, (X[:9], X[9:18], SAME[:9]), "must hold at least 16 samples, but got 9"),
    ],
)
def test_samples_that_tell_nothing_are_refused(
    build: Callable[[], nn.Module], batch: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=f"`inputs` {message}"):
        rp.probe(build(), [batch])


def test_of_two_inputs_one_may_be_the_same_for_all() -> None:
    """A constant, such as a grid: there is nothing to get back of it."""
    assert rp.probe(Compared(), [(X[:64], ALIKE)]).inputs == ("a",)


def test_an_error_of_the_model_is_its_own() -> None:
    with pytest.raises(ValueError, match="labels must be given"):
        rp.probe(EncoderDecoder(), [{"input_ids": torch.randint(0, 50, (64, 7))}])


def test_the_cascade_follows_one_tensor_also_of_many_models() -> None:
    (found,) = rp.probe_many([Compared()], (X, X, SAME), estimator="cascade")
    assert isinstance(found, ValueError)
    assert str(found).startswith("`estimator` must be 'ridge' for a model that is called with more")
