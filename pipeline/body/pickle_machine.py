"""The pickle format's stack machine over names and data: it imports nothing and calls nothing the file names."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.body.inert_tensors import tensor_call
from pipeline.body.inert_values import (
    UNNEEDED,
    ArrayShell,
    Inert,
    Name,
    Record,
    Refused,
    TypeShell,
    called,
    checked_key,
    filled,
    object_of,
    size_of,
)
from pipeline.body.joblib_arrays import CLASS, REPEATED, WRAPPER, Description, description_of, forget
from pipeline.body.pickle_places import is_array, key_of_last
from pipeline.body.pickle_source import PickleSource

MAX_OBJECTS = 60_000_000
"""Live objects (an hour of two people in PHALP's files: 8 million); each takes some 60 bytes."""
MAX_DEPTH = 2_000
"""Lists, tuples and dictionaries open at once; Python itself cannot pickle deeper."""
MAX_NESTED_PICKLES = 20
STOP = ord(".")
LARGE_BYTES = 1 << 10
"""Arrays of numpy's own pickles that are passed over unread."""


@dataclass(slots=True, eq=False)
class Machine:
    """The pickle format's stack machine over names and data (see `pickletools` for the instructions).

    `steps` says what each instruction does. `unneeded` are keys of dictionaries whose arrays are passed over;
    `persistent` gives the values of persistent ids, `storage_from_bytes` torch's storages that were pickled alone.
    """

    source: PickleSource
    steps: Mapping[int, Callable[[Machine], object]]
    storage_from_bytes: Callable[..., Any]
    unneeded: frozenset[str] = frozenset()
    persistent: Callable[[Any], Any] | None = None
    nested: int = 0
    stack: list[Any] = field(default_factory=list)
    below: list[list[Any]] = field(default_factory=list)
    """The stacks under each open mark."""
    memo: list[Any] = field(default_factory=list)
    far_memo: dict[int, Any] = field(default_factory=dict)
    """Memo entries that were not numbered one after the other."""
    descriptions: dict[bytes, Description] = field(default_factory=dict)
    """Of joblib's arrays, by their instructions."""
    described: tuple[bytes, int] = (b"", 0)
    """Instructions of the array whose description is being read, and the memo's length before it."""
    at_begin: int = field(default_factory=sys.getallocatedblocks)

    def run(self) -> Any:
        """Follows the instructions up to STOP; the collector of cycles pauses (half of the time, nothing to find)."""
        collecting = gc.isenabled()
        gc.disable()
        try:
            return self._run()
        finally:
            if collecting:
                gc.enable()

    def _run(self) -> Any:
        source, memo = self.source, self.memo
        while True:
            try:
                code = source.data[source.at]
            except IndexError:
                source.refill()
                self._check_size()
                continue
            source.at += 1
            if code == 0x94:  # MEMOIZE: half of all instructions, with the next two
                value = self.stack[-1]
                if value.__class__ is ArrayShell:
                    value.memo_index = len(memo)
                memo.append(value)
            elif code == 0x68 and source.at < len(source.data):  # BINGET
                index = source.data[source.at]
                source.at += 1
                self.stack.append(memo[index] if index < len(memo) else self.far_memo[index])
            elif code == STOP:
                return self.stack.pop()
            else:
                step = self.steps.get(code)
                if step is None:
                    raise Refused(f"the instruction {bytes([code])!r}, which numeric files do not need")
                step(self)

    def _check_size(self) -> None:
        """Raises Refused where more objects live, or more stand on the stack, than any file of numbers needs."""
        if sys.getallocatedblocks() - self.at_begin > MAX_OBJECTS or len(self.stack) > MAX_OBJECTS:
            raise Refused(f"it holds more than {MAX_OBJECTS} objects (MAX_OBJECTS)")

    def mark(self) -> None:
        """Opens a list, tuple or dictionary."""
        if len(self.below) >= MAX_DEPTH:
            raise Refused(f"more than {MAX_DEPTH} containers inside one another (MAX_DEPTH)")
        self.below.append(self.stack)
        self.stack = []

    def marked(self) -> list[Any]:
        """What lies above the last mark, which is taken off too."""
        if not self.below:
            raise Refused("a mark is missing")
        items, self.stack = self.stack, self.below.pop()
        return items

    def push(self, value: Any) -> None:
        """Puts a value on the stack that is the current one once the value is made."""
        self.stack.append(value)

    def popped(self, count: int) -> tuple[Any, ...]:
        """The last `count` items above the last mark."""
        if len(self.stack) < count:
            raise Refused("the stack is empty")
        items = tuple(self.stack[-count:])
        del self.stack[-count:]
        return items

    def put(self, index: int) -> None:
        """Remembers the last item. Python 2 counts from 1."""
        value, memo = self.stack[-1], self.memo
        if value.__class__ is ArrayShell:
            value.memo_index = index
        if index == len(memo) + 1 == 1:
            memo.append(None)
        if index == len(memo):
            memo.append(value)
        elif 0 <= index < len(memo):
            memo[index] = value
            self.descriptions.clear()  # they were understood with the memo as it was
        else:
            self.far_memo[index] = value

    def get(self, index: int) -> None:
        """Puts a remembered item on the stack."""
        self.stack.append(self.memo[index] if 0 <= index < len(self.memo) else self.far_memo[index])

    def append(self, items: list[Any]) -> None:
        """Items of the list (or set) that is last on the stack."""
        target = self.stack[-1]
        if not isinstance(target, list):
            raise Refused(f"items appended to {getattr(target, 'name', type(target).__name__)}")
        target += items

    def set_items(self, items: list[Any]) -> None:
        """Keys and values of the dictionary that is last on the stack."""
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise Refused(f"keys set in {getattr(target, 'name', type(target).__name__)}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[key if key.__class__ is str else checked_key(key)] = value

    def octets(self, count: int) -> Any:
        """The next bytes, or what says that they are those of an array that nobody needs."""
        if self.unneeded and count > LARGE_BYTES and self.below and is_array(self.below[-1][-1:]):
            above, self.stack = self.stack, self.below.pop()
            is_unneeded = self._is_unneeded()
            self.below.append(self.stack)
            self.stack = above
            if is_unneeded:
                self.source.skip(count)
                return UNNEEDED
        return self.source.take(count)

    def _is_unneeded(self) -> bool:
        """Whether the last item stands in the value of a key whose arrays are passed over."""
        return bool(self.unneeded) and key_of_last(self.stack, self.below) in self.unneeded

    def name(self, module: Any, attribute: Any) -> None:
        """A name in place of the class or function."""
        if not isinstance(module, str) or not isinstance(attribute, str):
            raise Refused("a name that is no text")
        self.stack.append(Name(module, attribute))

    def reduce(self) -> None:
        """A call, of the few that are known as data."""
        function, arguments = self.popped(2)
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise Refused("a call of something that is not a name")
        if function.module == "torch.storage" and function.attribute == "_load_from_bytes":
            made: Any = self.storage_from_bytes(*arguments, depth=self.nested)
        elif function.module in ("torch._utils", "torch._tensor", "torch"):
            made = tensor_call(function, arguments)
        elif arguments[:1] == (UNNEEDED,):
            made = UNNEEDED
        else:
            made = called(function, arguments)
        self.source.account(size_of(made))
        self.stack.append(made)

    def make(self, keywords: bool) -> None:
        """An object without its state."""
        if keywords and self.stack.pop() != {}:
            raise Refused("a constructor with keywords")
        kind, arguments = self.popped(2)
        if kind == CLASS:
            self._describe()
        else:
            self.stack.append(object_of(kind, tuple(arguments)))
            self.source.account(size_of(self.stack[-1]))

    def _describe(self) -> None:
        """The array of a description that was understood before, or what stands for it until its state is read."""
        source = self.source
        found = REPEATED.match(source.data, source.at)
        instructions = found.group() if found else b""
        known = self.descriptions.get(instructions)
        self.stack.append(WRAPPER)
        if known is None:
            self.described = instructions, len(self.memo)
            return
        source.at += len(instructions)
        self.memo.extend([None] * known.memoised)
        self.stack[-1] = self._array(known)

    def build(self) -> None:
        """Gives the last object its state."""
        target, state = self.popped(2)
        if isinstance(target, Inert) and target.name == CLASS:
            target = self._array_described(state)
        elif isinstance(target, TypeShell):
            target.order = state[1] if state[1] in ("<", ">") else "|"
        elif isinstance(target, ArrayShell):
            self.stack.append(target)
            array = UNNEEDED if self._is_unneeded() else filled(state)
            self.stack.pop()
            self.source.account(size_of(state[-1]))
            self._replace_in_memo(target, array)
            target = array
        elif isinstance(target, Inert):
            target.state = state
        elif isinstance(target, Record):
            target.set_state(state)
            self.source.account(size_of(target))
        elif isinstance(target, dict) and isinstance(state, dict):
            pass  # attributes of an OrderedDict
        else:
            raise Refused(f"state for {type(target).__name__}")
        self.stack.append(target)

    def _replace_in_memo(self, shell: ArrayShell, array: Any) -> None:
        index = shell.memo_index
        if index is None:
            return
        if index < len(self.memo):
            self.memo[index] = array
        else:
            self.far_memo[index] = array

    def _array_described(self, state: dict[str, Any]) -> Any:
        instructions, memoised = self.described
        known = description_of(state, len(self.memo) - memoised)
        forget(state, self.memo)
        if instructions:
            self.descriptions[instructions] = known
            self.described = b"", 0
        self.stack.append(WRAPPER)
        array = self._array(known)
        self.stack.pop()
        return array

    def _array(self, known: Description) -> Any:
        """The array behind its description, whose stand-in is the last item on the stack."""
        if known.dtype is None:
            if self.nested >= MAX_NESTED_PICKLES:
                raise Refused(f"arrays of objects nested more than {MAX_NESTED_PICKLES} deep")
            inner = Machine(
                self.source,
                self.steps,
                self.storage_from_bytes,
                self.unneeded,
                nested=self.nested + 1,
                at_begin=self.at_begin,
            )
            return inner._run()
        if self._is_unneeded():
            known.skip(self.source)
            return UNNEEDED
        return known.read(self.source)
