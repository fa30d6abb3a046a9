"""First steps written by hand, for rules."""

from recent_prune.testing import example_steps as steps

__all__ = ["DIVERGED", "STALLED", "steps"]

DIVERGED = steps(
    losses=(2.5, 10.0, 20.0, 34.0, 41.0, 40.0),
    gradient_norms=(1.6, 7.9, 7.9, 14.0, 7.4, 6.6),
    first_update=111.0,
    update=338.0,
    update_ratios=(17.9, 17.8, 17.8, 15.1),
    first_order=127.0,
    loss_after=62.0,
    accuracy_after=0.1,
    output_spread_after=1e-5,
    output_change=80.0,
    learning_rate=1.0,
)
STALLED = steps(
    losses=(2.5,) * 6,
    first_update=1e-6,
    update=6e-6,
    update_ratios=(3e-7,) * 4,
    first_order=1.6e-6,
    loss_after=2.49999,
    accuracy_after=0.12,
    output_spread_after=0.36,
    output_change=1e-5,
)
