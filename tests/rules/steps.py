"""First steps written by hand, for rules."""

from __future__ import annotations

from typing import Any

from recent_prune.probe import FirstSteps


def steps(**fields: Any) -> FirstSteps:
    """Steps of a trial that goes well, in ten classes; all else as given."""
    plain: dict[str, Any] = {
        "made": 6,
        "budget": 500,
        "learning_rate": 1e-3,
        "losses": (2.5, 2.4, 2.3, 2.2, 2.1, 2.0),
        "gradient_norms": (1.6, 1.5, 1.4, 1.5, 1.4, 1.4),
        "weight_norm": 19.0,
        "first_update": 0.11,
        "update": 0.5,
        "update_ratios": (0.024, 0.026, 0.026, 0.026),
        "first_order": 0.13,
        "unreached": 0.0,
        "constant_loss": 2.3,
        "loss_before": 2.5,
        "loss_after": 1.9,
        "accuracy_before": 0.12,
        "accuracy_after": 0.4,
        "chance": 0.12,
        "output_spread_before": 0.36,
        "output_spread_after": 0.5,
        "output_change": 0.6,
    }
    return FirstSteps(**{**plain, **fields})
