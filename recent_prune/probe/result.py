"""What a probe returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from torch import Tensor

from recent_prune.notebook import result_html
from recent_prune.probe.first_steps.result import FirstSteps
from recent_prune.probe.json_types import from_json, to_json
from recent_prune.probe.quantities.comparing import are_same, hash_of
from recent_prune.probe.quantities.gradients import GradientProfile

LEAST_REDUNDANCY = 0.3
"""Share of the inputs that must be recoverable from the inputs themselves. MNIST, FashionMNIST and
digits have 0.77 to 0.87 (by default, 160 samples), Gaussian noise of 100 independent features 0.59,
of 400 0.34, of 784 0.25, of 2,000 0.16."""


@dataclass(frozen=True)
class Reconstructions:
    """Chosen samples, and what each layer still knows of them, on the model's device.

    Attributes:
        inputs: The chosen samples, [k, …] (for token inputs: their first floating activation,
            flattened).
        by_layer: Their reconstruction from each layer, [L, k, …], same sample shape; NaN where
            the activations are not finite.
    """

    inputs: Tensor
    by_layer: Tensor


@dataclass(frozen=True, repr=False)
class ProbeResult:
    """The profile of one initialization over its layers, shallow to deep.

    Two results are equal if they measured the same; time and reconstructions do not count.

    Attributes:
        estimator: ``"ridge"`` or ``"cascade"``.
        layers: Names of the probed layers in the order of execution, deepest last: the module
            that made the activation, or ``"input of NAME"`` where a function did.
        relative_entropy: Input ‖ reconstruction, nats, mean over samples that the reconstruction
            was not fitted on (64 at most by the ridge estimator). Not monotone in lost
            information, see :func:`relative_entropy`.
        retained: Share of the input's variance that is recovered on samples that the
            reconstruction was not fitted on, in [0, 1]; by the ridge estimator, of the variance of
            the leading principal components, and the mean over its noise floors, so that healthy
            layers have 0.05 to 0.8 rather than 1.
        differential_entropy: Of the reconstructions, nats per feature.
        gram_entropy: Of the activations, in [0, 1]: 0 where all samples point the same way.
        activation_rms: Root mean square of the activations.
        relative_variance: Share of the activations' second moment that varies over samples, in
            [0, 1]: 1e-7 is a collapsed layer.
        jacobian_norm: Mean square response of the activations to a small perturbation of the
            inputs, per unit of its mean square (1 where neither grows nor fades); NaN for tokens
            and by the cascade, which do not perturb.
        cutoff: Number of layers before the profile of the median relative entropy saturates,
            from 0 (flat from the first layer on) to ``depth - 1`` (the last still differs).
        input_rms: Root mean square of the inputs (1 for tokens).
        redundancy: Share of the inputs' variance that can be recovered from the inputs
            themselves, in [0, 1]: about 0.8 for images, low for noise, of which no network's
            layers could be asked for more. (1 by the cascade, which does not measure it.)
        normalized: Whether the model has normalisation layers, or normalises by functions or by
            hand. That rescales the activations at every layer, so that rules measured on plain
            networks do not apply.
        samples: Number of samples probed, held-out ones included.
        seconds: Wall-clock time of the probe, seconds.
        nonfinite_layer: First layer with NaN or infinite activations (by the cascade, also with
            activations too large to be fitted), or None. From there on ``retained`` is 0; where
            activations are not finite the other profiles are NaN, ``activation_rms`` infinite.
        gradients: How the gradients of the first step arrived at each layer, where there were
            first steps.
        reconstructions: Of the samples asked for with ``reconstruct``, or None.
        stochastic: Whether the model draws random numbers in evaluation mode, as variational
            autoencoders do. Its noise counts as lost information, so that the rules condemn
            nothing for that. (False by the cascade, which does not look.)
        retained_by_floor: Of each layer, the retained share at each of the ridge estimator's noise
            floors, whose mean is ``retained``. Empty by the cascade.
        zeroed: Whether a layer starts at zero, or all but, so that nothing arrives behind it before
            the first step, see :func:`starts_at_zero`.
        constant_output: Whether the output is the same for all samples, to the last bit. (False by
            the cascade, which does not look.)
        nonfinite_outputs: Share of the samples whose output holds NaN or infinity, in [0, 1]. (0 by
            the cascade, which does not look.)
        steps: What the first steps showed, where there were any; the profile is that after them.
        before: The profile before them, where asked for.
        unseen: Weighted modules whose activations could not be told by sample: of another shape
            in each batch, called for some samples only, or without an axis of samples.
        inputs: Names of what was reconstructed, where the model is called with more than one
            tensor: its floating inputs, and of tokens and categories the modules that they go into.
            The profile is that of the input that arrives best at each layer. Empty where the one
            input is a tensor.
        retained_by_input: Of each of ``inputs`` the share that each layer retains, as
            ``retained``, [inputs][layers].
        notes: What to keep in mind, in sentences.
    """

    estimator: str
    layers: tuple[str, ...]
    relative_entropy: tuple[float, ...]
    retained: tuple[float, ...]
    differential_entropy: tuple[float, ...]
    gram_entropy: tuple[float, ...]
    activation_rms: tuple[float, ...]
    relative_variance: tuple[float, ...]
    jacobian_norm: tuple[float, ...]
    cutoff: int
    input_rms: float
    redundancy: float
    normalized: bool
    samples: int
    seconds: float = field(compare=False)
    nonfinite_layer: str | None = None
    gradients: GradientProfile | None = None
    reconstructions: Reconstructions | None = field(default=None, compare=False)
    stochastic: bool = False
    retained_by_floor: tuple[tuple[float, ...], ...] = ()
    zeroed: bool = False
    constant_output: bool = False
    nonfinite_outputs: float = 0.0
    steps: FirstSteps | None = None
    before: ProbeResult | None = None
    unseen: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    retained_by_input: tuple[tuple[float, ...], ...] = ()
    notes: tuple[str, ...] = ()

    _repr_html_ = result_html

    def __eq__(self, other: object) -> bool:
        """Whether all that was found is the same; NaN is NaN."""
        return are_same(self, other)

    __hash__ = hash_of

    def __repr__(self) -> str:
        """The gist; the profiles are in the attributes."""
        return (
            f"ProbeResult({self.estimator!r}, {self.depth} layers, retained "
            f"{self.retained[0]:.3g} at {self.layers[0]!r} → {self.retained[-1]:.3g} at "
            f"{self.layers[-1]!r}, cutoff {self.cutoff}, {self.samples} samples, "
            f"{self.seconds:.3g} s)"
        )

    @property
    def inputs_recoverable(self) -> bool:
        """Whether the inputs are such that a layer that retains little says something."""
        return self.redundancy >= LEAST_REDUNDANCY

    @property
    def depth(self) -> int:
        """Number of probed layers."""
        return len(self.layers)

    def spread(self, most: int) -> list[int]:
        """Indices of at most so many layers, evenly spread, the first and the deepest included."""
        return spread(self.depth, most)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types only (NaN → None, infinity → ``"inf"``); no reconstructions.

        Size: about 260 bytes a layer, 380 with first steps.
        """
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "reconstructions"}
        for name in ("gradients", "steps"):
            if named[name] is not None:
                named[name] = asdict(named[name])
        if self.before is not None:
            named["before"] = self.before.to_dict()
        return {name: to_json(value) for name, value in named.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The result that :meth:`to_dict` wrote, also that of an earlier version.

        Raises:
            ValueError: If a field is missing or unknown.
        """
        known = {f.name for f in fields(cls)} - {"reconstructions"}
        # Unknown to earlier versions.
        added = {
            "stochastic": False,
            "retained_by_floor": (),
            "zeroed": False,
            "constant_output": False,
            "nonfinite_outputs": 0.0,
            "steps": None,
            "before": None,
            "unseen": (),
            "inputs": (),
            "retained_by_input": (),
            "notes": (),
        }
        data = {**added, **data}
        if set(data) != known:
            raise ValueError(
                f"`data` must have the keys {sorted(known)}, but "
                f"{sorted(known ^ set(data))} are missing or unknown."
            )
        named = {name: from_json(name, value) for name, value in data.items()}
        if named["gradients"] is not None:
            named["gradients"] = GradientProfile(**named["gradients"])
        if named["steps"] is not None:
            named["steps"] = FirstSteps(**named["steps"])
        if named["before"] is not None:
            named["before"] = cls.from_dict(data["before"])
        return cls(**named)


def spread(depth: int, most: int) -> list[int]:
    """Indices of at most so many of ``depth`` layers, see :meth:`ProbeResult.spread`."""
    count = min(most, depth)
    return sorted({round(i * (depth - 1) / max(count - 1, 1)) for i in range(count)})
