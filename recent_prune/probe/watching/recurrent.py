"""What passes inside of a stack of recurrent layers, which PyTorch runs as one."""

from __future__ import annotations

import warnings
from typing import Any

from torch import Tensor, nn

from recent_prune.probe.restoring.memory import is_out_of_memory

_KINDS = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN_TANH": nn.RNN, "RNN_RELU": nn.RNN}


def inner_outputs(module: nn.RNNBase, input: Any, hx: Any = None) -> list[Any]:  # noqa: A002
    """Outputs of all layers of the stack but the last, without dropout, as the module gives them.

    They are computed again, each by a layer of its own with the same weights, of which no hook
    hears: PyTorch's kernels keep them to themselves.

    Args:
        module: ``nn.RNN``, ``nn.LSTM`` or ``nn.GRU``, of any number of layers, one way or both.
        input: A tensor or packed sequence, as it was called with.
        hx: Initial state of all layers, or None.

    Returns:
        None of a kind that cannot be taken apart.
    """
    found: list[Any] = []
    with warnings.catch_warnings():
        # One layer's weights are no contiguous chunk of memory, and are not to be moved.
        warnings.filterwarnings("ignore", message="RNN module weights are not part of single")
        try:
            for number in range(module.num_layers - 1):
                input = _layer(module, number).forward(input, _of_layer(module, hx, number))[0]  # noqa: A001
                found.append(input)
        except Exception as error:  # a kind of somebody's own: what it gives is seen all the same
            if is_out_of_memory(error):
                raise
            return []
    return found


def _layer(module: nn.RNNBase, number: int) -> nn.RNNBase:
    ways = 2 if module.bidirectional else 1
    size = module.input_size if number == 0 else ways * (module.proj_size or module.hidden_size)
    other: dict[str, Any] = {"proj_size": module.proj_size} if module.proj_size else {}
    if module.mode == "RNN_RELU":
        other["nonlinearity"] = "relu"
    # Made where nothing is allocated or drawn.
    kind: Any = _KINDS[module.mode]
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
    # By name: parametrized ones are computed, and no parameters of the module's own.
    for way in module._all_weights[ways * number : ways * (number + 1)]:
        for name in way:
            own = name.replace(f"_l{number}", "_l0")
            single._parameters.pop(own, None)
            setattr(single, own, getattr(module, name))
    single.training = module.training
    return single


def _of_layer(module: nn.RNNBase, state: Any, number: int) -> Any:
    if state is None:
        return None
    ways = 2 if module.bidirectional else 1
    if isinstance(state, Tensor):
        return state[ways * number : ways * (number + 1)]
    return tuple(_of_layer(module, part, number) for part in state)
