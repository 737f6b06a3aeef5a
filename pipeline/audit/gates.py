"""A selection as the thresholds of a new run: `run --selection` makes a dataset of what it would have kept.

Only a selection that is nothing but such thresholds can be written as settings of a run:
`mean_baseline_m >= 0.8 and rotation_deg <= 25`. Pairs without a figure pass a run's gate on misalignment, so there the
threshold reads `(misalignment_px is None or misalignment_px <= 0.8)`.
A run then chooses anew among everything that passes, so it also brings back pairs that an older dataset dropped.
"""

from __future__ import annotations

import ast

from pipeline.audit.sweep import SLIDERS
from schemas.errors import SettingsError
from schemas.selections import Selection
from schemas.where import conditions

_SETTINGS = {
    (slider.column, slider.side, slider.keeps_unknown): slider.setting for slider in SLIDERS if slider.setting
}
_SIDES = {ast.GtE: ">=", ast.LtE: "<="}
_TURNED = {">=": "<=", "<=": ">="}


def overrides_from_name(named: str | None) -> list[str]:
    """The settings that the selection `DATASET:NAME` stands for, none where none is named."""
    if named is None:
        return []
    root, colon, name = named.rpartition(":")
    if not colon:
        raise SettingsError(f"--selection {named!r} names no dataset.", remedy="Write DATASET:NAME.")
    return overrides_from_selection(Selection.load(root, name))


def overrides_from_selection(selection: Selection) -> list[str]:
    """`section.field=value` for every threshold of a selection.

    Raises SettingsError where a condition is no threshold of a run: another column, `or`, `not`, `<`, a text, or
    anything about samples (their numbers are means over references that a run has yet to choose).
    """
    if selection.samples:
        raise _unsayable(selection, selection.samples, "a run chooses samples after pairs")
    assert selection.pairs is not None
    found: dict[str, float] = {}
    for condition in conditions(selection.pairs):
        setting, value = _threshold(selection, condition)
        if setting in found:
            raise _unsayable(selection, ast.unparse(condition), "the same number is limited twice")
        found[setting] = value
    return [f"{setting}={value!r}" for setting, value in found.items()]


def _threshold(selection: Selection, condition: ast.expr) -> tuple[str, float]:
    text = ast.unparse(condition)
    unknown, condition = _without_unknown(condition)
    if not isinstance(condition, ast.Compare) or len(condition.ops) != 1:
        raise _unsayable(selection, text, "it is not one comparison")
    left, right = condition.left, condition.comparators[0]
    side = _SIDES.get(type(condition.ops[0]), "")
    if not isinstance(left, ast.Name):
        left, right, side = right, left, _TURNED.get(side, "")
    column = left.id if isinstance(left, ast.Name) else ""
    setting = _SETTINGS.get((column, side, unknown == column))
    if setting is None and not unknown and (column, side, True) in _SETTINGS:
        why = f"a run keeps pairs without a figure: write ({column} is None or {text})"
        raise _unsayable(selection, text, why)
    value = ast.literal_eval(right) if not isinstance(right, ast.Name) else None
    if setting is None or not isinstance(value, int | float) or isinstance(value, bool):
        known = ", ".join(f"{name} {way}" for name, way, _ in _SETTINGS)
        raise _unsayable(selection, text, f"a run has settings only for {known}")
    return setting, float(value)


def _without_unknown(condition: ast.expr) -> tuple[str, ast.expr]:
    """`(NAME is None or REST)` as NAME and REST; anything else as it is, without a name."""
    if isinstance(condition, ast.BoolOp) and isinstance(condition.op, ast.Or) and len(condition.values) == 2:
        first, rest = condition.values
        if isinstance(first, ast.Compare) and isinstance(first.ops[0], ast.Is) and len(first.ops) == 1:
            return ast.unparse(first.left), rest
    return "", condition


def _unsayable(selection: Selection, text: str, why: str) -> SettingsError:
    return SettingsError(
        f"selection {selection.name!r} cannot set the limits of a run: {text!r}: {why}.",
        remedy="Run without --selection, and give the selection to `audit`, `verify` and `trainer fit` afterwards.",
    )
