"""Draw figures and look at them, in browsers that the tests of a process share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import kaleido
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_started: list[Browser] = []
Test = TypeVar("Test", bound=Callable[..., object])


def needs_chromium(test: Test) -> Test:
    """Skip a test where there is no Chromium; where there is, all draw in the same one."""
    marks = (
        pytest.mark.skipif(
            CHROMIUM is None, reason="draws and looks at figures: needs Debian's chromium"
        ),
        pytest.mark.usefixtures("_one_browser"),
        # Of Plotly's own making, where Kaleido's browser runs already.
        pytest.mark.filterwarnings("ignore:The kopts argument is ignored"),
    )
    for mark in marks:
        test = mark(test)
    return test


@contextmanager
def one_browser() -> Iterator[None]:
    """Let all that draw or look within share a browser each; one takes seconds to start."""
    kaleido.start_sync_server()
    driver = sync_playwright().start()
    # A sandbox needs rights that containers rarely give.
    _started.append(driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]))
    try:
        yield
    finally:
        _started.pop().close()
        driver.stop()
        kaleido.stop_sync_server()


@contextmanager
def opened(path: Path, width: int = 1200, height: int = 1300) -> Iterator[tuple[Page, list[str]]]:
    """A page with figures, from when the first is drawn, and the errors that it tells of.

    Where RECENT_PRUNE_SCREENSHOTS names a folder, what is seen at the end is kept there.
    """
    errors: list[str] = []
    with _started[-1].new_page(viewport={"width": width, "height": height}) as page:
        page.set_default_timeout(
            120_000
        )  # ms; busy machines take a minute for what takes one second
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_selector(".js-plotly-plot .main-svg")
        yield page, errors
        if folder := os.environ.get("RECENT_PRUNE_SCREENSHOTS"):
            page.screenshot(path=Path(folder) / f"{path.parent.name}.png")


def looked_at(path: Path, maps: int = 0) -> None:
    """Without errors, with so many maps of some size, and with something in the other plots."""
    with opened(path) as (page, errors):
        drawn = page.locator(".heatmaplayer image")
        assert drawn.count() == maps
        boxes = [drawn.nth(i).bounding_box() for i in range(maps)]
        assert all(box is not None and box["width"] > 20 for box in boxes)
        assert maps or page.locator(".scatterlayer .trace path").count() > 0
        assert errors == []
