"""The report as a page: in a real browser, with no network, its pictures show what was measured."""

from __future__ import annotations

import copy
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Browser
from numpy.typing import NDArray
from PIL import Image

from sam3_edge.timing import charts
from sam3_edge.timing.page import page
from sam3_edge.timing.report import benchmark
from sam3_edge.timing.running import Plan

BLUE = (0x24, 0x71, 0xA3)
SHOTS = os.environ.get("SAM3_EDGE_SCREENSHOTS")  # a folder to which pictures of the page go
PLACES = """[...document.querySelectorAll('.bar')].map(bar => {
  const box = bar.getBoundingClientRect();
  return [bar.dataset.name, box.left, box.top + window.scrollY, box.width, box.height]})"""


@pytest.fixture(scope="module")
def document(exported: Path) -> dict[str, Any]:
    """A short real run."""
    return benchmark(
        Plan(exported, "sustained", objects=(1,), size=(60, 80), seconds=0.5, warmup=1, threads=1)
    )


def shown(browser: Browser) -> NDArray[np.int16]:
    """The window's pixels."""
    return np.asarray(Image.open(io.BytesIO(browser.picture()))).astype(np.int16)


def opened(browser: Browser, text: str, folder: Path, width: int) -> int:
    """The page in a window as high as itself, and that height."""
    path = folder / "report.html"
    path.write_text(text)
    browser.size(width, 800)
    browser.open(path.as_uri())
    browser.until("document.readyState === 'complete' && location.protocol === 'file:'")
    height = int(browser.ask("document.documentElement.scrollHeight"))
    browser.size(width, height)
    return height


@pytest.mark.parametrize("width", [820, 390])
def test_what_is_seen_is_what_was_measured(document: dict[str, Any], tmp_path: Path, width: int) -> None:
    with Browser(tmp_path / "browser") as browser:
        opened(browser, page(document), tmp_path, width)
        assert browser.ask("document.documentElement.scrollWidth") <= width
        assert browser.ask("performance.getEntriesByType('resource').length") == 0
        seen, places = shown(browser), browser.ask(PLACES)
        words = browser.ask("document.body.innerText")
        if SHOTS:
            (Path(SHOTS) / f"benchmark_{width}.jpg").write_bytes(browser.picture())
    (run,) = document["runs"]
    means = {name: row["mean"] for name, row in run["components"]["rows"].items()}
    assert [name for name, *_ in places] == list(means)
    longest = max(means.values())
    room = max(long for *_, long, _ in places)
    for name, left, top, long, high in places:
        assert long == pytest.approx(room * means[name] / longest, abs=1), name
        row = np.abs(seen[int(top + high / 2)] - BLUE).max(axis=-1) < 40
        blue = np.flatnonzero(row[int(left) - 2 : int(left + room) + 2])
        assert len(blue) == pytest.approx(long, abs=2.5), name  # drawn, from end to end and no further
    for warning in document["warnings"]:
        assert warning in words
    assert f"{run['latency_ms']['p50']['value']:.1f}" in words and document["bundle"]["sha256"] in words


def test_the_curve_of_a_machine_that_throttles(document: dict[str, Any], tmp_path: Path) -> None:
    """Twice as slow from the middle on: the line is seen at two heights, the second twice the first."""
    found = copy.deepcopy(document)
    bins = [
        {"second": second, "frames": 9, "p50_ms": 50.0 if second < 300 else 100.0} for second in range(600)
    ]
    found["runs"][0]["sustained"]["bins"] = bins
    with Browser(tmp_path / "browser") as browser:
        opened(browser, page(found), tmp_path, 820)
        box = browser.ask(
            "(box => [box.left, box.top, box.width, box.height])"
            "(document.querySelector('.curve').getBoundingClientRect())"
        )
        seen = shown(browser)
        base = browser.ask("[...document.querySelectorAll('.base')].at(-1).getBoundingClientRect().top")
    blue = np.abs(seen - BLUE).max(axis=-1) < 60
    left, top, wide, high = box
    heights = []
    for share in (0.25, 0.75):
        column = blue[int(top) - 4 : int(base), int(left + share * wide)]
        heights.append(base - (int(top) - 4 + np.flatnonzero(column).mean()))
    assert heights[1] == pytest.approx(2 * heights[0], abs=3)
    assert high == pytest.approx(heights[0], abs=4)


def test_nothing_in_a_report_becomes_a_tag(document: dict[str, Any], tmp_path: Path) -> None:
    found = copy.deepcopy(document)
    found["bundle"]["name"] = "<script>document.title='hit'</script><img src=x>\"'"
    found["command"] = [found["bundle"]["name"]]
    found["warnings"] = ["<b>bold</b>"]
    text = page(found)
    assert "<script" not in text and "<img" not in text and "<b>bold" not in text
    assert "http://" not in text.replace("http://www.w3.org", "") and "https://" not in text


def test_a_second_without_a_frame_breaks_the_line() -> None:
    drawn = charts.curve([1.0, None, 2.0], "ms", "x")
    assert (
        drawn.count('d="M110.0 ') == 1 and drawn.split('class="curve" d="')[1].split('"')[0].count("M") == 2
    )


def test_every_sample_is_in_the_histogram() -> None:
    drawn = charts.spread([1.0] * 5 + [2.0, 3.0], {"p50": 1.0})
    heights = [float(part.split('height="')[1].split('"')[0]) for part in drawn.split("<rect")[1:]]
    assert sorted(heights) == pytest.approx([30, 30, 150])
    assert json.dumps(drawn).count("p50") == 1
