"""Search over recurrent networks with Ray Tune: what cannot train never starts."""

from typing import Any

import ray
import torch
import torch.nn.functional as F
from ray import tune
from ray.tune.search import BasicVariantGenerator
from torch import Tensor, nn

import recent_prune as rp
from recent_prune.ray import ReconstructionEntropyScheduler, build_probed_model

EPOCHS, STEPS = 2, 16


class Sequences(nn.Module):
    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.body = nn.GRU(4, width, layers, batch_first=True)
        self.head = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)[0][:, -1])


def waves() -> tuple[Tensor, Tensor]:
    # The sign of what the first steps of a sequence add up to.
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(1024, 10, 4, generator=draw).cumsum(1) / 3
    return x, (x[:, :3].sum((1, 2)) > 0).long()


def build_model(config: dict[str, Any]) -> nn.Module:
    return Sequences(config["width"], config["layers"])


def training(model: nn.Module, config: dict[str, Any]) -> rp.Training:
    optimizer = torch.optim.SGD(model.parameters(), config["lr"], momentum=0.9)
    return rp.Training(F.cross_entropy, optimizer, budget=EPOCHS * STEPS)  # added


def train(config: dict[str, Any]) -> None:
    model = build_probed_model(build_model, config)  # added
    optimizer, (x, y) = training(model, config).optimizer, waves()
    for _ in range(EPOCHS):
        for inputs, labels in zip(x.split(64), y.split(64), strict=True):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), labels).backward()
            optimizer.step()
        tune.report({"loss": F.cross_entropy(model(x), y).item()})


if __name__ == "__main__":
    ray.init("local", num_cpus=2, include_dashboard=False)
    space = {"width": 32, "layers": tune.randint(1, 4), "lr": tune.loguniform(1e-6, 100)}
    scheduler = ReconstructionEntropyScheduler(build_model, waves(), training=training)  # added
    draws = {"num_samples": 6, "search_alg": BasicVariantGenerator(random_state=0)}
    settings = tune.TuneConfig(metric="loss", mode="min", scheduler=scheduler, **draws)
    results = tune.Tuner(train, param_space=space, tune_config=settings).fit()
    print(f"best loss {results.get_best_result().metrics['loss']:.3f}")
