"""Look at a figure in a browser."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="draws and looks at figures: needs Debian's chromium"
)


def looked_at(path: Path, maps: int = 0) -> None:
    """Without errors, with so many maps of some size, and with something in the other plots.

    Where RECENT_PRUNE_SCREENSHOTS names a folder, what is seen is kept there.
    """
    errors: list[str] = []
    with sync_playwright() as driver:
        # A sandbox needs rights that containers rarely give.
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 1300})
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_selector(".js-plotly-plot .main-svg")
        drawn = page.locator(".heatmaplayer image")
        assert drawn.count() == maps
        boxes = [drawn.nth(i).bounding_box() for i in range(maps)]
        assert all(box is not None and box["width"] > 20 for box in boxes)
        assert maps or page.locator(".scatterlayer .trace path").count() > 0
        if folder := os.environ.get("RECENT_PRUNE_SCREENSHOTS"):
            page.screenshot(path=Path(folder) / f"{path.parent.name}.png")
        browser.close()
    assert errors == []
