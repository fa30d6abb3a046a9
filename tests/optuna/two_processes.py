"""What two processes of one trial run: each has its own part of the data, and they meet by gloo."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import optuna
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from recent_prune.optuna import ReconstructionEntropyPruner, probe_trial
from recent_prune.probe import Training
from tests.networks import Bert, mlp
from tests.optuna.studies import DIGITS

SIZE = 32


class GlooTrial:
    """What of optuna-integration's ``TorchDistributedTrial`` is used, and how it sends it."""

    def __init__(self, delegate: optuna.Trial | None) -> None:
        self._delegate = delegate
        self._user_attrs: dict[str, Any] = {}

    def _broadcast(self, value: Any) -> Any:
        sent = [value]
        dist.broadcast_object_list(sent, src=0)
        return sent[0]

    def set_user_attr(self, key: str, value: Any) -> None:
        if self._delegate is not None:
            self._delegate.set_user_attr(key, value)
        self._user_attrs = self._broadcast(self._delegate and self._delegate.user_attrs)

    @property
    def user_attrs(self) -> dict[str, Any]:
        return self._user_attrs


class Masked(nn.Module):
    """Compares two sequences, each with a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.Sequential(nn.Linear(8, 32), nn.Tanh())
        self.head = nn.Linear(64, 10)

    def forward(self, a: Tensor, b: Tensor, a_mask: Tensor, b_mask: Tensor) -> Tensor:
        pairs = ((a, a_mask), (b, b_mask))
        pooled = [(self.tower(x) * mask[..., None]).mean(1) for x, mask in pairs]
        return self.head(torch.cat(pooled, 1))  # type: ignore[no-any-return]


class TwoWays(nn.Module):
    """Wants to be told how it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()

    def forward(self, x: Tensor, *, scale: float) -> Tensor:
        return self.body(scale * x)  # type: ignore[no-any-return]


def images(rank: int) -> list[Any]:
    x, y = DIGITS.train[rank::2][:320], DIGITS.train_labels[rank::2][:320]
    return list(zip(x.split(SIZE), y.split(SIZE), strict=True))


def sentences(rank: int) -> list[Any]:
    draw = torch.Generator().manual_seed(rank)
    batches = []
    for length in range(4, 14):  # each process and batch with lengths of its own
        mask = torch.arange(length + rank) < torch.randint(2, length, (SIZE, 1), generator=draw)
        ids = torch.randint(1, 50, mask.shape, generator=draw).masked_fill(~mask, 0)
        batches.append({"input_ids": ids, "attention_mask": mask.long(), "labels": ids[:, 0] % 2})
    return batches


def pairs(rank: int) -> list[Any]:
    found = []
    for x, y in images(rank):
        rows = x.flatten(1, 2)
        mask = torch.arange(8) < 3 + torch.arange(len(x))[:, None] % 6
        found.append(((rows, rows.flip(1), mask, mask.flip(1)), y))
    return found


def halved(model: nn.Module, batch: Any) -> Any:
    return model(batch[0], scale=0.5)


CASES: dict[str, Any] = {
    "tensors": (mlp, images, F.cross_entropy, {}),
    "mappings with masks": (Bert, sentences, None, {}),
    "pairs with masks": (Masked, pairs, F.cross_entropy, {}),
    "an own call": (TwoWays, images, F.cross_entropy, {"call": halved}),
}
"""How a model is built, the batches of a rank, the loss, and what else is told of its training."""


def judged(case: str, trained: bool, rank: int) -> Any:
    """What one process is told of a trial: verdict, reason and the attributes that it sees."""
    build, batches, loss, other = CASES[case]
    torch.manual_seed(0)
    model = nn.parallel.DistributedDataParallel(build())
    study = optuna.create_study(pruner=ReconstructionEntropyPruner())
    trial: Any = GlooTrial(study.ask() if rank == 0 else None)
    told: dict[str, Any] = dict(other)
    if trained:
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        told = {"training": Training(loss, optimizer, steps=2, budget=50, **other)}
    before = [p.clone() for p in model.parameters()]
    verdict = probe_trial(trial, model, batches(rank), **told)
    same = all(map(torch.equal, before, model.parameters()))
    return verdict.trainable, verdict.reason, trial.user_attrs, same


def run(rank: int, folder: str, answers: Any) -> None:
    """All cases, in one process of two; what comes of them is put into the queue."""
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)
    # Or gloo asks which of the machine's names is its own.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    store = dist.FileStore(str(Path(folder) / "store"), 2)  # type: ignore[attr-defined]
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    try:
        for case in CASES:
            for trained in (False, True):
                try:
                    found = judged(case, trained, rank)
                except Exception as error:  # the other process goes on to wait
                    found = repr(error)
                answers.put((case, trained, rank, found))
    finally:
        dist.destroy_process_group()
