"""Where in a pickle's contents an item stands while it is made: the keys of dictionaries lie on the stack below it."""

from __future__ import annotations

from typing import Any

from pipeline.body.inert_values import ArrayShell, Name


def key_of_last(stack: list[Any], below: list[list[Any]]) -> Any:
    """The key in whose value a pickle's last item stands, itself or in a list; None where there is none.

    `stack` is what stands above the last mark, `below` the stacks under each open one.
    """
    if len(stack) == 1 or (below and below[-1] and isinstance(below[-1][-1], list)):
        under = below[-1] if below else []
        is_listed = len(under) > 1 and isinstance(under[-1], list)
        return under[-2] if is_listed and isinstance(under[-2], str) else None
    if isinstance(stack[-2], list) and len(stack) > 2:
        return stack[-3] if isinstance(stack[-3], str) else None
    return stack[-2] if isinstance(stack[-2], str) else None


def is_array(last: list[Any]) -> bool:
    """Whether what stands under the last mark is an array that numpy makes, whose state is being read."""
    item = last[0] if last else None
    return isinstance(item, ArrayShell) or (isinstance(item, Name) and item.attribute == "_frombuffer")
