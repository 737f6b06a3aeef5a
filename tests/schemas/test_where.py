"""Filters as text: what they keep, and that nothing but a comparison gets through."""

from __future__ import annotations

import pyarrow as pa
import pytest

from schemas.errors import SettingsError
from schemas.tables import PAIRS
from schemas.where import stored_part, where_expression

ROWS = pa.table(
    {
        "clip_id": ["a", "a", "b", "c"],
        "mean_baseline_m": [0.2, 0.5, 0.9, 1.4],
        "rotation_deg": [5.0, 10.0, 20.0, 50.0],
        "kept": [False, True, True, False],
        "misalignment_px": [None, 0.5, 1.5, float("nan")],
    }
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mean_baseline_m >= 0.5", [1, 2, 3]),
        ("0.5 <= mean_baseline_m < 1", [1, 2]),
        ("mean_baseline_m > 0.3 and rotation_deg < 15", [1]),
        ("mean_baseline_m < 0.3 or rotation_deg > 40", [0, 3]),
        ("not clip_id == 'a'", [2, 3]),
        ("clip_id in ['a', 'c'] and not kept", [0, 3]),
        ("clip_id not in ['a']", [2, 3]),
        ("kept", [1, 2]),
        ("rotation_deg != -5", [0, 1, 2, 3]),
        ("misalignment_px <= 1", [1]),
        ("misalignment_px is None", [0, 3]),
        ("misalignment_px is not None and not kept", []),
        ("misalignment_px is None or misalignment_px <= 1", [0, 1, 3]),
        ("clip_id is not None", [0, 1, 2, 3]),
    ],
)
def test_keeps_what_it_says(text: str, expected: list[int]) -> None:
    condition, used = where_expression(text, PAIRS)
    kept = ROWS.append_column("row", pa.array(range(4))).filter(condition)
    assert kept["row"].to_pylist() == expected
    assert set(used) <= set(ROWS.column_names)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mean_baseline_m >=",
        "no_such_column > 1",
        "1 > 0",
        "__import__('os').system('true')",
        "mean_baseline_m > __import__('os').getpid()",
        "(lambda: 1)() > mean_baseline_m",
        "mean_baseline_m + 1 > 2",
        "kept is True",
        "kept is not 1",
        "1 is None",
        "no_such_column is None",
        "references > 1",
        "K == 1",
        "mean_baseline_m in clip_id",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="filter"):
        where_expression(text, PAIRS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mean_baseline_m >= 0.5 and rotation_deg < 15", [1, 2, 3]),
        ("mean_baseline_m >= 0.5 and (kept or rotation_deg < 15) and kept", [1, 2]),
        ("rotation_deg < 15", None),
        ("mean_baseline_m >= 0.5 or rotation_deg < 15", None),
        ("not (mean_baseline_m < 0.5 and rotation_deg < 15)", None),
    ],
)
def test_the_stored_part_never_drops_what_the_whole_keeps(text: str, expected: list[int] | None) -> None:
    part = stored_part(text, PAIRS, {"mean_baseline_m", "kept"})
    rows = ROWS.append_column("row", pa.array(range(4)))
    whole = rows.filter(where_expression(text, PAIRS)[0])["row"].to_pylist()
    if expected is None:
        assert part is None
    else:
        assert rows.filter(part)["row"].to_pylist() == expected
        assert set(whole) <= set(expected)
