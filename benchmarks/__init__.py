"""Benchmarks: each folder holds one, with its protocol and its results."""
