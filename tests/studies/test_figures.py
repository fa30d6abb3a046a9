from __future__ import annotations

from pathlib import Path

import plotly.graph_objects as go
import pytest

from studies.common.figures import write


def test_without_a_browser_there_is_the_page_and_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_browser(*_: object, **__: object) -> None:
        raise RuntimeError("no Chrome")

    monkeypatch.setattr(go.Figure, "write_image", no_browser)
    write(go.Figure(), tmp_path / "map")
    assert [path.name for path in tmp_path.iterdir()] == ["map.html"]
    assert "No map.png" in capsys.readouterr().out
