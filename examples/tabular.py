"""Search over networks for a table with categories and numbers, with Optuna."""

import optuna
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from recent_prune import Training
from recent_prune.optuna import ReconstructionEntropyPruner, probe_trial

EPOCHS = 3


class Table(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(60, 8)
        self.body = nn.Sequential(nn.Linear(4 * 8 + 6, width), nn.ReLU(), nn.Linear(width, 2))

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        return self.body(torch.cat([self.embedding(categories).flatten(1), numbers], dim=1))


def rows(count: int, seed: int) -> list[dict[str, Tensor]]:
    draw = torch.Generator().manual_seed(seed)
    label = torch.randint(2, (count,), generator=draw)
    categories = torch.randint(30, (count, 4), generator=draw)
    categories[:, 0] += 15 * label
    numbers = torch.randn(count, 6, generator=draw) + 0.5 * label[:, None]
    table = {"categories": categories, "numbers": numbers, "label": label}
    return [{name: column[i] for name, column in table.items()} for i in range(count)]


def objective(trial: optuna.Trial) -> float:
    loader = DataLoader(rows(1024, 0), 64, shuffle=True)
    model = Table(trial.suggest_int("width", 8, 128, log=True))
    optimizer = torch.optim.Adam(model.parameters(), trial.suggest_float("lr", 1e-7, 10, log=True))

    training = Training(F.cross_entropy, optimizer, budget=EPOCHS * len(loader))  # added
    verdict = probe_trial(trial, model, loader, training=training)  # added
    if not verdict.trainable:
        raise optuna.TrialPruned(verdict.reason)

    for _ in range(EPOCHS):
        for batch in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(batch["categories"], batch["numbers"]), batch["label"]).backward()
            optimizer.step()
    test = next(iter(DataLoader(rows(512, seed=1), 512)))
    right = model(test["categories"], test["numbers"]).argmax(1) == test["label"]
    return float(right.float().mean())


if __name__ == "__main__":
    pruner = ReconstructionEntropyPruner()  # added
    study = optuna.create_study(direction="maximize", pruner=pruner)
    study.optimize(objective, n_trials=10)
    print(f"best accuracy {study.best_value:.3f} with {study.best_params}")
