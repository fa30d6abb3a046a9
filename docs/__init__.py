"""The documentation: its pages, how Sphinx builds them, and their pictures."""
