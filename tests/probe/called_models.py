"""Models that are called with whole batches, as their users call them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from tests.networks import Compared


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


class Packed(nn.Module):
    """Of sequences of unlike lengths, packed."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.LSTM(8, 16, 2), nn.Linear(16, 10)

    def forward(self, rows: PackedSequence) -> Tensor:
        return self.head(self.body(rows)[1][0][-1])  # type: ignore[no-any-return]


class Detector(nn.Module):
    """Takes lists, of images and of what is on them; returns losses in training mode alone."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 4)

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None) -> Any:
        height, width = (max(image.shape[k] for image in images) for k in (1, 2))
        same = [F.pad(i, (0, width - i.shape[2], 0, height - i.shape[1])) for i in images]
        hidden = torch.relu(self.second(torch.relu(self.first(torch.stack(same)))))
        boxes = self.head(hidden.mean(dim=(2, 3)))
        if not self.training or targets is None:
            return [{"boxes": row} for row in boxes]
        wanted = torch.stack([target["boxes"] for target in targets])
        return {"boxes": F.mse_loss(boxes, wanted), "sizes": boxes.square().mean()}


class Graphs:
    """A batch of graphs, as PyTorch Geometric has them: ``to`` changes it in place."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        sizes = 3 + torch.arange(len(images)) % 4
        self.batch = torch.repeat_interleave(torch.arange(len(images)), sizes)
        rows = images.view(-1, 8, 8)
        self.x = torch.cat([row[:size] for row, size in zip(rows, sizes.tolist(), strict=True)])
        self.y, self.num_graphs = labels, len(images)

    def to(self, device: torch.device) -> Graphs:
        self.x, self.y = self.x.to(device), self.y.to(device)
        self.batch = self.batch.to(device)
        return self


class OverNodes(nn.Module):
    """Writes into the graph, as examples do."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 10)

    def forward(self, data: Graphs) -> Tensor:
        data.x = torch.tanh(self.first(data.x))
        data.x = torch.tanh(self.second(data.x))
        whole = torch.zeros(data.num_graphs, 16).index_add(0, data.batch, data.x)
        return self.head(whole)  # type: ignore[no-any-return]


class Named(dict[str, Tensor]):
    """A mapping with attributes, as transformers' batches are."""

    def __getattr__(self, name: str) -> Tensor:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class ByAttribute(Compared):
    def forward(self, batch: Named) -> Tensor:  # type: ignore[override]
        return super().forward(batch.a, batch.b)
