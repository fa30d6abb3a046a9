"""Trials of many tasks, really trained: every optimizer setting is one of its own."""
