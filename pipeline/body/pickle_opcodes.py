"""What each instruction of the pickle format does to the machine: binary ones, and the text ones of protocol 0."""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable
from typing import Any

from pipeline.body.inert_values import Refused
from pipeline.body.pickle_machine import Machine
from pipeline.body.pickle_source import PickleSource

MAX_DIGITS = 1_000
"""A whole number with more is no number of a pose; turning digits into numbers takes their square in time."""
Step = Callable[[Machine], object]


def _number(layout: str) -> Callable[[PickleSource], int]:
    form = struct.Struct(layout)
    size = form.size

    def read(source: PickleSource) -> int:
        (value,) = form.unpack(source.take(size))
        return int(value)

    return read


_ONE, _TWO, _FOUR, _EIGHT, _SIGNED = (_number(f"<{code}") for code in "BHIQi")
_BIG_FLOAT = struct.Struct(">d")


def _push(read: Callable[[PickleSource], Any]) -> Step:
    return lambda machine: machine.stack.append(read(machine.source))


def _constant(value: Any) -> Step:
    return lambda machine: machine.stack.append(value)


def _fresh(kind: Callable[[], Any]) -> Step:
    return lambda machine: machine.stack.append(kind())


def _octets(length: Callable[[PickleSource], int]) -> Step:
    return lambda machine: machine.stack.append(machine.octets(length(machine.source)))


def _text(length: Callable[[PickleSource], int]) -> Step:
    return lambda machine: machine.stack.append(
        str(machine.source.take(length(machine.source)), "utf-8", "surrogatepass")
    )


def _latin(length: Callable[[PickleSource], int]) -> Step:
    """Python 2's strings: text or bytes, one character a byte."""
    return lambda machine: machine.stack.append(str(machine.source.take(length(machine.source)), "latin-1"))


def _long(length: Callable[[PickleSource], int]) -> Step:
    return lambda machine: machine.stack.append(
        int.from_bytes(machine.source.take(length(machine.source)), "little", signed=True)
    )


def _tuple(count: int) -> Step:
    return lambda machine: machine.stack.append(machine.popped(count))


def _put(index: Callable[[PickleSource], int]) -> Step:
    return lambda machine: machine.put(index(machine.source))


def _get(index: Callable[[PickleSource], int]) -> Step:
    return lambda machine: machine.get(index(machine.source))


def _decimal(source: PickleSource) -> int:
    digits = source.line().removesuffix(b"L")
    if len(digits) > MAX_DIGITS:
        raise Refused(f"a number of {len(digits)} digits")
    return int(digits)


def _decimal_or_truth(source: PickleSource) -> int | bool:
    at, line = source.at, source.line()
    if line in (b"00", b"01"):
        return line == b"01"
    if len(line) > MAX_DIGITS:
        raise Refused(f"a number of {len(line)} digits from byte {at}")
    return int(line)


def _quoted(source: PickleSource) -> str:
    """A string of protocol 0: quoted and escaped, its bytes being latin-1."""
    line = source.line().strip()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise Refused("a string without its quotes")
    found, _ = codecs.escape_decode(line[1:-1])
    return str(found, "latin-1")


def _set_items(machine: Machine) -> None:
    items = machine.marked()
    machine.set_items(items)


def _dictionary(machine: Machine) -> None:
    items = machine.marked()
    machine.stack.append({})
    machine.set_items(items)


def _mark_or_pop(machine: Machine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.marked()


def _global(machine: Machine) -> None:
    module, attribute = machine.source.line().decode("utf-8"), machine.source.line().decode("utf-8")
    machine.name(module, attribute)


def _persistent(machine: Machine) -> None:
    if machine.persistent is None:
        raise Refused("a persistent id, which only files of torch.save have")
    machine.stack.append(machine.persistent(*machine.popped(1)))


_STEPS: dict[bytes, Step] = {
    b"\x80": lambda m: m.source.take(1), b"\x95": lambda m: m.source.take(8),  # PROTO, FRAME
    b"(": Machine.mark, b"0": _mark_or_pop, b"1": lambda m: m.marked(), b"2": lambda m: m.stack.append(m.stack[-1]),
    b"N": _constant(None), b"\x88": _constant(True), b"\x89": _constant(False),
    b"]": _fresh(list), b"}": _fresh(dict), b"\x8f": _fresh(list), b")": _constant(()),
    b"K": _push(_ONE), b"M": _push(_TWO), b"J": _push(_SIGNED), b"G": _push(lambda s: _BIG_FLOAT.unpack(s.take(8))[0]),
    b"I": _push(_decimal_or_truth), b"L": _push(_decimal), b"F": _push(lambda s: float(s.line())),
    b"\x8a": _long(_ONE), b"\x8b": _long(_SIGNED),
    b"S": _push(_quoted), b"U": _latin(_ONE), b"T": _latin(_SIGNED),
    b"V": _push(lambda s: s.line().decode("raw-unicode-escape")),
    b"\x8c": _text(_ONE), b"X": _text(_FOUR), b"\x8d": _text(_EIGHT),
    b"C": _octets(_ONE), b"B": _octets(_FOUR), b"\x8e": _octets(_EIGHT), b"\x96": _octets(_EIGHT),
    b"\x85": _tuple(1), b"\x86": _tuple(2), b"\x87": _tuple(3),
    b"t": lambda m: m.push(tuple(m.marked())), b"l": lambda m: m.push(m.marked()),
    b"\x91": lambda m: m.push(m.marked()), b"d": _dictionary,
    b"a": lambda m: m.append(list(m.popped(1))), b"e": lambda m: m.append(m.marked()),
    b"\x90": lambda m: m.append(m.marked()),
    b"s": lambda m: m.set_items(list(m.popped(2))), b"u": _set_items,
    b"q": _put(_ONE), b"r": _put(_FOUR), b"p": _put(_decimal),
    b"h": _get(_ONE), b"j": _get(_FOUR), b"g": _get(_decimal),
    b"c": _global, b"\x93": lambda m: m.name(*m.popped(2)),
    b"R": Machine.reduce, b"b": Machine.build, b"\x81": lambda m: m.make(False), b"\x92": lambda m: m.make(True),
    b"Q": _persistent,
}  # fmt: skip
OPCODES: dict[int, Step] = {code[0]: step for code, step in _STEPS.items()}
