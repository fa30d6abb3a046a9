"""Read a model as a chain of layers that can be inverted one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp, TensorMetadata

from recent_prune.probe.modules import is_weighted, named_modules

Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d
Weighted = nn.Linear | Conv

RIDGE_INSTEAD = "use estimator='ridge', which takes any module"


@dataclass(frozen=True)
class ChainLayer:
    """One linear or convolutional layer with what follows it: activation, pooling, flattening.

    Shapes are without the batch axis.

    Attributes:
        name: The module that makes the layer's final activation, or ``"input of NEXT"``.
        module: The weighted module.
        before: Final activation of the previous layer (or the model's input).
        entering: What arrives at the weighted module, after reshapes.
        leaving: What leaves it.
        folded: The last tensor of the layer with as many axes as ``leaving`` (after pooling,
            before flattening).
        after: The layer's final activation.
    """

    name: str
    module: Weighted
    before: tuple[int, ...]
    entering: tuple[int, ...]
    leaving: tuple[int, ...]
    folded: tuple[int, ...]
    after: tuple[int, ...]


class Chain:
    """A model whose tensors form one line from input to output, cut into its layers.

    Args:
        model: Traced symbolically (``torch.fx``); its modules are shared, not copied.
        example: A batch [n, …] to read shapes from.

    Raises:
        ValueError: If the model cannot be traced or is not a chain of linear and convolutional
            layers; the message names the place and points to the ridge estimator.
    """

    def __init__(self, model: nn.Module, example: Tensor) -> None:
        graph = _trace(model)
        ShapeProp(graph).propagate(example)
        line = _line(graph)
        self._graph = graph
        self.layers, ends = _layers(graph, line)
        self._ends = {node: index for index, node in enumerate(ends)}

    def activations(self, batch: Tensor) -> list[Tensor]:
        """The final activation of every layer for a batch, shallow to deep, [n, …] each."""
        found: list[Tensor] = [batch] * len(self._ends)
        ends = self._ends

        class Recorder(fx.Interpreter):
            def run_node(self, n: fx.Node) -> Any:
                value = super().run_node(n)
                if n in ends:
                    found[ends[n]] = value
                return value

        Recorder(self._graph).run(batch)
        return found


def _trace(model: nn.Module) -> fx.GraphModule:
    if isinstance(model, Weighted):  # tracing would look inside
        model = nn.Sequential(model)
    try:
        return fx.symbolic_trace(model)
    except Exception as error:
        raise ValueError(
            f"estimator='cascade' cannot follow the forward pass of `model` "
            f"({type(model).__name__}): {error}; {RIDGE_INSTEAD}."
        ) from error


def _line(graph: fx.GraphModule) -> list[fx.Node]:
    """The tensor-valued nodes from the input on, each computed from the one before it alone."""
    tensors = [n for n in graph.graph.nodes if n.op != "output" and _shape(n) is not None]
    line: list[fx.Node] = []
    for node in tensors:
        sources = [source for source in node.all_input_nodes if source in tensors]
        if node.op == "get_attr" or sources != line[-1:]:
            raise ValueError(
                f"estimator='cascade' needs a model whose layers follow one another, but "
                f"{_label(node)!r} is computed from "
                f"{[_label(s) for s in sources] or 'a parameter'} and comes after "
                f"{_label(line[-1]) if line else 'nothing'!r}; {RIDGE_INSTEAD}."
            )
        line.append(node)
    return line


def _layers(
    graph: fx.GraphModule, line: Sequence[fx.Node]
) -> tuple[list[ChainLayer], list[fx.Node]]:
    weighted = [i for i, node in enumerate(line) if _weighted_module(graph, node) is not None]
    if not weighted:
        raise ValueError(
            f"estimator='cascade' found no linear or convolutional layer in `model`; "
            f"{RIDGE_INSTEAD}."
        )
    layers: list[ChainLayer] = []
    ends: list[fx.Node] = []
    for i, start in enumerate(weighted):
        following = weighted[i + 1] if i + 1 < len(weighted) else len(line)
        own = line[start:following]
        module = _weighted_module(graph, line[start])
        assert module is not None
        leaving = _known_shape(own[0])
        layers.append(
            ChainLayer(
                name=_name(own[-1], line[following] if following < len(line) else None),
                module=module,
                before=_known_shape(line[0] if not ends else ends[-1]),
                entering=_known_shape(line[start - 1]),
                leaving=leaving,
                folded=[s for s in map(_known_shape, own) if len(s) == len(leaving)][-1],
                after=_known_shape(own[-1]),
            )
        )
        ends.append(own[-1])
    return layers, ends


def _weighted_module(graph: fx.GraphModule, node: fx.Node) -> Weighted | None:
    if node.op != "call_module":
        return None
    module = graph.get_submodule(str(node.target))
    if isinstance(module, Weighted):
        return module
    if any(is_weighted(part) for _, part in named_modules(module)):
        raise ValueError(
            f"estimator='cascade' has no reconstruction layer for {node.target!r} "
            f"({type(module).__name__}), only for Linear and Conv1d to Conv3d; {RIDGE_INSTEAD}."
        )
    return None


def _name(end: fx.Node, following: fx.Node | None) -> str:
    if end.op == "call_module":
        return str(end.target)
    return "output" if following is None else f"input of {following.target}"


def _label(node: fx.Node) -> str:
    return str(node.target) if node.op in ("call_module", "get_attr") else node.name


def _shape(node: fx.Node) -> torch.Size | None:
    meta = node.meta.get("tensor_meta")
    return meta.shape if isinstance(meta, TensorMetadata) else None


def _known_shape(node: fx.Node) -> tuple[int, ...]:
    shape = _shape(node)
    assert shape is not None
    return tuple(shape[1:])
