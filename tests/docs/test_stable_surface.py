from __future__ import annotations

from importlib import import_module

import pytest

from docs.figures import stable_surface
from docs.figures.stable_surface import STABLE, packages, public, surface


def test_knows_all_public_names() -> None:
    assert set(STABLE) <= set(packages())
    assert public("recent_prune") == set(import_module("recent_prune").__all__)
    assert public("recent_prune.rules") == set(import_module("recent_prune.rules").__all__)


def test_what_is_not_promised_is_experimental_since_a_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stable_surface, "STABLE", {"recent_prune.preflight": {"Part"}})
    monkeypatch.setattr(stable_surface, "INNER", stable_surface.INNER | set(STABLE))
    monkeypatch.setitem(stable_surface.EXPERIMENTAL, "room_of", "0.3")
    assert surface().splitlines()[0] == (
        "- `recent_prune.preflight`: `Part`. *Experimental since 0.2*: `Estimate`, `Limits`, "
        "`PreflightResult`, `Room`, `preflight`. *Experimental since 0.3*: `room_of`."
    )
    monkeypatch.delitem(stable_surface.EXPERIMENTAL, "Room")
    with pytest.raises(ValueError, match=r"preflight\.Room is neither stable nor experimental"):
        surface()


def test_a_promised_name_cannot_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stable_surface, "STABLE", {"recent_prune": {"probe", "gone"}})
    with pytest.raises(ValueError, match=r"recent_prune lacks \['gone'\], which are stable names"):
        surface()


def test_a_package_without_public_names() -> None:
    with pytest.raises(ValueError, match="has no __all__"):
        public("recent_prune.probe.watching")
