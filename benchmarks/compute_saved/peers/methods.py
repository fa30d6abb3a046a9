"""Every peer by its name."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler

from benchmarks.compute_saved.optuna_replay import Ran, Sampler, new_study, replay
from benchmarks.compute_saved.peers import smac3, syne
from benchmarks.compute_saved.peers.learners import (
    EarlyLookPruner,
    ForestSampler,
    NumericSampler,
    scores_from_others,
)
from benchmarks.compute_saved.peers.search import KEEP, Done, Method, rung_zero
from benchmarks.compute_saved.peers.symptoms import BTTacklerPruner
from benchmarks.compute_saved.rung_zero import SPACES, ByScore, loss_after
from benchmarks.compute_saved.table import Trained
from recent_prune import ProbeResult
from recent_prune.optuna import ReconstructionEntropyPruner
from recent_prune.rules import Rule

AskedSampler = Callable[[Trained, int], Sampler | BaseSampler]
"""From a table and a seed."""


@dataclass(frozen=True)
class Peer:
    """A method that is compared.

    Attributes:
        run: What it does, alone or behind rung zero.
        seeds: How many are run by default: more of the main ones, fewer of slow ones.
        needs: The package that it needs, beyond those of the benchmarks.
        ranked: Whether it is run behind rung zero as well.
        slow: Whether it takes long to think, so that its runs end with the higher target.
    """

    run: Method
    seeds: int = 50
    needs: str | None = None
    ranked: bool = True
    slow: bool = False


def _random(*_: object) -> Sampler:
    return "random"


def _nothing(_: Trained) -> BasePruner:
    return NopPruner()


def in_optuna(
    sampler: AskedSampler = _random, pruner: Callable[[Trained], BasePruner] = _nothing
) -> Method:
    """A sampler and a pruner in an Optuna study."""

    def run(trained: Trained, seed: int, ranked: bool, done: Done) -> list[Ran]:
        chosen = pruner(trained)
        if ranked:
            chosen = rung_zero(chosen)
        study = new_study(trained, chosen, sampler(trained, seed), seed)
        with warnings.catch_warnings():
            # CMA-ES says at every trial that it knows no constraints, which rung zero sets.
            warnings.filterwarnings("ignore", "Constraints have been set", UserWarning)
            return replay(study, trained, len(trained), done=done)

    return run


def _by_rule(rule: Callable[[Trained], Rule]) -> Method:
    """Rung zero with another score."""
    return in_optuna(pruner=lambda t: ReconstructionEntropyPruner(rule(t), keep=KEEP))


def _oracle(trained: Trained) -> Rule:
    found = {id(r): float(v) for r, v in zip(trained.probes, trained.final, strict=True)}

    def score(result: ProbeResult) -> float:
        return found[id(result)]

    return ByScore(score)


def _gp(_: Trained, seed: int) -> BaseSampler:
    return optuna.samplers.GPSampler(seed=seed)


def _cma(trained: Trained, seed: int) -> BaseSampler:
    sampler = optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
    return NumericSampler(trained, seed, sampler)


def _early(trained: Trained) -> BasePruner:
    return EarlyLookPruner(trained, scores_from_others(trained.name, SPACES))


def _halving(_: Trained) -> BasePruner:
    return SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)


def _hyperband(trained: Trained) -> BasePruner:
    return HyperbandPruner(1, trained.epochs, 3)


RANDOM = "random"
LOSS = "loss after the steps, 1/8"
ORACLE = "oracle, 1/8"
FOREST = "forest on hyperparameters"
EARLY = "early look (for TuneAhead)"

PEERS: dict[str, Peer] = {
    RANDOM: Peer(in_optuna(), seeds=100),
    LOSS: Peer(_by_rule(lambda _: ByScore(loss_after)), seeds=100, ranked=False),
    ORACLE: Peer(_by_rule(_oracle), seeds=100, ranked=False),
    "SuccessiveHalving": Peer(in_optuna(pruner=_halving), seeds=100),
    "Hyperband": Peer(in_optuna(pruner=_hyperband)),
    "BTTackler's symptoms": Peer(in_optuna(pruner=BTTacklerPruner)),
    EARLY: Peer(in_optuna(pruner=_early)),
    "TPE": Peer(in_optuna(lambda *_: "tpe"), seeds=100),
    "CMA-ES": Peer(in_optuna(_cma), needs="cmaes"),
    "GP": Peer(in_optuna(_gp), seeds=20, slow=True),
    FOREST: Peer(in_optuna(ForestSampler), seeds=20),
    "Syne Tune ASHA": Peer(syne.ASHA, needs="syne-tune"),
    "Syne Tune BOHB": Peer(syne.BOHB, needs="syne-tune"),
    "Syne Tune CQR": Peer(syne.CQR, seeds=20, needs="syne-tune", slow=True),
    "Syne Tune ASHACQR": Peer(syne.ASHACQR, seeds=20, needs="syne-tune", slow=True),
    "SMAC Hyperband": Peer(smac3.HYPERBAND, needs="smac"),
    "SMAC MultiFidelity": Peer(smac3.MULTI_FIDELITY, seeds=20, needs="smac", slow=True),
}


def behind(peer: str) -> str:
    """Its name behind rung zero."""
    return "keep 1/8" if peer == RANDOM else f"keep 1/8 + {peer}"


@dataclass(frozen=True)
class Compared:
    """A peer, alone or behind rung zero.

    Attributes:
        peer: Which.
        ranked: Whether rung zero is in front.
    """

    peer: Peer
    ranked: bool

    @property
    def has_rung(self) -> bool:
        """Whether candidates are ranked: by ours in front, or by a peer that is such a rung."""
        return self.ranked or not self.peer.ranked

    def __call__(self, trained: Trained, seed: int, done: Done) -> list[Ran]:
        """What it runs of a table."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        state = np.random.get_state()  # some seed the global generator
        try:
            return self.peer.run(trained, seed, self.ranked, done)
        finally:
            np.random.set_state(state)


METHODS: dict[str, Compared] = {
    (behind(name) if ranked else name): Compared(peer, ranked)
    for ranked in (False, True)
    for name, peer in PEERS.items()
    if peer.ranked or not ranked
}
"""All that is run: the peers alone, then behind rung zero."""
