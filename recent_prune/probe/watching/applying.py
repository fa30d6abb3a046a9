"""Weights that a model applies by functions, where no module stands for a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from typing import Any, NamedTuple

from torch import Tensor, nn

from recent_prune.probe.watching.code import names_in_code
from recent_prune.probe.watching.modules import is_weighted, named_modules, own_weights

_APPLYING = {
    "addmm",
    "baddbmm",
    "bmm",
    "einsum",
    "linear",
    "matmul",
    "mm",
    "tensordot",
    "__matmul__",
    "__rmatmul__",
}
"""Functions that make activations of activations and a weight; and the convolutions."""

_FROM_THE_LEFT = {"addmm", "matmul", "mm", "__matmul__"}
"""Functions in which a weight before activations [d, n] has their samples as columns."""

_LISTS = (nn.ParameterList, nn.ParameterDict)
"""Which are never called."""

Arrives = Callable[[str, str, Tensor], None]
"""Gets the name of the module that owns a weight, that of the layer, and what arrives at it."""


class Layer(NamedTuple):
    """A weight that may be applied by a function.

    Attributes:
        owner: Name of the module that owns it.
        module: That module.
        key: The weight's name in it.
        alone: Whether it is the module's only one: then it is applied where that is called, if it
            ever is.
    """

    owner: str
    module: nn.Module
    key: str
    alone: bool

    @property
    def name(self) -> str:
        """What the layer is called."""
        return self.owner if self.alone else f"{self.owner}.{self.key}".lstrip(".")


class Applying:
    """Sees weights applied that belong to no layer that is called.

    A weight stays one as it is transposed, masked by another or normalised: through all that is
    computed from weights alone.

    Args:
        model: Whose layers they are.
        layers: That may be applied, see :func:`applied_layers`.
        arrives: Is told of each application.
        called: Names of the modules that were called so far.
    """

    def __init__(
        self, model: nn.Module, layers: Sequence[Layer], arrives: Arrives, called: Set[str]
    ) -> None:
        self._model = model
        self._layers = layers
        self._arrives = arrives
        self._called = called
        self._weights: dict[int, tuple[Tensor, Layer]] = {}
        self._buffers: set[int] = set()
        self.begin()

    def begin(self) -> None:
        """A forward pass begins: the weights are those that the modules have now."""
        found = ((layer.module._parameters.get(layer.key), layer) for layer in self._layers)
        self._weights = {id(known): (known, layer) for known, layer in found if known is not None}
        self._buffers = {id(buffer) for buffer in self._model.buffers()}  # such as masks

    def look(self, name: str, args: Sequence[Any], result: Any) -> None:
        """At a call of one of PyTorch's functions."""
        given = list(_tensors(args))
        known = [self._weights.get(id(tensor)) for tensor in given]
        weight = next((one for one in known if one is not None), None)
        if weight is None:
            return
        pairs = zip(given, known, strict=True)
        others = [t for t, w in pairs if w is None and t.dim() and id(t) not in self._buffers]
        layer = weight[1]
        if layer.alone and layer.owner in self._called and not _gives_rows(layer.module):
            return
        if not others and isinstance(result, Tensor):
            self._weights[id(result)] = result, layer  # held, so that its id stays its own
        elif name in _APPLYING or name.startswith("conv"):
            activations = [tensor for tensor in others if tensor.dim() > 1]  # no biases
            if activations:
                arrived = activations[-1]
                places = [id(tensor) for tensor in given]
                first = known.index(weight) < places.index(id(arrived))
                by_column = first and name in _FROM_THE_LEFT and arrived.dim() == 2
                self._arrives(layer.owner, layer.name, arrived.t() if by_column else arrived)


def applied_layers(model: nn.Module) -> list[Layer]:
    """The weights of the model itself, of lists, and of modules with several.

    And where the code names a ``weight`` those of all others: one may be applied whose module is
    not called. To watch every call of a function takes a share of a probe; most need not be.
    """
    found = list(_layers(model))
    if "weight" in names_in_code([module for _, module in named_modules(model)]):
        return found
    return [layer for layer in found if not layer.alone]


def _layers(model: nn.Module) -> Iterator[Layer]:
    for name, module in named_modules(model):
        weights = own_weights(module) if is_weighted(module) else []
        in_pytorch = type(module).__module__.startswith("torch.")
        alone = module is not model and len(weights) == 1 and not isinstance(module, _LISTS)
        if weights and (alone or not in_pytorch or isinstance(module, _LISTS)):
            # With a leading axis of one a parameter is added, to all samples: a position, a token.
            keys = module.named_parameters(recurse=False)
            yield from (Layer(name, module, k, alone) for k, p in keys if p.dim() > 1 < len(p))


def _gives_rows(module: nn.Module) -> bool:
    """An embedding only looks its weight up; where it is multiplied, it is the head's as well."""
    return isinstance(module, nn.Embedding)


def _tensors(value: Sequence[Any]) -> Iterator[Tensor]:
    for item in value:
        if isinstance(item, Tensor):
            yield item
        elif isinstance(item, (list, tuple)):
            yield from _tensors(item)
