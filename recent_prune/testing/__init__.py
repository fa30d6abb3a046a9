"""The contracts of a rule and of a quantity, as tests to inherit from. For tests alone."""

from recent_prune.testing.quantities import QuantityContract
from recent_prune.testing.results import example_result, example_results, example_steps
from recent_prune.testing.rules import RuleContract

__all__ = [
    "QuantityContract",
    "RuleContract",
    "example_result",
    "example_results",
    "example_steps",
]
