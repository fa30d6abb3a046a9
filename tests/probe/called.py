"""Models that are called with whole batches, and such batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from recent_prune.data import load_digits
from tests.networks import Bert, Compared

DIGITS = load_digits()
X, Y = DIGITS.train[:320].flatten(1), DIGITS.train_labels[:320]
SIZE = 64


def loader(rows: list[Any], collate: Callable[[list[Any]], Any] | None = None) -> DataLoader[Any]:
    return DataLoader(rows, SIZE, collate_fn=collate)  # type: ignore[arg-type]


class Table(nn.Module):
    """Categories in two columns and numbers, as three arguments; returns a mapping."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.hidden, self.out = nn.Linear(16 + 12, 32), nn.Linear(32, 2)

    def forward(self, wide: Tensor, deep: Tensor, dense: Tensor) -> dict[str, Tensor]:
        columns = [self.embedding(wide.long()), self.embedding(deep.long()), dense]
        logits = self.out(torch.relu(self.hidden(torch.cat(columns, 1))))
        return {"logits": logits, "classes": logits.argmax(1)}


class TableFromMapping(nn.Module):
    """The same, called with one mapping."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Table()

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return self.model(batch["wide"], batch["deep"], batch["dense"])  # type: ignore[no-any-return]


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


class EncoderDecoder(nn.Module):
    """What its decoder gets it makes of the labels."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 16)
        self.body = nn.Transformer(16, 2, 1, 1, 32, 0.0, batch_first=True)
        self.head = nn.Linear(16, 50)

    def forward(self, input_ids: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        if labels is None:
            raise ValueError("labels must be given")
        logits = self.head(self.body(self.words(input_ids), self.words(F.pad(labels, (1, -1)))))
        return {"loss": F.cross_entropy(logits.flatten(0, 1), labels.flatten()), "logits": logits}


def translations() -> list[dict[str, Tensor]]:
    ids = torch.randint(0, 50, (320, 7), generator=torch.Generator().manual_seed(0))
    whole = {"input_ids": ids, "labels": ids.flip(1)}
    parts = zip(*(tensor.split(SIZE) for tensor in whole.values()), strict=True)
    return [dict(zip(whole, part, strict=True)) for part in parts]


class ComplexReLU(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return torch.complex(torch.relu(z.real), torch.relu(z.imag))


class Complex(nn.Module):
    """Complex weights; the classes are magnitudes at the end."""

    def __init__(self, depth: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers += [nn.Linear(64, 64, dtype=torch.complex64), ComplexReLU()]
        self.net = nn.Sequential(*layers, nn.Linear(64, 10, dtype=torch.complex64))

    def forward(self, z: Tensor, phase: Tensor | None = None) -> Tensor:
        turned = z if phase is None else z * torch.polar(torch.ones_like(phase), phase)
        return self.net(turned).abs()  # type: ignore[no-any-return]


SPECTRUM = torch.fft.fft2(DIGITS.train[:320, 0]).flatten(1) / 8


class PairLoss(Compared):
    """Returns its loss, as the only thing."""

    def forward(self, a: Tensor, b: Tensor, same: Tensor) -> Tensor:  # type: ignore[override]
        return F.cross_entropy(super().forward(a, b), same)


class SeveralLosses(Compared):
    """Returns losses in training mode and predictions otherwise, as detectors do."""

    def forward(self, a: Tensor, b: Tensor, y: Tensor | None = None) -> Any:
        logits = super().forward(a, b)
        if not self.training or y is None:
            return [{"scores": row} for row in logits]
        return {"classes": F.cross_entropy(logits, y), "size": 0.01 * logits.square().mean()}


class Energy(nn.Module):
    """A force: the slope of an energy, which needs autograd in the forward pass."""

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1)]
        self.net, self.head = nn.Sequential(*layers), nn.Linear(64, 10)

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        x = x.clone().requires_grad_()
        energy = self.net(x).sum()
        (slope,) = torch.autograd.grad(energy, x, create_graph=True)
        return self.head(slope if scale is None else slope * scale)  # type: ignore[no-any-return]


@dataclass
class Record:
    """A batch as some own collate functions make it."""

    a: Tensor
    b: Tensor
    y: Tensor
    note: str = "kept"


SAME = (Y == Y.roll(1)).long()


def pairs() -> list[tuple[Tensor, Tensor, Tensor]]:
    """Two images, and whether they show the same digit."""
    return list(zip(*(t.split(SIZE) for t in (X, X.roll(1, 0), SAME)), strict=True))


def nested() -> list[tuple[tuple[Tensor, Tensor], Tensor]]:
    return [((a, b), same) for a, b, same in pairs()]


def records() -> list[Record]:
    return [Record(*three) for three in pairs()]


def of_logits(output: Any, target: Tensor) -> Tensor:
    return F.cross_entropy(output["logits"], target)


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any], Any]] = {
    "three arguments": (Table, lambda: loader(table()), of_logits),
    "one mapping": (TableFromMapping, lambda: loader(table()), of_logits),
    "triples": (Table, lambda: [tuple(b.values()) for b in loader(table())], of_logits),
    "padded": (Bert, sentences, None),
    "padded, own loss": (Bert, sentences, of_logits),
    "one length": (Bert, lambda: sentences(20), None),
    "encoder-decoder": (EncoderDecoder, translations, None),
    "complex": (
        Complex,
        lambda: list(zip(SPECTRUM.split(SIZE), Y.split(SIZE), strict=True)),
        F.cross_entropy,
    ),
    "nested": (Compared, nested, F.cross_entropy),
    "dataclass": (Compared, records, F.cross_entropy),
    "pair, own loss": (PairLoss, pairs, None),
    "several losses": (SeveralLosses, pairs, None),
    "energy": (
        Energy,
        lambda: list(zip(X.split(SIZE), Y.split(SIZE), strict=True)),
        F.cross_entropy,
    ),
}
"""Model, batches and loss (None: the model's own) by name."""
