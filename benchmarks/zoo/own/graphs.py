# ruff: noqa: D102 - what `forward` does is said of its class
# mypy: disable-error-code="no-any-return,index,operator,arg-type"
"""Graph networks as PyTorch Geometric's examples write them, without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.zoo.data import BATCH, MOST, generator
from benchmarks.zoo.specification import Entry, adam, training

FEATURES, KINDS, WIDTH = 8, 4, 32


class Data:
    """Several graphs as one: nodes side by side, as ``torch_geometric.data.Batch`` has them."""

    def __init__(self, x: Tensor, edge_index: Tensor, batch: Tensor, y: Tensor, graphs: int):
        self.x, self.edge_index, self.batch, self.y = x, edge_index, batch, y
        self.num_graphs = graphs

    def to(self, *args: Any, **kwargs: Any) -> Data:
        """Somewhere else."""
        parts = (t.to(*args, **kwargs) for t in (self.x, self.edge_index, self.batch, self.y))
        x, edges, batch, y = parts
        return Data(x, edges, batch, y, self.num_graphs)


def _edges(kind: int, nodes: int, draw: torch.Generator) -> Tensor:
    """A ring, a star, a path with leaps, or random pairs; both ways, [2, edges]."""
    place = torch.arange(nodes)
    if kind == 0:
        pairs = torch.stack([place, (place + 1) % nodes])
    elif kind == 1:
        pairs = torch.stack([torch.zeros(nodes - 1, dtype=torch.long), place[1:]])
    elif kind == 2:
        pairs = torch.cat([torch.stack([place[:-d], place[d:]]) for d in (1, 3)], dim=1)
    else:
        pairs = torch.randint(0, nodes, (2, 2 * nodes), generator=draw)
    return torch.cat([pairs, pairs.flip(0)], dim=1)


def batches(seed: int, *, of_nodes: bool = False) -> list[Data]:
    """Of 32 graphs of four kinds, whose nodes' features tell a little of the kind, too.

    Args:
        seed: See :mod:`benchmarks.zoo.data`.
        of_nodes: Whether each node has a label: whether it has more neighbours than most.
    """
    draw = generator(seed + 900)
    centres = torch.randn(KINDS, FEATURES, generator=generator(13))
    found = []
    for _ in range(MOST[seed]):
        xs, edges, owner, first = [], [], [], 0
        kinds = torch.randint(0, KINDS, (BATCH,), generator=draw)
        for graph, kind in enumerate(kinds.tolist()):
            nodes = int(torch.randint(8, 16, (), generator=draw))
            xs.append(0.5 * centres[kind] + torch.randn(nodes, FEATURES, generator=draw))
            edges.append(first + _edges(kind, nodes, draw))
            owner += [graph] * nodes
            first += nodes
        edge_index = torch.cat(edges, dim=1)
        degree = torch.bincount(edge_index[0], minlength=first)
        y = (degree > 3).long() if of_nodes else kinds
        found.append(Data(torch.cat(xs), edge_index, torch.tensor(owner), y, BATCH))
    return found


def gathered(messages: Tensor, edge_index: Tensor, nodes: int) -> Tensor:
    """Sum of the messages at each node, [nodes, d]."""
    return messages.new_zeros(nodes, messages.shape[1]).index_add(0, edge_index[1], messages)


def pooled(x: Tensor, batch: Tensor, graphs: int) -> Tensor:
    """Mean over the nodes of each graph, [graphs, d]."""
    count = torch.bincount(batch, minlength=graphs).clamp(min=1)
    return x.new_zeros(graphs, x.shape[1]).index_add(0, batch, x) / count[:, None]


class GCN(nn.Module):
    """Kipf and Welling's, symmetric normalization."""

    def __init__(self, fan_in: int, fan_out: int):
        super().__init__()
        self.linear = nn.Linear(fan_in, fan_out)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        source, sink = edge_index
        degree = torch.bincount(sink, minlength=len(x)).float() + 1
        x = self.linear(x)
        weight = (degree[source] * degree[sink]).rsqrt()[:, None]
        return gathered(weight * x[source], edge_index, len(x)) + x / degree[:, None]


class SAGE(nn.Module):
    """Of the node itself and of the mean of its neighbours."""

    def __init__(self, fan_in: int, fan_out: int):
        super().__init__()
        self.own, self.others = nn.Linear(fan_in, fan_out), nn.Linear(fan_in, fan_out, bias=False)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        degree = torch.bincount(edge_index[1], minlength=len(x)).clamp(min=1)
        return self.own(x) + self.others(
            gathered(x[edge_index[0]], edge_index, len(x)) / degree[:, None]
        )


class GIN(nn.Module):
    """A small MLP of the sum, with batch normalization."""

    def __init__(self, fan_in: int, fan_out: int):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(fan_in, fan_out),
            nn.BatchNorm1d(fan_out),
            nn.ReLU(),
            nn.Linear(fan_out, fan_out),
        )

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        found: Tensor = self.mlp(x + gathered(x[edge_index[0]], edge_index, len(x)))
        return found


class GAT(nn.Module):
    """Attention over the neighbours, one head."""

    def __init__(self, fan_in: int, fan_out: int):
        super().__init__()
        self.linear = nn.Linear(fan_in, fan_out)
        self.attention = nn.Linear(2 * fan_out, 1)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        x = self.linear(x)
        source, sink = edge_index
        score = F.leaky_relu(self.attention(torch.cat([x[source], x[sink]], dim=1)), 0.2)
        weight = (score - score.max()).exp()
        total = gathered(weight, edge_index, len(x)).clamp(min=1e-9)
        return gathered(weight * x[source], edge_index, len(x)) / total + x


class EdgeConv(nn.Module):
    """Of each pair, the largest message."""

    def __init__(self, fan_in: int, fan_out: int):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(2 * fan_in, fan_out), nn.ReLU(), nn.Linear(fan_out, fan_out)
        )

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        source, sink = edge_index
        messages = self.mlp(torch.cat([x[sink], x[source] - x[sink]], dim=1))
        index = sink[:, None].expand_as(messages)
        start = messages.new_zeros(len(x), messages.shape[1])
        return start.scatter_reduce(0, index, messages, "amax", include_self=False)


class Sums(nn.Module):
    """Sums over neighbours, with no normalization: activations grow with the degree."""

    def __init__(self, fan_in: int, fan_out: int):
        super().__init__()
        self.linear = nn.Linear(fan_in, fan_out)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        found: Tensor = self.linear(x + gathered(x[edge_index[0]], edge_index, len(x)))
        return found


class Gated(nn.Module):
    """Messages into a GRU cell, as gated graph networks do."""

    def __init__(self, fan_in: int, fan_out: int):
        super().__init__()
        self.message, self.cell = nn.Linear(fan_in, fan_out), nn.GRUCell(fan_out, fan_in)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        found: Tensor = self.cell(gathered(self.message(x)[edge_index[0]], edge_index, len(x)), x)
        return found


class GraphNetwork(nn.Module):
    """A stack of such layers, called with the whole batch, ``model(data)``.

    Args:
        layer: Of which it is made.
        depth: How many.
        residual: Whether each adds to what it gets.
        of_nodes: Whether nodes are classified, not graphs.
    """

    def __init__(
        self,
        layer: Callable[[int, int], nn.Module],
        depth: int = 3,
        *,
        residual: bool = False,
        of_nodes: bool = False,
    ):
        super().__init__()
        self.residual, self.of_nodes = residual, of_nodes
        self.first = nn.Linear(FEATURES, WIDTH)
        self.layers = nn.ModuleList(layer(WIDTH, WIDTH) for _ in range(depth))
        self.head = nn.Linear(WIDTH, 2 if of_nodes else KINDS)

    def forward(self, data: Data) -> Tensor:
        x = self.first(data.x)
        for layer in self.layers:
            new = F.relu(layer(x, data.edge_index))
            x = x + new if self.residual else new
        out: Tensor = self.head(x if self.of_nodes else pooled(x, data.batch, data.num_graphs))
        return out


class Unpacked(nn.Module):
    """Called as ``model(data.x, data.edge_index, data.batch)``, as PyG's examples do."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = GCN(FEATURES, WIDTH), GCN(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, KINDS)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        x = F.relu(self.second(F.relu(self.first(x, edge_index)), edge_index))
        out: Tensor = self.head(pooled(x, batch, int(batch.max()) + 1))
        return out


class GraphTransformer(nn.Module):
    """Nodes padded to one length, with attention among all of a graph, and their degrees."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.degree = nn.Linear(FEATURES, WIDTH), nn.Embedding(40, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 64, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, KINDS)

    def forward(self, data: Data) -> Tensor:
        degree = torch.bincount(data.edge_index[0], minlength=len(data.x)).clamp(max=39)
        x = self.first(data.x) + self.degree(degree)
        sizes = torch.bincount(data.batch, minlength=data.num_graphs).tolist()
        rows = nn.utils.rnn.pad_sequence(x.split(sizes), batch_first=True)
        lengths = torch.tensor(sizes, device=x.device)
        pad = torch.arange(rows.shape[1], device=x.device)[None] >= lengths[:, None]
        x = self.encoder(rows, src_key_padding_mask=pad)
        out: Tensor = self.head(x.masked_fill(pad[..., None], 0).sum(1) / lengths[:, None])
        return out


def _entry(name: str, build: Callable[[], nn.Module], call: Any = None, **more: Any) -> Entry:
    of_nodes = bool(more.get("of_nodes"))
    return Entry(
        f"graphs {name}",
        "graphs",
        "graph",
        build,
        lambda seed: batches(seed, of_nodes=of_nodes),
        training(F.cross_entropy, adam(5e-3), call),
        confirm=True,
    )


ENTRIES = [
    _entry("GCN", lambda: GraphNetwork(GCN)),
    _entry("GraphSAGE", lambda: GraphNetwork(SAGE)),
    _entry("GIN", lambda: GraphNetwork(GIN)),
    _entry("GAT", lambda: GraphNetwork(GAT)),
    _entry("EdgeConv", lambda: GraphNetwork(EdgeConv)),
    _entry("gated, GRU", lambda: GraphNetwork(Gated)),
    _entry("residual EdgeConv, 8 layers", lambda: GraphNetwork(EdgeConv, 8, residual=True)),
    _entry("residual sums, 8 layers", lambda: GraphNetwork(Sums, 8, residual=True)),
    _entry("residual GCN, 16 layers", lambda: GraphNetwork(GCN, 16, residual=True)),
    _entry("GCN of nodes", lambda: GraphNetwork(SAGE, of_nodes=True), of_nodes=True),
    _entry("GCN, called with its parts", Unpacked, lambda m, d: m(d.x, d.edge_index, d.batch)),
    _entry("transformer", GraphTransformer),
]
