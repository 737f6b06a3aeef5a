"""The pickle format's stack machine over names and data: it imports nothing and calls nothing the file names."""

from __future__ import annotations

import codecs
import io
import pickletools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.body.inert_values import (
    ArrayShell,
    Inert,
    Name,
    Refused,
    TypeShell,
    array_from_bytes,
    called,
    filled,
    is_inert_class,
    without_shells,
)

MAX_INSTRUCTIONS = 2_000_000
"""SMPL's files hold some thousand; each makes an object of at most about a hundred bytes."""


class _Mark:
    """Where a list, tuple or dictionary begins on the stack."""


_MARK = _Mark()


@dataclass(slots=True, eq=False)
class Machine:
    """The pickle format's stack machine over names and data (see `pickletools` for the instructions)."""

    stream: io.BytesIO
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    depth: int = 0

    def run(self) -> Any:
        """Follows the instructions up to STOP."""
        for count, (name, argument) in enumerate(_instructions(self.stream)):
            if count > MAX_INSTRUCTIONS:
                raise Refused(f"more than {MAX_INSTRUCTIONS} instructions")
            if name == "STOP":
                return without_shells(self.stack.pop(), {})
            if name in _LITERALS:
                self.stack.append(_literal(name, argument))
            elif name in _STEPS:
                _STEPS[name](self, argument)
            elif name not in ("PROTO", "FRAME"):
                raise Refused(f"the instruction {name}, which numeric files do not need")
        raise AssertionError("the instructions end with STOP or an error")

    def marked(self) -> list[Any]:
        """What lies above the last mark, which is taken off too."""
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise Refused("a mark is missing")
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def put(self, index: int | None) -> None:
        self.memo[len(self.memo) if index is None else int(index)] = self.stack[-1]

    def get(self, index: int) -> None:
        self.stack.append(self.memo[int(index)])

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise Refused(f"items appended to {type(target).__name__}")
        target += items

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise Refused(f"keys set in {type(target).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[key] = value

    def name(self, module: Any, attribute: Any) -> None:
        self.stack.append(Name(str(module), str(attribute)))

    def reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise Refused("a call of something that is not a name")
        self.stack.append(called(function, arguments))

    def make(self, keywords: bool) -> None:
        if keywords and self.stack.pop() != {}:
            raise Refused("a constructor with keywords")
        arguments, kind = self.stack.pop(), self.stack.pop()
        if not isinstance(kind, Name) or not is_inert_class(kind):
            raise Refused(f"an object of {kind}")
        self.stack.append(Inert(kind, tuple(arguments)))

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, TypeShell):
            target.order = state[1] if state[1] in ("<", ">") else "|"
        elif isinstance(target, ArrayShell):
            target.value = filled(state)
        elif isinstance(target, Inert):
            target.state = state
            if target.name.attribute == "NumpyArrayWrapper":
                self.stack[-1] = self._joblib_array(state)
        else:
            raise Refused(f"state for {type(target).__name__}")

    def _joblib_array(self, state: dict[str, Any]) -> Any:
        """joblib writes an array's bytes into the stream, behind its description."""
        if "shape" not in state or not isinstance(state["dtype"], TypeShell):
            raise Refused("a joblib array without its bytes in this file")
        if state["dtype"].code.startswith("O"):
            if self.depth > 20:
                raise Refused("arrays of objects nested more than 20 deep")
            return Machine(self.stream, depth=self.depth + 1).run()
        if state.get("numpy_array_alignment_bytes") is not None:
            padding = self.stream.read(1)
            self.stream.read(padding[0])
        dtype, shape = state["dtype"].dtype(), tuple(map(int, state["shape"]))
        wanted = int(np.prod(shape, dtype=object)) * dtype.itemsize
        raw = self.stream.read(wanted) if wanted >= 0 else b""
        return array_from_bytes(raw, dtype, shape, is_fortran=state["order"] == "F")


def _instructions(stream: io.BytesIO) -> Iterator[tuple[str, Any]]:
    """Names and arguments up to STOP, as `pickletools.genops` has them, except for STRING: Python 2 wrote any bytes
    there, quoted and escaped (protocol 0), where genops takes ASCII alone.
    """
    while True:
        code = stream.read(1).decode("latin-1")
        if code not in _OPCODES:
            raise Refused(
                "it ends without STOP" if not code else f"the instruction {code!r}, which does not exist"
            )
        opcode = _OPCODES[code]
        if opcode.name == "STRING":
            yield opcode.name, _quoted(stream)
        else:
            yield opcode.name, None if opcode.arg is None else opcode.arg.reader(stream)
        if opcode.name == "STOP":
            return


def _quoted(stream: io.BytesIO) -> str:
    line = stream.readline().strip()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise Refused("a string without its quotes")
    return codecs.escape_decode(line[1:-1])[0].decode("latin-1")


def _literal(name: str, argument: Any) -> Any:
    if name in _EMPTY:
        return _EMPTY[name]()
    if name in _CONSTANTS:
        return _CONSTANTS[name]
    return argument


_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict, "EMPTY_SET": list, "MARK": lambda: _MARK
}  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = {
    *_EMPTY, *_CONSTANTS, "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE",
    "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
}  # fmt: skip
_STEPS: dict[str, Callable[[Machine, Any], object]] = {
    "PUT": lambda m, a: m.put(a), "BINPUT": lambda m, a: m.put(a), "LONG_BINPUT": lambda m, a: m.put(a),
    "MEMOIZE": lambda m, a: m.put(None),
    "GET": lambda m, a: m.get(a), "BINGET": lambda m, a: m.get(a), "LONG_BINGET": lambda m, a: m.get(a),
    "LIST": lambda m, a: m.stack.append(m.marked()),
    "TUPLE": lambda m, a: m.stack.append(tuple(m.marked())),
    "TUPLE1": lambda m, a: m.stack.append(_popped(m, 1)),
    "TUPLE2": lambda m, a: m.stack.append(_popped(m, 2)),
    "TUPLE3": lambda m, a: m.stack.append(_popped(m, 3)),
    "DICT": lambda m, a: _dictionary(m),
    "APPEND": lambda m, a: m.append([m.stack.pop()]), "APPENDS": lambda m, a: m.append(m.marked()),
    "ADDITEMS": lambda m, a: m.append(m.marked()),
    "SETITEM": lambda m, a: m.set_items(list(_popped(m, 2))), "SETITEMS": lambda m, a: m.set_items(m.marked()),
    "POP": lambda m, a: m.stack.pop(), "POP_MARK": lambda m, a: m.marked(),
    "GLOBAL": lambda m, a: m.name(*a.split(" ", 1)),
    "STACK_GLOBAL": lambda m, a: m.name(*_popped(m, 2)),
    "REDUCE": lambda m, a: m.reduce(), "BUILD": lambda m, a: m.build(),
    "NEWOBJ": lambda m, a: m.make(False), "NEWOBJ_EX": lambda m, a: m.make(True),
}  # fmt: skip


def _popped(machine: Machine, count: int) -> tuple[Any, ...]:
    items = tuple(machine.stack[-count:])
    if len(items) < count or any(item is _MARK for item in items):
        raise Refused("the stack is empty")
    del machine.stack[-count:]
    return items


def _dictionary(machine: Machine) -> None:
    items = machine.marked()
    machine.stack.append(dict(zip(items[::2], items[1::2], strict=True)))
