"""Batches of all kinds, and what a probe tells of the models that are called with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence
from torch.utils.data import DataLoader

from recent_prune.data import load_digits
from tests.networks import Bert, Compared
from tests.probe.called_models import (
    ByAttribute,
    Complex,
    Detector,
    EncoderDecoder,
    Energy,
    Graphs,
    Named,
    OverNodes,
    Packed,
    PairLoss,
    SeveralLosses,
    Table,
    TableFromMapping,
)

DIGITS = load_digits()
X, Y = DIGITS.train[:320].flatten(1), DIGITS.train_labels[:320]
SIZE = 64


def loader(rows: list[Any], collate: Callable[[list[Any]], Any] | None = None) -> DataLoader[Any]:
    return DataLoader(rows, SIZE, collate_fn=collate)  # type: ignore[arg-type]


def table() -> list[dict[str, Tensor]]:
    """Rows as of a data set, with a label."""
    draw = torch.Generator().manual_seed(0)
    kinds = torch.randint(2, (320,), generator=draw)
    dense = torch.randn(320, 4, generator=draw).repeat(1, 3) + kinds[:, None]
    wide = torch.randint(20, (320,), generator=draw)
    deep = torch.randint(10, (320,), generator=draw) + 10 * kinds
    names = ("wide", "deep", "dense", "label")
    return [
        dict(zip(names, row, strict=True)) for row in zip(wide, deep, dense, kinds, strict=True)
    ]


def sentences(padded_to: int | None = None) -> DataLoader[Any]:
    """Tokens, padded batch by batch, with their mask and labels."""
    draw = torch.Generator().manual_seed(0)
    rows = []
    for place in range(320):
        length, label = int(torch.randint(3, 15, (), generator=draw)), place % 2
        words = torch.randint(1, 25, (length,), generator=draw) + 24 * label
        rows.append((words, label))

    def padded(some: list[tuple[Tensor, int]]) -> dict[str, Tensor]:
        ids = nn.utils.rnn.pad_sequence([words for words, _ in some], batch_first=True)
        if padded_to is not None:
            ids = F.pad(ids, (0, padded_to - ids.shape[1]))
        labels = torch.tensor([label for _, label in some])
        return {"attention_mask": (ids != 0).long(), "input_ids": ids, "labels": labels}

    return loader(rows, padded)


def triples() -> list[tuple[Tensor, ...]]:
    return [tuple(batch.values()) for batch in loader(table())]


CATEGORIES = ("dense", "embedding", "embedding#2")
INSIDE = ("batch.dense", "model.embedding", "model.embedding#2")


def translations() -> list[dict[str, Tensor]]:
    ids = torch.randint(0, 50, (320, 7), generator=torch.Generator().manual_seed(0))
    whole = {"input_ids": ids, "labels": ids.flip(1)}
    parts = zip(*(tensor.split(SIZE) for tensor in whole.values()), strict=True)
    return [dict(zip(whole, part, strict=True)) for part in parts]


SPECTRUM = torch.fft.fft2(DIGITS.train[:320, 0]).flatten(1) / 8


@dataclass
class Record:
    """A batch as some own collate functions make it."""

    a: Tensor
    b: Tensor
    y: Tensor
    note: str = "kept"


def packed() -> list[tuple[PackedSequence, Tensor]]:
    images = [image.view(8, 8)[: 8 - place % 3] for place, image in enumerate(X)]
    parts = [images[k : k + SIZE] for k in range(0, len(images), SIZE)]
    rows = [nn.utils.rnn.pack_sequence(part, enforce_sorted=False) for part in parts]
    return list(zip(rows, Y.split(SIZE), strict=True))


def detections() -> DataLoader[Any]:
    rows = []
    for place, image in enumerate(X):
        size = 8 + place % 4
        large = F.interpolate(image.view(1, 1, 8, 8), size=(size, 8))[0]
        rows.append((large, {"boxes": image[:4], "labels": Y[place]}))
    return loader(rows, lambda some: tuple(zip(*some, strict=True)))


def graphs() -> list[Graphs]:
    return [Graphs(*pair) for pair in zip(X.split(SIZE), Y.split(SIZE), strict=True)]


SAME = (Y.roll(1) == Y).long()


def pairs() -> list[tuple[Tensor, Tensor, Tensor]]:
    """Two images, and whether they show the same digit."""
    return list(zip(*(t.split(SIZE) for t in (X, X.roll(1, 0), SAME)), strict=True))


def nested() -> list[tuple[tuple[Tensor, Tensor], Tensor]]:
    return [((a, b), same) for a, b, same in pairs()]


def records() -> list[Record]:
    return [Record(*three) for three in pairs()]


def of_logits(output: Any, target: Tensor) -> Tensor:
    return F.cross_entropy(output["logits"], target)


def named() -> list[Named]:
    return [Named(a=a, b=b, y=same) for a, b, same in pairs()]


def singles(inputs: Tensor) -> Callable[[], list[tuple[Tensor, Tensor]]]:
    return lambda: list(zip(inputs.split(SIZE), Y.split(SIZE), strict=True))


@dataclass(frozen=True)
class Case:
    """A model, its batches and loss (None: its own), and what a probe tells of it."""

    build: Callable[[], nn.Module]
    batches: Callable[[], Any]
    loss: Any
    depth: int
    inputs: tuple[str, ...]


cross_entropy = F.cross_entropy
CASES = {
    "three arguments": Case(Table, lambda: loader(table()), of_logits, 2, CATEGORIES),
    "triples": Case(Table, triples, of_logits, 2, CATEGORIES),
    "one mapping": Case(TableFromMapping, lambda: loader(table()), of_logits, 2, INSIDE),
    "padded": Case(Bert, sentences, None, 7, ("words",)),
    "padded, loss of logits": Case(Bert, sentences, of_logits, 7, ("words",)),
    "padded to one length": Case(Bert, lambda: sentences(20), None, 7, ("words",)),
    "encoder-decoder": Case(EncoderDecoder, translations, None, 6, ("words", "words#2")),
    "complex": Case(Complex, singles(SPECTRUM), cross_entropy, 3, ()),
    "nested": Case(Compared, nested, cross_entropy, 3, ("a", "b")),
    "dataclass": Case(Compared, records, cross_entropy, 3, ("a", "b")),
    "attributes": Case(ByAttribute, named, cross_entropy, 3, ("batch.a", "batch.b")),
    "own loss": Case(PairLoss, pairs, None, 3, ("a", "b")),
    "several losses": Case(SeveralLosses, pairs, None, 3, ("a", "b")),
    "energy": Case(Energy, singles(X), cross_entropy, 3, ()),
    "packed": Case(Packed, packed, cross_entropy, 2, ("rows",)),
    "detector": Case(Detector, detections, None, 2, ("images",)),
    "graphs": Case(OverNodes, graphs, cross_entropy, 2, ("data.x",)),
}
