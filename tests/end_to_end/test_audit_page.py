"""The audit's page in a real browser: from disk, without network, with exact counts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow.compute as pc
import pytest

from pipeline.cli import main
from schemas.dataset import Dataset
from schemas.views import PAIR_FACTS, pair_facts
from tests.pipeline.audit.browser import Browser, chromium
from tests.pipeline.audit.planted import made_up, write_tables

MARKUP = "</script><script>window.broken=1</script>"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tables = made_up(["a", "b", MARKUP, "d"])
    return write_tables(tmp_path_factory.mktemp("audit") / "dataset", tables)


@pytest.fixture(scope="module")
def browser(root: Path) -> Iterator[Browser]:
    path = chromium()
    if path is None:
        pytest.skip("no Chromium here (Debian: apt install chromium)")
    page = root.parent / "report.html"
    assert main(["audit", str(root), "--out", str(page)]) == 0
    opened = Browser(path)
    try:
        opened.open(page.as_uri())
        yield opened
    finally:
        opened.close()


def test_it_loads_without_network_and_without_errors(browser: Browser) -> None:
    browser.evaluate("1")
    requests = [
        item["params"]["request"]["url"]
        for item in browser.events
        if item["method"] == "Network.requestWillBeSent"
    ]
    assert requests
    assert {url.split(":")[0] for url in requests} <= {"file", "data"}
    bad = {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"}
    assert [item for item in browser.events if item["method"] in bad] == []


def test_a_clip_named_like_markup_stays_text(browser: Browser) -> None:
    assert browser.evaluate("window.broken === undefined")
    assert browser.evaluate("document.body.textContent").count(MARKUP) > 0


@pytest.mark.parametrize(
    ("slider", "column", "key", "times"),
    [
        ("slider-0", "mean_baseline_m", "ArrowRight", 30),
        ("slider-1", "angle_deg", "ArrowRight", 95),
        ("slider-6", "min_silhouette_iou", "ArrowRight", 12),
        ("slider-7", "max_reprojection_error", "ArrowLeft", 15),
    ],
)
def test_a_slider_gives_exactly_what_a_query_gives(
    browser: Browser, root: Path, slider: str, column: str, key: str, times: int
) -> None:
    browser.evaluate("document.getElementById('again').click()")
    browser.evaluate(f"document.getElementById('{slider}').focus()")
    before = browser.evaluate("document.getElementById('count-stay').dataset.value")
    browser.press(key, times)
    limit = float(browser.evaluate(f"document.getElementById('{slider}').value"))
    pairs = pair_facts(Dataset.open(root), [item.name for item in PAIR_FACTS.columns])
    passing = pc.and_(
        pc.greater_equal(pairs["min_silhouette_iou"], 0.7),
        pc.less_equal(pairs["max_reprojection_error"], 0.03),
    )
    for name, bound in (("mean_baseline_m", 0.5), ("valid_fraction", 0.2)):
        passing = pc.and_(passing, pc.greater_equal(pairs[name], bound))
    for name, bound in (("rotation_deg", 40.0), ("baseline_over_depth", 1.0)):
        passing = pc.and_(passing, pc.less_equal(pairs[name], bound))
    compare = pc.less_equal if column == "max_reprojection_error" else pc.greater_equal
    passing = pc.and_(passing, compare(pairs[column], limit))
    shown = {
        name: int(browser.evaluate(f"document.getElementById('count-{name}').dataset.value"))
        for name in ("pass", "stay")
    }
    assert shown["pass"] == pc.sum(passing).as_py()
    assert shown["stay"] == pc.sum(pc.and_(passing, pairs["kept"])).as_py()
    assert str(shown["stay"]) != before
    text = browser.evaluate("document.getElementById('where-pairs').textContent")
    assert main(["audit", str(root), "--where", re.search("'(.*)'", text)[1], "--save-view", "seen"]) == 0  # type: ignore[index]
