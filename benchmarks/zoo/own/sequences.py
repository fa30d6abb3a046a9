# ruff: noqa: D102 - what `forward` does is said of its class
# mypy: disable-error-code="no-any-return,index,operator,arg-type"
"""Own models of sequences that are not recurrent."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.zoo.data import WORDS, forecast, texts, tones
from benchmarks.zoo.own.building import own
from benchmarks.zoo.own.recurrent import translations, words_loss
from benchmarks.zoo.specification import adam, adamw


class TorchTransformer(nn.Module):
    """``nn.Transformer`` with causal and padding masks, made inside."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.place = nn.Embedding(WORDS, 32, padding_idx=0), nn.Embedding(64, 32)
        self.transformer = nn.Transformer(32, 4, 2, 2, 64, batch_first=True)
        self.head = nn.Linear(32, WORDS)

    def forward(self, src: Tensor, tgt: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(tgt.shape[1], tgt.device)
        out = self.transformer(
            self._embedded(src),
            self._embedded(tgt),
            tgt_mask=mask.isinf(),
            src_key_padding_mask=src == 0,
            tgt_key_padding_mask=tgt == 0,
            memory_key_padding_mask=src == 0,
        )
        return self.head(out)

    def _embedded(self, tokens: Tensor) -> Tensor:
        return self.embedding(tokens) + self.place(
            torch.arange(tokens.shape[1], device=tokens.device)
        )


class Encoder(nn.Module):
    """``nn.TransformerEncoder``, [t, n, d], called with tokens and a padding mask."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, 32, padding_idx=0)
        layer = nn.TransformerEncoderLayer(32, 4, 64)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 4)

    def forward(self, tokens: Tensor, src_key_padding_mask: Tensor) -> Tensor:
        x = self.encoder(self.embedding(tokens).transpose(0, 1), None, src_key_padding_mask)
        return self.head(x.mean(0))


def with_masks(seed: int) -> list[Any]:
    """(tokens, where there is padding, topics)."""
    found = texts(seed)
    return [(b["input_ids"], b["attention_mask"] == 0, b["labels"]) for b in found]


class TextCNN(nn.Module):
    """Kim's: several widths, and the largest over time."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, 32, padding_idx=0)
        self.convolutions = nn.ModuleList(nn.Conv1d(32, 32, k, padding=k // 2) for k in (3, 5, 7))
        self.head = nn.Linear(96, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens).transpose(1, 2)
        return self.head(torch.cat([F.relu(c(x)).amax(2) for c in self.convolutions], dim=1))


def topics(seed: int) -> list[Any]:
    """(tokens, topics), padded batch by batch."""
    return [(b["input_ids"], b["labels"]) for b in texts(seed)]


class BagOfWords(nn.Module):
    """``nn.EmbeddingBag`` with offsets, as PyTorch's text tutorial has it."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.EmbeddingBag(WORDS, 32), nn.Linear(32, 4)

    def forward(self, text: Tensor, offsets: Tensor) -> Tensor:
        return self.head(self.embedding(text, offsets))


def bags(seed: int) -> list[Any]:
    """(all words one behind the other, where each text begins, topics)."""
    batches = []
    for b in texts(seed):
        rows = [
            row[mask > 0] for row, mask in zip(b["input_ids"], b["attention_mask"], strict=True)
        ]
        starts = torch.tensor([0, *(len(row) for row in rows[:-1])]).cumsum(0)
        batches.append((torch.cat(rows), starts, b["labels"]))
    return batches


class SelectiveScan(nn.Module):
    """A Mamba-like recurrence: its steps depend on what it reads."""

    def __init__(self, width: int = 32, state: int = 8) -> None:
        super().__init__()
        self.first, self.into = nn.Linear(1, width), nn.Linear(width, 2 * width)
        self.conv = nn.Conv1d(width, width, 4, padding=3, groups=width)
        self.parameters_of = nn.Linear(width, 2 * state + width)
        self.log_decay = nn.Parameter(torch.arange(1.0, state + 1).log().repeat(width, 1))
        self.out, self.head, self.state = nn.Linear(width, width), nn.Linear(width, 4), state

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        u, gate = self.into(x).chunk(2, dim=-1)
        u = F.silu(self.conv(u.transpose(1, 2))[..., : u.shape[1]].transpose(1, 2))
        b, c, step = self.parameters_of(u).split([self.state, self.state, u.shape[-1]], dim=-1)
        step = F.softplus(step - 2)
        hidden = x.new_zeros(len(x), u.shape[-1], self.state)
        outputs = []
        for t in range(u.shape[1]):
            decay = torch.exp(-step[:, t, :, None] * self.log_decay.exp())
            hidden = decay * hidden + (step[:, t] * u[:, t])[..., None] * b[:, t, None]
            outputs.append((hidden * c[:, t, None]).sum(-1))
        mixed = self.out(torch.stack(outputs, dim=1) * F.silu(gate))
        return self.head((x + mixed).mean(1))


class LongConvolution(nn.Module):
    """An S4-like filter as long as the sequence, by Fourier transforms."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.mix, self.head = nn.Linear(1, 32), nn.Linear(32, 32), nn.Linear(32, 4)
        self.decay, self.filter = (
            nn.Parameter(torch.rand(32)),
            nn.Parameter(torch.randn(32, 40) / 6),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).transpose(1, 2)
        length = x.shape[2]
        place = torch.arange(length, device=x.device)
        kernel = self.filter * torch.exp(-self.decay.abs()[:, None] * place / 10)
        spectrum = torch.fft.rfft(x, 2 * length) * torch.fft.rfft(kernel, 2 * length)
        y = torch.fft.irfft(spectrum, 2 * length)[..., :length].transpose(1, 2)
        return self.head((x.transpose(1, 2) + self.mix(F.gelu(y))).mean(1))


class Temporal(nn.Module):
    """Dilated causal convolutions with residuals, channels first."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Conv1d(1, 32, 1), nn.Linear(32, 4)
        self.layers = nn.ModuleList(nn.Conv1d(32, 64, 3, dilation=2**i) for i in range(4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x.transpose(1, 2))
        for i, layer in enumerate(self.layers):
            a, b = layer(F.pad(x, (2 ** (i + 1), 0))).chunk(2, dim=1)
            x = x + torch.tanh(a) * b.sigmoid()
        return self.head(x.mean(2))


class NBeats(nn.Module):
    """Blocks that each explain a part of the past and of the future."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 40)
            )
            for _ in range(4)
        )

    def forward(self, past: Tensor) -> Tensor:
        future = past.new_zeros(len(past), 8)
        for block in self.blocks:
            back, ahead = block(past).split([32, 8], dim=1)
            past, future = past - back, future + ahead
        return future


ENTRIES = [
    own(
        "nn.Transformer",
        "encoder-decoder",
        TorchTransformer,
        lambda s: translations(s, nested=True),
        words_loss,
    ),
    own(
        "nn.TransformerEncoder, time first",
        "encoder",
        Encoder,
        with_masks,
        F.cross_entropy,
        adamw(1e-3),
    ),
    own("text CNN", "convolutional", TextCNN, topics, F.cross_entropy),
    own("bag of words with offsets", "MLP", BagOfWords, bags, F.cross_entropy, adam(5e-3)),
    own(
        "Mamba-like selective scan",
        "state space",
        SelectiveScan,
        tones,
        F.cross_entropy,
        adamw(3e-3),
    ),
    own(
        "S4-like long convolution",
        "state space",
        LongConvolution,
        tones,
        F.cross_entropy,
        adamw(3e-3),
    ),
    own("dilated causal convolutions", "convolutional", Temporal, tones, F.cross_entropy),
    own("N-BEATS", "series", NBeats, forecast, F.mse_loss),
]
