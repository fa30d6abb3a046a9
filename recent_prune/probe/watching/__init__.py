"""Watching a model as it runs."""
