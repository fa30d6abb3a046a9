"""The demo: a real Optuna study on handwritten digits, with the pruner and without."""

from recent_prune.demo.studies import Settings, run_pruned, run_reference, warm_up
from recent_prune.demo.summary import summary_page, summary_table

__all__ = ["Settings", "run_pruned", "run_reference", "summary_page", "summary_table", "warm_up"]
