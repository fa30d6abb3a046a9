"""How a preflight is asked, and what bad input gets."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import recent_prune as rp
from recent_prune.preflight import Room, measuring
from tests.preflight.trials import Unrolled, X, Y, adam, estimate, mlp, sgd
from tests.probe.first_steps.trials import random_states


def test_the_model_returns_its_own_loss() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp()

        def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
            return {"loss": cross_entropy(self.body(x), y)}

    own = estimate(Own(), loss=None)
    assert own.memory.value == estimate(mlp()).memory.value


def test_called_as_the_loop_calls_it() -> None:
    training = rp.Training(cross_entropy, sgd)

    def call(model: nn.Module, batch: Any) -> Any:
        return model(batch["pixels"])

    batches = [{"pixels": X, "labels": Y}]
    result = rp.preflight(mlp(), batches, training, call=call)
    assert result.memory.value == estimate(mlp()).memory.value
    given = rp.Training(cross_entropy, sgd, call=call)
    with pytest.raises(ValueError, match="`call` must be None where `training` has one"):
        rp.preflight(mlp(), batches, given, call=call)


def test_tensors_side_by_side_and_loaders() -> None:
    training = rp.Training(cross_entropy, sgd, batch_size=64)
    loader = DataLoader(TensorDataset(X, Y), batch_size=64, shuffle=True)
    model, before = mlp(), random_states()
    results = [rp.preflight(model, inputs, training) for inputs in ((X, Y), loader)]
    assert results[0] == results[1]
    assert results[0].batch_size == 64
    assert random_states() == before


def test_a_model_for_one_batch_size_has_no_other() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(256, 10)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.head(x.reshape(128, 256))
            return out

    result = estimate(Fixed())
    assert result.method == "traced"
    assert result.per_sample is None
    assert result.largest_batch(1e9) is None


def test_errors_of_the_trial_are_its_own() -> None:
    wrong = nn.Sequential(nn.Linear(3, 3))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        estimate(wrong)


def test_what_a_function_builds_is_measured_if_it_is_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = estimate(lambda: Unrolled())
    assert result.method == "measured"
    assert result.memory == estimate(Unrolled()).memory
    monkeypatch.setattr(measuring, "room_of", lambda *_: Room(1000, 1000))
    with pytest.raises(Exception, match=r".*") as caught:
        estimate(lambda: Unrolled())
    assert "and 1,000 are free on cpu" in caught.value.__notes__[-1]


def test_what_a_function_wraps_is_noted_as_well() -> None:
    notes = estimate(lambda: nn.DataParallel(mlp())).notes
    assert any("DataParallel spreads it" in note for note in notes)
    assert notes == estimate(nn.DataParallel(mlp())).notes


def test_what_cannot_be_done_without_values_says_what_to_do() -> None:
    def asks_twice() -> nn.Module:
        model = mlp()
        if next(model.parameters()).sum().item() > 0:
            return model
        return mlp()

    with pytest.raises(Exception, match=r".*") as caught:
        estimate(asks_twice)
    assert "build the model and give it instead of the function" in caught.value.__notes__[-1]
    with torch.device("meta"):
        model = Unrolled()
    with pytest.raises(Exception, match=r".*") as caught:
        estimate(model)
    assert "build the model on another device than meta" in caught.value.__notes__[-1]


def test_what_is_too_large_for_a_real_step_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "room_of", lambda *_: Room(1000, 1000))
    with pytest.raises(Exception, match=r".*") as caught:
        estimate(Unrolled())
    assert "and 1,000 are free on cpu" in caught.value.__notes__[-1]


@pytest.mark.parametrize(
    ("model", "training", "device", "kind", "message"),
    [
        (mlp(), "adam", None, TypeError, "`training` must be a Training, but got str"),
        (nn.Linear, None, None, TypeError, r"`model` must be .*: give lambda: Linear\(…\)"),
        (3, None, None, TypeError, "`model` must be a module or a function that builds"),
        (lambda: 3, None, None, TypeError, "a function that builds one, but built a int"),
        (mlp(), None, "gpu", ValueError, "`device` must be a device such as 'cuda', but got 'gpu'"),
        (mlp(), None, "meta", ValueError, "`device` must be where it will train, but got 'meta'"),
        (nn.ReLU(), None, None, ValueError, r"`model` \(ReLU\) has no parameters"),
        (nn.LazyLinear(3), None, None, ValueError, "`model` has uninitialized parameters"),
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_bad_input(model: Any, training: Any, device: Any, kind: Any, message: str) -> None:
    plain = rp.Training(cross_entropy, sgd)
    with pytest.raises(kind, match=message):
        rp.preflight(model, [(X, Y)], training or plain, device=device)


def test_an_optimizer_of_another_model() -> None:
    with pytest.raises(ValueError, match=r"`optimizer` .* must be over parameters of `model`"):
        estimate(mlp(), adam(mlp().parameters()))
    with pytest.raises(TypeError, match="must be a function from parameters to an optimizer where"):
        estimate(mlp, adam(mlp().parameters()))


def test_no_target_and_no_batch() -> None:
    with pytest.raises(ValueError, match="`loss` needs a target"):
        estimate(mlp(), batch=X)
    with pytest.raises(ValueError, match="must yield at least one batch"):
        rp.preflight(mlp(), [], rp.Training(cross_entropy, sgd))


def test_types_for_which_there_may_be_no_kernels_are_told() -> None:
    (note,) = estimate(mlp().to(torch.float8_e5m2), batch=(X.to(torch.float8_e5m2), Y)).notes
    assert note == "Of float8_e5m2 fake tensors do not tell whether a step runs with them."


def test_where_a_function_builds_is_told_if_it_is_not_asked_about() -> None:
    (note,) = estimate(lambda: mlp().to("cuda")).notes
    assert "builds its model on cuda, and cpu is asked about" in note
    notes = estimate(lambda: mlp().to("cuda"), device="cuda").notes
    assert not [note for note in notes if "asked about" in note]
