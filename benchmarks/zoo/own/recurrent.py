# ruff: noqa: D102 - what `forward` does is said of its class
# mypy: disable-error-code="no-any-return,index,operator,arg-type"
"""Own recurrent networks."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from benchmarks.zoo.data import WORDS, cut, forecast, generator, texts, tones, waves
from benchmarks.zoo.own.building import own
from benchmarks.zoo.specification import adam


class Recurrent(nn.Module):
    """A stack, whose last time step is classified."""

    def __init__(self, kind: type[nn.RNNBase], inputs: int = 1, outputs: int = 4, **more: Any):
        super().__init__()
        self.rnn: nn.RNNBase = kind(inputs, 32, batch_first=True, **more)
        self.head = nn.Linear(64 if more.get("bidirectional") else 32, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][:, -1])


class TimeFirst(nn.Module):
    """[t, n, d] inside, the final state of a GRU."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(1, 32), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x.transpose(0, 1))[1][-1])


class Cells(nn.Module):
    """An LSTM cell in a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.LSTMCell(1, 32), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for step in x.unbind(1):
            state = self.cell(step, state)
        assert state is not None
        return self.head(state[0])


class Packed(nn.Module):
    """Called with a PackedSequence."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.LSTM(1, 32, num_layers=2), nn.Linear(32, 4)

    def forward(self, x: PackedSequence) -> Tensor:
        return self.head(self.rnn(x)[1][0][-1])


def packed(seed: int) -> list[Any]:
    """(PackedSequence of tones of lengths of their own, kinds)."""
    draw = generator(seed)
    batches = []
    for x, y in cut(*waves(seed, 40)):
        lengths = torch.randint(20, 41, (len(x),), generator=draw)
        batches.append((pack_padded_sequence(x, lengths, True, enforce_sorted=False), y))
    return batches


class WithLengths(nn.Module):
    """Called with tokens and their lengths; packs by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, 32, padding_idx=0)
        self.rnn = nn.LSTM(32, 32, bidirectional=True, batch_first=True)
        self.head = nn.Linear(64, 4)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        rows = pack_padded_sequence(self.embedding(tokens), lengths.cpu(), True, False)
        padded, _ = pad_packed_sequence(self.rnn(rows)[0], batch_first=True)
        return self.head(padded.sum(1) / lengths[:, None])


def with_lengths(seed: int) -> list[Any]:
    """(tokens, lengths, topics), padded batch by batch."""
    found = texts(seed)
    return [(b["input_ids"], b["attention_mask"].sum(1), b["labels"]) for b in found]


class LanguageModel(nn.Module):
    """Of each token the next one, [n, t, words]."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, 32)
        self.rnn, self.head = nn.LSTM(32, 64, 2, batch_first=True), nn.Linear(64, WORDS)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.rnn(self.embedding(tokens))[0])


def next_words(seed: int) -> list[Any]:
    """(tokens, those that follow), padded batch by batch."""
    found = [b["input_ids"] for b in texts(seed, "language")]
    return [(ids[:, :-1], ids[:, 1:]) for ids in found]


def words_loss(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output.flatten(0, 1), target.flatten(), ignore_index=0)


class Seq2Seq(nn.Module):
    """A GRU that reads, one that writes, and attention between them."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, 32, padding_idx=0)
        self.encoder, self.decoder = (nn.GRU(32, 64, batch_first=True) for _ in range(2))
        self.attention, self.head = nn.Linear(64, 64, bias=False), nn.Linear(128, WORDS)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        read, state = self.encoder(self.embedding(source))
        written, _ = self.decoder(self.embedding(target), state)
        scores = self.attention(written) @ read.transpose(1, 2) / 8
        scores = scores.masked_fill((source == 0)[:, None], -1e9)
        return self.head(torch.cat([written, scores.softmax(-1) @ read], dim=-1))


def translations(seed: int, *, nested: bool = False) -> list[Any]:
    """(source, target so far, target), as teacher forcing has it."""
    batches = []
    for b in texts(seed, "translation"):
        words = b["labels"].clamp(min=0)
        batches.append((b["input_ids"], words[:, :-1], words[:, 1:]))
    return [((a, b), c) for a, b, c in batches] if nested else batches


_recurrent: dict[str, tuple[type[nn.RNNBase], dict[str, Any]]] = {
    "RNN, tanh": (nn.RNN, {}),
    "RNN, ReLU": (nn.RNN, {"nonlinearity": "relu"}),
    "LSTM": (nn.LSTM, {}),
    "LSTM of 3 layers": (nn.LSTM, {"num_layers": 3, "dropout": 0.1}),
    "GRU of 2 layers": (nn.GRU, {"num_layers": 2}),
    "bidirectional LSTM of 2 layers": (nn.LSTM, {"num_layers": 2, "bidirectional": True}),
}


ENTRIES = [
    *(
        own(
            name,
            "recurrent",
            partial(Recurrent, kind, **more),
            tones,
            F.cross_entropy,
            adam(3e-3),
        )
        for name, (kind, more) in _recurrent.items()
    ),
    own("GRU, time first", "recurrent", TimeFirst, tones, F.cross_entropy, adam(3e-3)),
    own("LSTM cell in a loop", "recurrent", Cells, tones, F.cross_entropy, adam(3e-3)),
    own("LSTM of PackedSequence", "recurrent", Packed, packed, F.cross_entropy, adam(3e-3)),
    own("LSTM of tokens and lengths", "recurrent", WithLengths, with_lengths, F.cross_entropy),
    own("LSTM language model", "recurrent", LanguageModel, next_words, words_loss, adam(3e-3)),
    own("seq2seq with attention", "encoder-decoder", Seq2Seq, translations, words_loss, adam(3e-3)),
    own(
        "LSTM forecaster",
        "series",
        lambda: Recurrent(nn.LSTM, 1, 8),
        lambda s: [(x[..., None], y) for x, y in forecast(s)],
        F.mse_loss,
    ),
]
