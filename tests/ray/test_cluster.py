"""On a real cluster of three nodes, with logical GPUs, and with nodes that die."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import ray
from ray import tune
from ray.cluster_utils import Cluster
from ray.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    HyperBandScheduler,
    PopulationBasedTraining,
    TrialScheduler,
)
from torch import Tensor, nn

from recent_prune.ray import (
    ReconstructionEntropyScheduler,
    probe_and_report,
    probed_trials,
)
from tests.ray.cluster_trial import train

pytestmark = pytest.mark.slow  # three nodes come up in a minute on two cores

DOOMED = 0.3
"""A gain at which 40 layers lose everything."""


def build(config: dict[str, Any]) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    for _ in range(40):
        linear = nn.Linear(64, 64)
        nn.init.normal_(linear.weight, std=config["gain"] / 8)
        layers += [linear, nn.Tanh()]
    if config.get("slow_probe"):
        Path(config["folder"], "probing").touch()
        time.sleep(config["slow_probe"])
    return nn.Sequential(*layers, nn.Linear(64, 10))


PATIENT_S = 400.0
"""For an actor to start on a busy machine."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    ray.shutdown()  # that of other modules
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 2, "num_gpus": 1, "include_dashboard": False},
    )
    for _ in range(2):
        cluster.add_node(num_cpus=2, num_gpus=1)
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def fit(
    folder: Path,
    scheduler: TrialScheduler,
    count: int,
    callbacks: list[tune.Callback] | None = None,
    resources: dict[str, float] | None = None,
    trained: Callable[[dict[str, Any]], None] = train,
    **extra: Any,
) -> tuple[tune.ResultGrid, set[str]]:
    """Every other trial is doomed. Returns also the trials that were started."""
    space = {
        "index": tune.grid_search(list(range(count))),
        "gain": tune.sample_from(lambda config: DOOMED if config["index"] % 2 else 1.2),
        "folder": str(folder),
        **extra,
    }
    results = tune.Tuner(
        tune.with_resources(trained, resources or {"cpu": 1, "gpu": 0.5}),
        param_space=space,
        tune_config=tune.TuneConfig(metric="score", mode="max", scheduler=scheduler),
        run_config=tune.RunConfig(
            storage_path=str(folder),
            name="run",
            verbose=0,
            callbacks=callbacks,
            failure_config=tune.FailureConfig(max_failures=3),
        ),
    ).fit()
    return results, started_in(folder)


def started_in(folder: Path) -> set[str]:
    """The trials that began to train."""
    return {path.name.removeprefix("started-") for path in folder.glob("started-*")}


def check(results: tune.ResultGrid, started: set[str]) -> None:
    table = results.get_dataframe()
    doomed = set(table.loc[table["config/gain"] == DOOMED, "trial_id"])
    assert results.num_errors == 0
    assert results.num_terminated == len(table)
    assert set(table.loc[table["recent_prune/trainable"].eq(False), "trial_id"]) == doomed
    assert started == set(table["trial_id"]) - doomed


SCHEDULERS: dict[str, Callable[[], TrialScheduler]] = {
    "fifo": FIFOScheduler,
    "asha": lambda: ASHAScheduler(max_t=4),
    "hyperband": lambda: HyperBandScheduler(max_t=4),
    "pbt": lambda: PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=2,
        hyperparam_mutations={"lr": tune.uniform(0, 1)},
    ),
}


def test_doomed_trials_never_start_under_pbt(
    cluster: Cluster, digits: Tensor, tmp_path: Path
) -> None:
    scheduler = ReconstructionEntropyScheduler(
        build,
        digits,
        wrapped=SCHEDULERS["pbt"](),
        probe_resources={"GPU": 0.25},
        start_timeout_s=PATIENT_S,
    )
    results, started = fit(tmp_path, scheduler, 4)
    check(results, started)
    assert "2 passed, 2 rejected, 0 held, 0 could not" in scheduler.debug_string()


class _Replaces(tune.Callback):
    """Kills a node once, and adds one like it."""

    node: ClassVar[Any]
    cluster: ClassVar[Cluster]
    resources: ClassVar[dict[str, float]]
    done: ClassVar[bool]

    @classmethod
    @contextlib.contextmanager
    def prepared(cls, cluster: Cluster, resources: dict[str, float]) -> Iterator[None]:
        """With a node that alone has the resources."""
        cls.cluster, cls.resources, cls.done = cluster, resources, False
        cls.node = cluster.add_node(num_cpus=1, resources=resources)
        try:
            yield
        finally:
            cluster.remove_node(cls.node)

    def replace(self) -> None:
        if not self.done:
            self.cluster.remove_node(self.node, allow_graceful=False)
            type(self).node = self.cluster.add_node(num_cpus=1, resources=self.resources)
            type(self).done = True


class _WhileItProbes(_Replaces):
    probing: ClassVar[Path]

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if self.probing.exists():
            self.replace()


class _WhileTrialsRun(_Replaces):
    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        self.replace()


@pytest.mark.parametrize(
    "make", [SCHEDULERS["fifo"], SCHEDULERS["hyperband"]], ids=["fifo", "hyperband"]
)
def test_a_node_that_dies_while_it_probes(
    cluster: Cluster, make: Callable[[], TrialScheduler], digits: Tensor, tmp_path: Path
) -> None:
    _WhileItProbes.probing = tmp_path / "probing"
    scheduler = ReconstructionEntropyScheduler(
        build,
        digits,
        wrapped=make(),
        probe_resources={"probes": 1},
        start_timeout_s=120.0,
        timeout_s=20.0,
    )
    with _WhileItProbes.prepared(cluster, {"probes": 1}):
        results, started = fit(tmp_path, scheduler, 4, [_WhileItProbes()], slow_probe=1.0)
    assert _WhileItProbes.done
    check(results, started)
    assert "0 could not be probed" in scheduler.debug_string()


@pytest.mark.parametrize("make", SCHEDULERS.values(), ids=list(SCHEDULERS))
def test_a_node_that_dies_while_trials_run_on_it(
    cluster: Cluster, make: Callable[[], TrialScheduler], digits: Tensor, tmp_path: Path
) -> None:
    """They are tried again, and not probed again."""
    scheduler = ReconstructionEntropyScheduler(build, digits, wrapped=make())
    with _WhileTrialsRun.prepared(cluster, {"weak": 1}):
        results, started = fit(
            tmp_path, scheduler, 4, [_WhileTrialsRun()], resources={"cpu": 1, "weak": 0.5}
        )
    assert _WhileTrialsRun.done
    check(results, started)
    assert len(probed_trials(results)) == 4
    assert "2 passed, 2 rejected, 0 held" in scheduler.debug_string()


def test_within_the_trial(cluster: Cluster, digits: Tensor, tmp_path: Path) -> None:
    small = digits[:160]

    def train_unless_doomed(config: dict[str, Any]) -> None:
        if not probe_and_report(build(config), small, metric="score").trainable:
            return
        for iteration in range(1, 4):
            tune.report({"score": config["gain"] * iteration})

    scheduler = ReconstructionEntropyScheduler(wrapped=ASHAScheduler(max_t=4))
    results = tune.Tuner(
        tune.with_resources(train_unless_doomed, {"cpu": 1}),
        param_space={
            "index": 0,
            "gain": tune.grid_search([DOOMED, 1.2]),
            "folder": str(tmp_path),
        },
        tune_config=tune.TuneConfig(metric="score", mode="max", scheduler=scheduler),
        run_config=tune.RunConfig(storage_path=str(tmp_path), name="run", verbose=0),
    ).fit()
    assert results.num_errors == 0
    table = results.get_dataframe().sort_values("config/gain")
    assert table["config/gain"].tolist() == [DOOMED, 1.2]
    assert table["recent_prune/trainable"].eq(False).tolist() == [True, False]
    assert table["training_iteration"].tolist() == [1, 3]
    assert "1 condemned by a probe within the trial" in scheduler.debug_string()


def test_restore_after_the_driver_was_killed(
    cluster: Cluster, digits: Tensor, tmp_path: Path
) -> None:
    script = tmp_path / "sweep.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import sys
            from pathlib import Path
            import ray
            from ray import tune
            sys.path.insert(0, {str(Path(__file__).parents[2])!r})
            from recent_prune.data import load_digits
            from recent_prune.ray import ReconstructionEntropyScheduler
            from tests.ray.cluster_trial import train
            from tests.ray.test_cluster import DOOMED, build

            ray.init(address={cluster.address!r}, log_to_driver=False)
            folder = {str(tmp_path)!r}
            resources = {{"cpu": 1}}
            if Path(folder, "run").exists():
                trainable = tune.with_resources(train, resources)
                tuner = tune.Tuner.restore(folder + "/run", trainable=trainable)
            else:
                tuner = tune.Tuner(
                    tune.with_resources(train, resources),
                    param_space={{
                        "index": tune.grid_search(list(range(8))),
                        "gain": tune.sample_from(lambda c: DOOMED if c["index"] % 2 else 1.2),
                        "folder": folder,
                        "slow_probe": 0.5,
                    }},
                    tune_config=tune.TuneConfig(
                        metric="score",
                        mode="max",
                        scheduler=ReconstructionEntropyScheduler(
                            build, load_digits().train, batch_size=2
                        ),
                    ),
                    run_config=tune.RunConfig(storage_path=folder, name="run", verbose=0),
                )
            tuner.fit()
            """
        )
    )
    command = [sys.executable, str(script)]
    first = subprocess.Popen(command, start_new_session=True)
    verdicts = tmp_path / "run" / "recent_prune"
    end = time.monotonic() + 90
    while len(list(verdicts.glob("*.json"))) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    known = probed_trials(tmp_path / "run")
    assert 4 <= len(known) < 8
    subprocess.run(command, check=True, timeout=120)
    results = tune.Tuner.restore(
        str(tmp_path / "run"), trainable=tune.with_resources(train, {"cpu": 1})
    ).get_results()
    check(results, started_in(tmp_path))
    probes = probed_trials(results)
    assert len(probes) == 8
    assert probes.head(len(known)).equals(known)
