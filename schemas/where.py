"""Filters over the scalar columns of a table, as text: `mean_baseline_m >= 0.6 and not clip_id in ["a", "b"]`.

The text is parsed, never evaluated: comparisons of columns with constants, joined by `and`, `or`, `not`. An unknown
value (null, NaN) passes no comparison; `misalignment_px is None` asks for it.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.documents import abbreviated
from schemas.errors import SettingsError
from schemas.table import TableSpec

_MAX_DEPTH = 100
_MAX_CONDITIONS = 2000
"""Arrow follows an expression recursively: 20,000 joined comparisons end the process (2,000 do not)."""
_COMPARISONS = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


def where_expression(text: str, table: TableSpec) -> tuple[pc.Expression, list[str]]:
    """The filter as an Arrow expression, and the columns it reads.

    Raises SettingsError for anything but comparisons of the table's scalar columns with numbers, strings and flags.
    """
    used: list[str] = []
    return _filter(_parsed(text), text, _scalars(table), used), list(dict.fromkeys(used))


def stored_part(text: str, table: TableSpec, stored: set[str]) -> pc.Expression | None:
    """The part of a filter that a file can answer: those of its `and`ed conditions that read only `stored` columns.

    A row for which the whole filter holds passes this part too; None where there is no such part.
    """
    joined = None
    for part in conditions(text):
        used: list[str] = []
        condition = _filter(part, text, _scalars(table), used)
        if set(used) <= stored:
            joined = condition if joined is None else joined & condition
    return joined


def conditions(text: str) -> list[ast.expr]:
    """What a filter joins by `and` at its top: the filter holds where all of these do."""
    tree = _parsed(text)
    return tree.values if isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.And) else [tree]


def holds(table: pa.Table, text: str, spec: TableSpec) -> NDArray[np.bool_]:
    """(rows,) bool: where an expression holds; unknown values (null, NaN) pass `is None` and no comparison."""
    condition, used = where_expression(text, spec)
    rows = _plain(table.select(used)).append_column("__row", pa.array(np.arange(table.num_rows)))
    with applying(text):
        passing = rows.filter(condition)["__row"].to_numpy()
    mask = np.zeros(table.num_rows, bool)
    mask[passing] = True
    return mask


@contextmanager
def applying(text: str) -> Iterator[None]:
    """Errors of Arrow about a filter name it."""
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise SettingsError(
            f"filter {text!r} cannot be applied: {error}.",
            remedy="Compare numbers with numbers and texts with texts.",
        ) from None


def _plain(table: pa.Table) -> pa.Table:
    """Dictionary columns as texts, so that expressions compare them with texts."""
    for at, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(at, field.name, pc.cast(table[field.name], field.type.value_type))
    return table


def _parsed(text: str) -> ast.expr:
    try:
        parsed = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise _unreadable(text, f"it cannot be parsed ({error})") from None
    except (RecursionError, MemoryError):  # MemoryError: too many parentheses for Python's parser
        raise _unreadable(text, "it is nested too deeply") from None
    if _depth(parsed) > _MAX_DEPTH:
        raise _unreadable(text, "it is nested too deeply")
    compared = sum(isinstance(node, ast.Name | ast.cmpop) for node in ast.walk(parsed))
    if compared > _MAX_CONDITIONS:
        raise _unreadable(text, f"it has more than {_MAX_CONDITIONS} columns and comparisons")
    return parsed


def _depth(tree: ast.AST) -> int:
    """How deeply an expression is nested, counted without recursion."""
    level, depth = [tree], 0
    while level and depth <= _MAX_DEPTH:
        level, depth = [child for node in level for child in ast.iter_child_nodes(node)], depth + 1
    return depth


def _scalars(table: TableSpec) -> set[str]:
    return {column.name for column in table.columns if column.codec == "plain" and not column.shape}


def _filter(node: ast.expr, text: str, columns: set[str], used: list[str]) -> pc.Expression:
    if isinstance(node, ast.BoolOp):
        parts = [_filter(value, text, columns, used) for value in node.values]
        joined = parts[0]
        for part in parts[1:]:
            joined = joined & part if isinstance(node.op, ast.And) else joined | part
        return joined
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return ~_filter(node.operand, text, columns, used)
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        joined = _comparison(sides[0], node.ops[0], sides[1], text, columns, used)
        for at in range(1, len(node.ops)):
            joined = joined & _comparison(sides[at], node.ops[at], sides[at + 1], text, columns, used)
        return joined
    if isinstance(node, ast.Name):  # a flag
        return pc.field(_column(node, text, columns, used)) == True  # noqa: E712 - builds an expression
    raise _unreadable(text, f"{ast.unparse(node)!r} is not a comparison")


def _comparison(
    left: ast.expr, kind: ast.cmpop, right: ast.expr, text: str, columns: set[str], used: list[str]
) -> pc.Expression:
    if isinstance(kind, ast.In | ast.NotIn):
        column, values = pc.field(_column(left, text, columns, used)), _constant(right, text)
        with _constants_of_arrow(text):
            inside = column.isin(values)
        return ~inside if isinstance(kind, ast.NotIn) else inside
    if isinstance(kind, ast.Is | ast.IsNot):
        column = pc.field(_column(left, text, columns, used))
        if not (isinstance(right, ast.Constant) and right.value is None):
            raise _unreadable(text, f"{ast.unparse(right)!r} follows `is`: only None may")
        unknown = column.is_null(nan_is_null=True)
        return ~unknown if isinstance(kind, ast.IsNot) else unknown
    if type(kind) not in _COMPARISONS:
        raise _unreadable(text, "comparisons are < <= > >= == != in, not in, is None, is not None")
    values = [
        pc.field(_column(side, text, columns, used)) if isinstance(side, ast.Name) else _constant(side, text)
        for side in (left, right)
    ]
    if not any(isinstance(value, pc.Expression) for value in values):
        raise _unreadable(text, "a comparison has no column")
    with _constants_of_arrow(text):
        return _COMPARISONS[type(kind)](*values)


@contextmanager
def _constants_of_arrow(text: str) -> Iterator[None]:
    """Constants that Arrow has no type for: a dictionary, a number of more than 64 bits."""
    try:
        yield
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        raise _unreadable(text, f"a constant cannot be compared with any column ({error})") from None


def _column(node: ast.expr, text: str, columns: set[str], used: list[str]) -> str:
    if not isinstance(node, ast.Name) or node.id not in columns:
        name = ast.unparse(node)
        raise _unreadable(text, f"{name!r} is not a scalar column; they are {', '.join(sorted(columns))}")
    used.append(node.id)
    return node.id


def _constant(node: ast.expr, text: str) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise _unreadable(text, f"{ast.unparse(node)!r} is not a constant") from None


def _unreadable(text: str, why: str) -> SettingsError:
    return SettingsError(
        f"filter {abbreviated(text)}: {why}.",
        remedy="Write for example: mean_baseline_m >= 0.6 and valid_fraction >= 0.2",
    )
