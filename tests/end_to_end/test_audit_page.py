"""The audit's page in a real browser: from disk, without network, with exact counts."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.audit.baselines import QUANTITIES
from pipeline.audit.scalars import read_tables
from pipeline.audit.sweep import SLIDERS
from pipeline.commands.main import main
from pipeline.config import PairSettings
from pipeline.dataset.storage import publish_text
from pipeline.geometry.motion import PairStatistics
from pipeline.method.verdicts import drop_reason, exceeds
from schemas.dataset import SETTINGS_PATH, Dataset
from schemas.selections import Selection
from tests.pipeline.audit.browser import Browser, chromium
from tests.pipeline.audit.planted import made_up, write_tables

MARKUP = "</script><script>window.broken=1</script>"
CLIPS = ["a", "b", MARKUP, "d"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tables(tmp_path_factory.mktemp("audit") / "dataset", made_up(CLIPS))


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


START = {
    "mean_baseline_m": (">=", 0.5), "rotation_deg": ("<=", 40.0), "baseline_over_depth": ("<=", 1.0),
    "valid_fraction": (">=", 0.2), "min_silhouette_iou": (">=", 0.7), "max_reprojection_error": ("<=", 0.03),
}  # fmt: skip
"""Where the sliders begin: the preset's thresholds."""
MOVES = [
    ("slider-0", "mean_baseline_m", ">=", "ArrowRight", 30),
    ("slider-1", "angle_deg", ">=", "ArrowRight", 95),
    ("slider-6", "min_silhouette_iou", ">=", "ArrowRight", 12),
    ("slider-7", "max_reprojection_error", "<=", "ArrowLeft", 15),
]


def moved(browser: Browser, slider: str, key: str, times: int) -> tuple[float, dict[str, int]]:
    """Where a slider stands after some key strokes, and the counts the page then shows."""
    browser.evaluate("document.getElementById('again').click()")
    browser.evaluate(f"document.getElementById('{slider}').focus()")
    browser.press(key, times)
    return float(browser.evaluate(f"document.getElementById('{slider}').value")), shown_counts(browser)


def shown_counts(browser: Browser) -> dict[str, int]:
    return {
        name: int(browser.evaluate(f"document.getElementById('count-{name}').dataset.value"))
        for name in ("pass", "stay")
    }


def facts_by_hand() -> list[dict[str, float | bool]]:
    """What a selection may ask about every pair, from the made-up rows, one pair at a time."""
    tables = made_up(CLIPS)
    pairs, frames = tables["pairs"], tables["frames"]
    quality = {
        (track, int(frame)): (iou, error)
        for track, frame, iou, error in zip(
            *(frames[name] for name in ("track_id", "frame_index", "silhouette_iou", "reprojection_error"))
        )
    }
    found = []
    for at, track in enumerate(pairs["track_id"]):
        ends = [quality[track, int(pairs[name][at])] for name in ("target_frame", "reference_frame")]
        own = {name: pairs[name][at] for name in START if name in pairs}
        found.append(
            own
            | {
                "angle_deg": math.degrees(2 * math.asin(pairs["mean_baseline_m"][at] / (2 * 4.0))),
                "min_silhouette_iou": min(end[0] for end in ends),
                "max_reprojection_error": max(end[1] for end in ends),
                "kept": bool(pairs["kept"][at]),
            }
        )
    return found


@pytest.mark.parametrize(("slider", "column", "side", "key", "times"), MOVES)
def test_a_slider_gives_exactly_what_a_plain_loop_counts(
    browser: Browser, root: Path, slider: str, column: str, side: str, key: str, times: int
) -> None:
    before = moved(browser, slider, key, 0)[1]
    limit, shown = moved(browser, slider, key, times)
    limits = START | {column: (side, limit)}
    passing = [
        facts
        for facts in facts_by_hand()
        if all(
            facts[name] >= bound if way == ">=" else facts[name] <= bound
            for name, (way, bound) in limits.items()
        )
    ]
    assert shown == {"pass": len(passing), "stay": sum(facts["kept"] for facts in passing)}
    assert shown["stay"] < before["stay"]
    text = browser.evaluate("document.getElementById('where-pairs').textContent")
    expression = re.search("'(.*)'", text)[1]  # type: ignore[index]
    assert main(["audit", str(root), "--where", expression, "--save-selection", "seen"]) == 0
    seen = read_tables(Dataset.open(root), Selection.load(root, "seen"))
    assert int(seen.kept.sum()) == shown["stay"]


@pytest.mark.parametrize(("slider", "column", "side", "key", "times"), MOVES)
def test_a_slider_gives_exactly_what_duckdb_counts(
    browser: Browser, root: Path, slider: str, column: str, side: str, key: str, times: int
) -> None:
    duckdb = pytest.importorskip("duckdb", reason="pip install duckdb")
    limit, shown = moved(browser, slider, key, times)
    conditions = " and ".join(
        f"{name} {way} {bound!r}" for name, (way, bound) in (START | {column: (side, limit)}).items()
    )
    counted = duckdb.sql(
        f"""with facts as (
            select p.*, degrees(2 * asin(p.mean_baseline_m / (2 * p.target_depth_m))) as angle_deg,
                least(t.silhouette_iou, r.silhouette_iou) as min_silhouette_iou,
                greatest(t.reprojection_error, r.reprojection_error) as max_reprojection_error
            from '{root}/pairs/*.parquet' p
            join '{root}/frames/*.parquet' t on t.track_id = p.track_id and t.frame_index = p.target_frame
            join '{root}/frames/*.parquet' r on r.track_id = p.track_id and r.frame_index = p.reference_frame)
        select count(*), count(*) filter (kept) from facts where {conditions}"""
    ).fetchall()[0]
    assert (shown["pass"], shown["stay"]) == counted


def disagreeing(limit_px: float | None) -> dict[str, dict]:
    """Pairs with misalignments of 0 to 1.5 px, every fifth unknown, kept as a run with that limit keeps them."""
    tables = made_up(CLIPS)
    pairs = tables["pairs"]
    count = len(pairs["kept"])
    size = np.random.default_rng(1).uniform(0, 1.5, count)
    size[1] = 1.0
    pairs["misalignment_px"] = [None if at % 5 == 0 else float(value) for at, value in enumerate(size)]
    pairs["kept"] = kept_by_the_pipeline(pairs, PairSettings(max_misalignment_px=limit_px))
    return tables


def kept_by_the_pipeline(pairs: dict, settings: PairSettings) -> np.ndarray:
    """(pairs,) bool: what `verdict_of_maps` decides by, asked pair by pair."""
    asked = ("mean_baseline_m", "rotation_deg", "baseline_over_depth", "valid_fraction")
    rest = {"median_baseline_m", "p10_baseline_m", "p90_baseline_m", "parallax_px", "visible_fraction"}
    kept = []
    for at, size in enumerate(pairs["misalignment_px"]):
        statistics = PairStatistics(**{name: pairs[name][at] for name in asked}, **dict.fromkeys(rest, 0.0))
        reason = drop_reason(statistics, settings)
        kept.append(not reason and not exceeds(size, settings.max_misalignment_px))
    return np.array(kept)


@pytest.mark.parametrize("made_with", [1.0, 0.8, None, "unknown"])
def test_pairs_without_a_misalignment_count_as_in_the_pipeline(
    browser: Browser, tmp_path: Path, made_with: float | str | None
) -> None:
    limit = None if made_with == "unknown" else made_with
    tables = disagreeing(limit)
    root = write_tables(tmp_path / "dataset", tables)
    stated = {} if made_with == "unknown" else {"max_misalignment_px": made_with}
    publish_text(json.dumps({"pairs": stated}), str(root), SETTINGS_PATH)
    assert main(["audit", str(root), "--out", str(tmp_path / "a.html")]) == 0
    browser.events.clear()
    browser.open((tmp_path / "a.html").as_uri())
    place = next(at for at, slider in enumerate(SLIDERS) if slider.column == "misalignment_px")
    most = float(browser.evaluate(f"AuditPage.sliders[{place}].off"))
    for asked in ("as made", 0.3, 0.8, 1.0, most):
        if asked != "as made":
            box = f"document.getElementById('slider-{place}-exact')"
            browser.evaluate(
                f"{box}.value = {asked}; {box}.dispatchEvent(new Event('input')); AuditPage.update()"
            )
            limit = None if asked == most else float(asked)
        expected = kept_by_the_pipeline(tables["pairs"], PairSettings(max_misalignment_px=limit))
        stay = expected & tables["pairs"]["kept"]
        assert shown_counts(browser) == {"pass": expected.sum(), "stay": stay.sum()}
        new_run = browser.evaluate("document.getElementById('settings').textContent")
        stated_limit = re.search("max_misalignment_px=([^ ]+)", new_run)[1]  # type: ignore[index]
        assert json.loads(stated_limit) == limit
        text = browser.evaluate("document.getElementById('where-pairs').textContent")
        selection = Selection(name="seen", pairs=re.search("'(.*)'", text)[1])  # type: ignore[index]
        assert int(read_tables(Dataset.open(root), selection).kept.sum()) == stay.sum()


def test_it_can_be_used_on_a_phone_and_without_eyes(browser: Browser) -> None:
    browser.send(
        "Emulation.setDeviceMetricsOverride", width=360, height=700, deviceScaleFactor=2, mobile=True
    )
    try:
        assert browser.evaluate("document.documentElement.scrollWidth") <= 360
        unnamed = """[
            ...document.querySelectorAll("input, select")].filter(item => !item.labels.length && !item.ariaLabel
        ).concat(
            [...document.querySelectorAll("svg, [role=region]")].filter(item => !item.getAttribute("aria-label")),
            [...document.querySelectorAll("img")].filter(item => !item.alt),
            [...document.querySelectorAll("button")].filter(item => !item.textContent.trim())
        ).map(item => item.outerHTML)"""
        assert browser.evaluate(unnamed) == []
        assert browser.evaluate("document.querySelectorAll('#histograms svg[role=img]').length") == len(
            QUANTITIES
        )
        assert (
            browser.evaluate("document.querySelectorAll('#histograms svg path, #histograms svg rect').length")
            > 50
        )
        browser.evaluate("document.querySelector('.sortable .sort').click()")
        assert (
            browser.evaluate("document.querySelector('th[aria-sort]').getAttribute('aria-sort')")
            == "descending"
        )
        assert "kept pairs stay" in browser.evaluate("document.getElementById('spoken').textContent")
    finally:
        browser.send("Emulation.clearDeviceMetricsOverride")


@pytest.mark.parametrize("left", ["clips and failures", "one pair", "no kept pair"])
def test_next_to_nothing_still_makes_a_sound_page(browser: Browser, tmp_path: Path, left: str) -> None:
    tables = made_up(["a", "b"], 4)
    if left == "clips and failures":
        clips = tables["clips"] | {"outcome": ["nobody-found"] * 2}
        failures = {"source_id": ["source-a"], "clip_id": ["a"], "reason": ["nobody-found"]}
        tables = {"clips": clips, "failures": failures}
    elif left == "one pair":
        tables = {name: {key: cells[:1] for key, cells in rows.items()} for name, rows in tables.items()}
    else:
        tables["pairs"]["kept"][:] = False
    root = write_tables(tmp_path / "dataset", tables)
    assert (
        main(["audit", str(root), "--out", str(tmp_path / "a.html"), "--json", str(tmp_path / "a.json")]) == 0
    )
    browser.events.clear()
    browser.open((tmp_path / "a.html").as_uri())
    pairs = len(next(iter(tables.get("pairs", {"": []}).values())))
    assert browser.evaluate("AuditPage.sliders.length") == len(SLIDERS)
    assert int(browser.evaluate("document.getElementById('count-pass').dataset.value")) <= pairs
    assert "NaN" not in browser.evaluate("document.querySelector('main').innerText")
    bad = {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"}
    assert [item for item in browser.events if item["method"] in bad] == []
