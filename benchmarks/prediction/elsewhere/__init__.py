"""Trials unlike all that anything was fitted to."""
