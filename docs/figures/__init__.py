"""Figures in README and docs, put there from result files: ``python -m docs.figures``."""
