"""What passes inside of a stack of recurrent layers, which PyTorch runs as one."""

from __future__ import annotations

import warnings
from typing import Any

from torch import Tensor, nn


def inner_outputs(module: nn.RNNBase, inputs: Any, state: Any = None) -> list[Any]:
    """Outputs of all layers of the stack but the last, without dropout, as the module gives them.

    They are computed again, each by a layer of its own with the same weights: PyTorch's kernels
    keep them to themselves.

    Args:
        module: ``nn.RNN``, ``nn.LSTM`` or ``nn.GRU``, of any number of layers, one way or both.
        inputs: A tensor or packed sequence, as it was called with.
        state: Of all layers, or None.
    """
    found: list[Any] = []
    with warnings.catch_warnings():
        # One layer's weights are no contiguous chunk of memory, and are not to be moved.
        warnings.filterwarnings("ignore", message="RNN module weights are not part of single")
        for number in range(module.num_layers - 1):
            inputs = _layer(module, number)(inputs, _of_layer(module, state, number))[0]
            found.append(inputs)
    return found


def _layer(module: nn.RNNBase, number: int) -> nn.RNNBase:
    ways = 2 if module.bidirectional else 1
    size = module.input_size if number == 0 else ways * (module.proj_size or module.hidden_size)
    weights = {
        name.replace(f"_l{number}", "_l0"): value
        for name, value in module.named_parameters(recurse=False)
        if name.removesuffix("_reverse").endswith(f"_l{number}")
    }
    other: dict[str, Any] = {"proj_size": module.proj_size} if module.proj_size else {}
    if isinstance(module, nn.RNN):
        other["nonlinearity"] = module.nonlinearity
    # Made where nothing is allocated or drawn.
    kind: Any = type(module)
    single: nn.RNNBase = kind(
        size,
        module.hidden_size,
        1,
        bias=module.bias,
        batch_first=module.batch_first,
        bidirectional=module.bidirectional,
        device="meta",
        **other,
    )
    for name, value in weights.items():
        setattr(single, name, value)
    single.training = module.training
    return single


def _of_layer(module: nn.RNNBase, state: Any, number: int) -> Any:
    if state is None:
        return None
    ways = 2 if module.bidirectional else 1
    if isinstance(state, Tensor):
        return state[ways * number : ways * (number + 1)]
    return tuple(_of_layer(module, part, number) for part in state)
