"""``python -m recent_prune.cli``."""

from recent_prune.cli import app

app()
