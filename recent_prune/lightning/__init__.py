"""For Lightning: a callback that judges a trial by its first steps, before its training begins."""

try:
    import lightning.pytorch
except ImportError as error:
    raise ImportError(
        "recent_prune.lightning needs Lightning: pip install 'recent-prune[lightning]'."
    ) from error
del lightning

from recent_prune.lightning.arguments import OnCondemned  # noqa: E402
from recent_prune.lightning.callback import ReconstructionEntropyCallback  # noqa: E402

__all__ = ["OnCondemned", "ReconstructionEntropyCallback"]
