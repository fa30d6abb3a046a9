from __future__ import annotations

from importlib import import_module

import pytest

from docs.figures import stable_surface
from docs.figures.stable_surface import STABLE, packages, public, surface


def test_knows_all_public_names() -> None:
    assert set(STABLE) <= set(packages())
    assert public("recent_prune") == set(import_module("recent_prune").__all__)
    assert public("recent_prune.rules") == set(import_module("recent_prune.rules").__all__)


def test_what_is_not_promised_is_experimental(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stable_surface, "STABLE", {"recent_prune": {"probe"}})
    lines = surface().splitlines()
    assert lines[0].startswith("- `recent_prune`: `probe`. *Experimental*: `Cascade`, ")
    assert next(x for x in lines if "`recent_prune.ray`" in x).startswith(
        "- `recent_prune.ray`: nothing yet. *Experimental*: "
    )


def test_a_promised_name_cannot_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stable_surface, "STABLE", {"recent_prune": {"probe", "gone"}})
    with pytest.raises(ValueError, match=r"recent_prune lacks \['gone'\], which are stable names"):
        surface()


def test_a_package_without_public_names() -> None:
    with pytest.raises(ValueError, match="has no __all__"):
        public("recent_prune.probe.watching")
