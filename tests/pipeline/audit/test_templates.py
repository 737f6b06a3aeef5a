"""The pages' templates: text stays text wherever it stands, what is forgotten is an error, cells say what is known."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from pipeline.audit.figures import figures_of
from pipeline.audit.report import page
from pipeline.audit.scalars import read_tables
from pipeline.audit.showcase import Card
from pipeline.audit.sweep import sweep_data
from pipeline.audit.templates import Cell, cell, rendered
from schemas.dataset import Dataset
from tests.pipeline.audit.planted import made_up, write_tables

HOSTILE = """</script><!--<script>"'&lt;<b onmouseover=alert(1)>"""


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Every text that a dataset can bring is markup: ids, reasons, captions."""
    tables = made_up(["a", HOSTILE])
    tables["pairs"]["reason"] = [HOSTILE if reason else "" for reason in tables["pairs"]["reason"]]
    tables["failures"] = {"source_id": ["source-a"], "clip_id": ["a"], "reason": [HOSTILE]}
    read = read_tables(Dataset.open(write_tables(tmp_path_factory.mktemp("page") / "dataset", tables)))
    card = Card(
        row=3, kind="borderline", track_id=HOSTILE, target_frame=1, reference_frame=2, reason=HOSTILE,
        numbers={"mean_baseline_m": 0.5, "angle_deg": float("nan")}, panels=[(HOSTILE, "data:,")], has_maps=False,
    )  # fmt: skip
    return page(figures_of(read), sweep_data(read, limit=100), [card], [])


def test_no_text_of_a_dataset_becomes_markup(hostile_page: str) -> None:
    assert hostile_page.count("onmouseover=alert(1)") > 10  # it is there to be read
    assert "<b onmouseover" not in hostile_page
    assert hostile_page.count("<script") == hostile_page.count("</script>") == 4  # data, two libraries, ours


def test_json_in_a_script_element_holds_no_markup(hostile_page: str) -> None:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', hostile_page)
    assert found is not None
    assert not set("<>&'") & set(found[1])
    data = json.loads(found[1])
    assert {group["name"] for group in data["by_source"]} == {"source-a", f"source-{HOSTILE}"}


def test_a_card_tells_the_numbers_that_are_known(hostile_page: str) -> None:
    assert '<p class="numbers">mean baseline 0.5 m</p>' in hostile_page
    assert 'data-mean-baseline-m="0.5" data-angle-deg="nan"' in hostile_page
    assert '<a href="#pair-3">see one</a>' in hostile_page


def test_a_name_that_a_template_asks_for_and_nobody_gives_is_an_error(tmp_path: Path) -> None:
    given = {"name": HOSTILE, "style": "", "validity_colours": {HOSTILE: (1, 2, 3)}, "tracks": {HOSTILE: []}}
    assert "<b onmouseover" not in rendered("gallery.html", **given)
    del given["tracks"]
    with pytest.raises(UndefinedError, match="tracks"):
        rendered("gallery.html", **given)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, Cell(True, "", "-")),
        (float("nan"), Cell(True, "", "-")),
        (12345, Cell(True, "12345", "12,345")),
        (0.123456, Cell(True, "0.123456", "0.1235")),
        ("a", Cell(False, "a", "a")),
    ],
)
def test_cells(value: object, expected: Cell) -> None:
    assert cell(value) == expected
