from __future__ import annotations

import copy
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from recent_prune.probe import probe
from recent_prune.probe.reconstructing.cascade import Cascade
from recent_prune.probe.restoring.isolation import held_in_evaluation, isolated, set_to_train
from tests.networks import Noisy

SHORT = Cascade(updates=20)


def random_state() -> list[object]:
    return [random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()]


def fingerprint(model: nn.Module) -> list[object]:
    """All of a model that a probe could change."""
    return [
        [
            (name, id(p), p.tolist(), p.requires_grad, p.grad)
            for name, p in model.named_parameters()
        ],
        [(name, id(b), b.tolist()) for name, b in model.named_buffers()],
        [(name, m.training) for name, m in model.named_modules()],
        [
            (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
            for m in model.modules()
        ],
    ]


def half_frozen() -> Noisy:
    model = Noisy()
    model.body[1].requires_grad_(False)
    model.body[4].eval()
    model.body[5].register_forward_hook(lambda *_: None)
    return model


class Failing(Noisy):
    def forward(self, x: Tensor) -> Tensor:
        super().forward(x)
        torch.rand(3)
        raise RuntimeError("out of luck")


def test_model_and_random_states_come_back(digits: Tensor) -> None:
    model = half_frozen()
    before = fingerprint(model), random_state()
    probe(model, digits)
    assert (fingerprint(model), random_state()) == before


def test_model_and_random_states_come_back_after_an_exception(digits: Tensor) -> None:
    model = Failing()
    before = fingerprint(model), random_state()
    with pytest.raises(RuntimeError, match="out of luck"):
        probe(model, digits)
    assert (fingerprint(model), random_state()) == before


def test_sparse_buffers_are_no_obstacle(digits: Tensor) -> None:
    class Graph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("neighbours", torch.eye(64).to_sparse())
            self.first, self.head = nn.Linear(64, 32), nn.Linear(32, 10)

        def forward(self, x: Tensor) -> Tensor:
            mixed = torch.sparse.mm(self.neighbours, x.flatten(1).T).T
            return self.head(torch.tanh(self.first(mixed)))  # type: ignore[no-any-return]

    model = Graph()
    before = model.neighbours
    assert probe(model, digits).retained[-1] > 0.5
    assert model.neighbours is before


def test_spectral_norms_are_estimated(digits: Tensor) -> None:
    """In evaluation mode, PyTorch's older spectral norm would divide by one of a random vector."""
    body: list[nn.Module] = []
    for _ in range(8):
        body += [nn.utils.spectral_norm(nn.Linear(64, 64)), nn.ReLU()]
    model = nn.Sequential(nn.Flatten(), *body, nn.Linear(64, 10))
    before = random_state(), [buffer.tolist() for buffer in model.buffers()]
    assert probe(model, digits).activation_rms[-1] < 10
    assert (random_state(), [buffer.tolist() for buffer in model.buffers()]) == before


def test_replaced_and_added_buffers_come_back() -> None:
    class Rewriting(nn.Module):
        steps: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)
            self.register_buffer("steps", torch.zeros(2))

        def forward(self, x: Tensor) -> Tensor:
            self.steps = self.steps + 1
            self.register_buffer("extra", torch.ones(1))
            return self.linear(x)  # type: ignore[no-any-return]

    model = Rewriting()
    before = fingerprint(model)
    with isolated(model, 0):
        model(torch.rand(3, 4))
    assert fingerprint(model) == before


def test_batch_norm_uses_the_batch_and_dropout_is_off() -> None:
    model = Noisy()
    with isolated(model, 0):
        assert model.body[2].training
        assert not model.body[4].training
        assert not torch.is_grad_enabled()


def test_embeddings_with_a_maximal_norm_come_back() -> None:
    model = nn.Sequential(nn.EmbeddingBag(50, 8, max_norm=0.5), nn.Linear(8, 10))
    before = fingerprint(model)
    probe(model, torch.randint(0, 50, (200, 6)))
    assert fingerprint(model) == before


def test_inference_mode_of_the_caller_changes_nothing(digits: Tensor) -> None:
    model = Noisy()
    with torch.inference_mode():
        inside = probe(model, digits, estimator=SHORT)
    assert inside == probe(model, digits, estimator=SHORT)


def test_an_autocast_of_the_caller_changes_nothing(digits: Tensor) -> None:
    model = Noisy()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = probe(model, digits)
        assert torch.is_autocast_enabled("cpu")
    assert inside == probe(model, digits)


def test_random_forward_passes_are_seeded() -> None:
    class Random(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002
            shift = random.random() + float(np.random.rand())
            return super().forward(input + torch.rand(input.shape) + shift)

    model = nn.Sequential(Random(4, 4), nn.Linear(4, 2))
    inputs = torch.rand(64, 4)
    one, same, other = (probe(model, inputs, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_threads_do_not_mix_up_the_random_states(digits: Tensor) -> None:
    models = [Noisy() for _ in range(4)]
    inputs = digits[:160]
    expected = [probe(model, inputs, estimator=SHORT) for model in models]
    before = random_state()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda m: probe(m, inputs, estimator=SHORT), models))
    assert found == expected
    assert random_state() == before


def test_threads_that_share_a_model_leave_it_as_it_was(digits: Tensor) -> None:
    model = half_frozen()
    before = fingerprint(model)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: probe(model, digits), range(8)))
    assert fingerprint(model) == before
    assert all(result == results[0] for result in results)


def train(model: nn.Module, loader: DataLoader[tuple[Tensor, ...]]) -> list[Tensor]:
    optimizer = torch.optim.Adam(model.parameters())
    for images, labels in loader:
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return [t.clone() for t in model.state_dict().values()]


Loader = DataLoader[tuple[Tensor, ...]]
LOADERS: dict[str, Callable[[TensorDataset], Loader]] = {
    "global": lambda data: DataLoader(data, 32, shuffle=True),
    "own generator": lambda data: DataLoader(
        data, 32, shuffle=True, generator=torch.Generator().manual_seed(4)
    ),
    "own sampler": lambda data: DataLoader(
        data, 32, sampler=RandomSampler(data, generator=torch.Generator().manual_seed(4))
    ),
    "workers": lambda data: DataLoader(
        data, 32, shuffle=True, num_workers=1, persistent_workers=True
    ),
}


@pytest.mark.parametrize("loading", LOADERS)
@pytest.mark.parametrize("estimator", ["ridge", "cascade"])
def test_training_after_the_probe_is_the_same_bit_for_bit(
    digits: Tensor, loading: str, estimator: str
) -> None:
    """Dropout, batch norm, shuffling by a data loader: all as without the probe."""
    data = TensorDataset(digits[:256], torch.arange(256) % 10)
    initial = Noisy()

    def run(before_training: Callable[[nn.Module, object], object]) -> list[Tensor]:
        torch.manual_seed(3)
        loader = LOADERS[loading](data)
        model = copy.deepcopy(initial)
        before_training(model, loader)
        return train(model, loader)

    plain = run(lambda model, loader: None)
    probed = run(lambda model, loader: probe(model, loader, estimator=estimator))  # type: ignore[arg-type]
    for a, b in zip(plain, probed, strict=True):
        assert torch.equal(a, b)


def test_a_buffer_on_the_meta_device_is_no_obstacle(digits: Tensor) -> None:
    model = Noisy()
    model.register_buffer("unused", torch.empty(3, device="meta"))
    assert probe(model, digits).depth > 0


def test_what_is_held_in_evaluation_mode_stays_there() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2), nn.Dropout(0.5))
    model[0].eval()
    with held_in_evaluation(model):
        with isolated(model, 0):
            assert [part.training for part in model] == [False, True, False]
        set_to_train(model)
        assert [part.training for part in model] == [False, True, True]
    with isolated(model, 0):
        assert [part.training for part in model] == [True, True, False]
