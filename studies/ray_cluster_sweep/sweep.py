"""A sweep over deep networks, on one machine or on a Ray cluster.

    python -m studies.ray_cluster_sweep.sweep
    python -m studies.ray_cluster_sweep.sweep --address auto --storage s3://bucket/sweeps

What differs from a sweep without recent_prune is `build_probed_model` in the trainable, and the
`ReconstructionEntropyScheduler` around ASHA with its `training`.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated, Any

import ray
import torch
import typer
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch
from torch import Tensor, nn

from recent_prune import Training
from recent_prune.data import load_digits
from recent_prune.ray import ReconstructionEntropyScheduler, build_probed_model, probed_trials

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "gelu": nn.GELU}
BATCH_SIZE = 64
SPACE = {
    "depth": tune.randint(2, 65),
    "width": tune.choice([32, 64, 128]),
    "activation": tune.choice(list(ACTIVATIONS)),
    "gain": tune.loguniform(0.3, 3.0),  # standard deviation of the weights times √fan_in
    "lr": tune.loguniform(1e-4, 1e-1),
}


def build_model(config: dict[str, Any]) -> nn.Module:
    """A plain MLP with Gaussian weights."""
    layers: list[nn.Module] = [nn.Flatten()]
    fan_in = 64
    for _ in range(config["depth"]):
        linear = nn.Linear(fan_in, config["width"])
        nn.init.normal_(linear.weight, std=config["gain"] / fan_in**0.5)
        layers += [linear, ACTIVATIONS[config["activation"]]()]
        fan_in = config["width"]
    return nn.Sequential(*layers, nn.Linear(fan_in, 10))


def build_optimizer(model: nn.Module, config: dict[str, Any]) -> torch.optim.Optimizer:
    """The same in the trial and in its first steps."""
    return torch.optim.Adam(model.parameters(), config["lr"])


def training(model: nn.Module, config: dict[str, Any]) -> Training:
    """How a trial trains, for its first steps."""
    batches = math.ceil(len(load_digits().train) / BATCH_SIZE)
    optimizer = build_optimizer(model, config)
    return Training(nn.functional.cross_entropy, optimizer, budget=config["epochs"] * batches)


def load_batches() -> tuple[Tensor, Tensor]:
    """What is trained on, loaded in the probe actor."""
    digits = load_digits()
    return digits.train, digits.train_labels


def train(config: dict[str, Any]) -> None:
    """Train on handwritten digits and report the test accuracy after each epoch."""
    digits = load_digits()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = build_probed_model(build_model, config).to(device)
    optimizer = build_optimizer(model, config)
    images, labels = digits.train.to(device), digits.train_labels.to(device)
    for _ in range(config["epochs"]):
        for batch in torch.randperm(len(images)).split(BATCH_SIZE):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            right = model(digits.test.to(device)).argmax(1) == digits.test_labels.to(device)
        tune.report({"accuracy": float(right.float().mean())})


def main(
    address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster; none: this machine.")
    ] = None,
    storage: Annotated[str | None, typer.Option(help="Where all nodes can write.")] = None,
    samples: Annotated[int, typer.Option(help="Trials.")] = 40,
    epochs: Annotated[int, typer.Option(help="Of a trial.")] = 20,
    gpus: Annotated[float, typer.Option(help="Of a trial.")] = 0.0,
    probe_gpus: Annotated[float, typer.Option(help="Of the probe actor.")] = 0.0,
    optuna: Annotated[bool, typer.Option(help="Sample with OptunaSearch (TPE).")] = False,
    gate: Annotated[bool, typer.Option(help="Probe trials before they are started.")] = True,
    seed: Annotated[int, typer.Option(help="Of what is sampled.")] = 0,
) -> None:
    """Sweep, and print what was saved and what was best."""
    ray.init(address=address, log_to_driver=False)
    scheduler: Any = ASHAScheduler(max_t=epochs, grace_period=2)
    if gate:
        resources = {"GPU": probe_gpus} if probe_gpus else None
        scheduler = ReconstructionEntropyScheduler(
            build_model,
            load_batches,
            training=training,
            wrapped=scheduler,
            probe_resources=resources,
        )
    search = (
        OptunaSearch(seed=seed) if optuna else tune.search.BasicVariantGenerator(random_state=seed)
    )
    tuner = tune.Tuner(
        tune.with_resources(train, {"cpu": 1, "gpu": gpus}),
        param_space={**SPACE, "epochs": epochs},
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            num_samples=samples,
            scheduler=scheduler,
            search_alg=search,
            max_concurrent_trials=8 if optuna else None,
        ),
        run_config=tune.RunConfig(
            name=f"sweep-{time.strftime('%Y%m%d-%H%M%S')}",
            storage_path=storage or str(Path("~/ray_results").expanduser()),
            verbose=1,
        ),
    )
    start = time.perf_counter()
    results = tuner.fit()
    wall = time.perf_counter() - start
    table = results.get_dataframe()
    print(f"{len(table)} trials, {table['training_iteration'].sum()} epochs, {wall:.0f} s")
    if gate:
        probes = probed_trials(results)
        rejected = probes[probes["trainable"].eq(False)]
        print(
            f"{len(rejected)} never started, {probes['seconds'].sum():.1f} s of probes, e.g. "
            f"{rejected['reason'].iloc[0] if len(rejected) else 'none'}"
        )
    if "accuracy" not in table:
        print("none was trained, so none is best")
    elif (best := results.get_best_result()).metrics is not None:
        print(f"best: {best.metrics['accuracy']:.4f} with {best.config}")
    ray.shutdown()


if __name__ == "__main__":
    typer.run(main)
