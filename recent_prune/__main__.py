"""``python -m recent_prune`` is ``recent-prune``, where scripts are not on the path."""

from recent_prune.cli import app

if __name__ == "__main__":
    app(prog_name="recent-prune")
