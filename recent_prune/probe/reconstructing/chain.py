"""Read a model as a chain of layers that can be inverted one by one."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp, TensorMetadata

from recent_prune.probe.watching.modules import is_weighted, named_modules

Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d
Weighted = nn.Linear | Conv

RIDGE_INSTEAD = "use estimator='ridge', which takes any module"


@dataclass(frozen=True)
class Step:
    """One weighted module of a layer; shapes are without the batch axis.

    Attributes:
        module: Linear or convolutional.
        entering: What arrives at it.
        leaving: What leaves it.
    """

    module: Weighted
    entering: tuple[int, ...]
    leaving: tuple[int, ...]


@dataclass(frozen=True)
class ChainLayer:
    """A layer with what follows it (activation, pooling, flattening), or a whole residual block.

    Shapes are without the batch axis.

    Attributes:
        name: The module that makes the layer's final activation, or ``"input of NEXT"``.
        steps: Its weighted modules in order: one, or those on the longest way through a block.
        before: Final activation of the previous layer (or the model's input).
        folded: The last tensor of the layer with as many axes as what leaves its last step (after
            pooling, before flattening).
        after: The layer's final activation.
    """

    name: str
    steps: tuple[Step, ...]
    before: tuple[int, ...]
    folded: tuple[int, ...]
    after: tuple[int, ...]


class Chain:
    """A model cut into layers that follow one another, such as a stack of layers or of blocks.

    Wherever a single tensor is all that the rest of the model is computed from, it can be cut. What
    lies between two such places is one operation, or a block of several ways (a residual block).

    Args:
        model: Traced symbolically (``torch.fx``); its modules are shared, not copied.
        example: A batch [n, …] to read shapes from.

    Raises:
        ValueError: If the model cannot be traced, or cannot be cut into linear and convolutional
            layers and blocks of them; the message names the place and points to the ridge
            estimator.
    """

    def __init__(self, model: nn.Module, example: Tensor) -> None:
        graph = _trace(model)
        ShapeProp(graph).propagate(example.clone())
        self._graph = graph
        self.layers, ends = _layers(graph, _links(graph))
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

        Recorder(self._graph).run(batch.clone())  # a model may change its input in place
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


@dataclass(frozen=True)
class _Link:
    """What lies between two places where a model can be cut.

    Attributes:
        start: The node before it (the same as ``end`` for the input itself).
        end: Its last node.
        steps: The weighted nodes on the longest way through it.
    """

    start: fx.Node
    end: fx.Node
    steps: tuple[fx.Node, ...]


def _links(graph: fx.GraphModule) -> list[_Link]:
    """The model as links from the input on, each computed from the end of the one before alone."""
    tensors = _tensors_of_the_output(graph)
    place = {node: i for i, node in enumerate(tensors)}
    sources = {n: [s for s in n.all_input_nodes if s in place] for n in tensors}
    # A node is a cut if no later one uses an earlier one.
    reach, cuts = 0, [tensors[0]]
    last_use = [max((place[u] for u in n.users if u in place), default=0) for n in tensors]
    for i, node in enumerate(tensors[1:], start=1):
        reach = max(reach, last_use[i - 1])
        if reach <= i:
            cuts.append(node)
    links = []
    for start, end in itertools.pairwise(cuts):
        inside = tensors[place[start] + 1 : place[end] + 1]
        # The longest way to each node, in weighted nodes.
        ways: dict[fx.Node, tuple[fx.Node, ...]] = {start: ()}
        for node in inside:
            if node.op in ("get_attr", "placeholder") or not sources[node]:
                raise ValueError(
                    f"estimator='cascade' needs a model whose layers follow one another, but "
                    f"{_label(end)!r} is also computed from {_label(node)!r}; {RIDGE_INSTEAD}."
                )
            own = () if _weighted_module(graph, node) is None else (node,)
            ways[node] = max((ways[source] for source in sources[node]), key=len) + own
        links.append(_Link(start, end, ways[end]))
    return links


def _tensors_of_the_output(graph: fx.GraphModule) -> list[fx.Node]:
    """The tensor-valued nodes that the output is computed from, in order."""
    output = next(node for node in graph.graph.nodes if node.op == "output")
    needed, pending = set(), [output]
    while pending:
        for source in pending.pop().all_input_nodes:
            if source not in needed:
                needed.add(source)
                pending.append(source)
    return [n for n in graph.graph.nodes if n in needed and _shape(n) is not None]


def _layers(
    graph: fx.GraphModule, links: Sequence[_Link]
) -> tuple[list[ChainLayer], list[fx.Node]]:
    weighted = [i for i, link in enumerate(links) if link.steps]
    if not weighted:
        raise ValueError(
            f"estimator='cascade' found no linear or convolutional layer in `model`; "
            f"{RIDGE_INSTEAD}."
        )
    layers: list[ChainLayer] = []
    ends: list[fx.Node] = []
    times: Counter[str] = Counter()
    for i, following in zip(weighted, [*weighted[1:], len(links)], strict=True):
        own = links[i:following]
        steps = tuple(_step(graph, node) for node in own[0].steps)
        axes = len(steps[-1].leaving)
        end = own[-1].end
        name = _name(end, links[following].steps[0] if following < len(links) else None)
        folded = [s for s in (_known_shape(link.end) for link in own) if len(s) == axes]
        if not folded:
            raise ValueError(
                f"estimator='cascade' cannot undo {name!r}: its longest way ends with "
                f"{steps[-1].leaving}, the layer itself with {_known_shape(own[0].end)}; "
                f"{RIDGE_INSTEAD}."
            )
        times[name] += 1
        layers.append(
            ChainLayer(
                name=name if times[name] == 1 else f"{name}#{times[name]}",
                steps=steps,
                before=_known_shape(links[0].start if not ends else ends[-1]),
                folded=folded[-1],
                after=_known_shape(end),
            )
        )
        ends.append(end)
    return layers, ends


def _step(graph: fx.GraphModule, node: fx.Node) -> Step:
    module = _weighted_module(graph, node)
    assert module is not None
    return Step(module, _known_shape(node.all_input_nodes[0]), _known_shape(node))


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
