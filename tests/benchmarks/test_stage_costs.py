"""The clock of parts: whose time is whose, and that every part it names is there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.benchmarks import stage_costs
from tests.benchmarks.stage_costs import PARTS, StageClock, owner_of, watched


@pytest.mark.parametrize("place", [place for _, place in PARTS])
def test_every_part_is_there(place: str) -> None:
    owner, name = owner_of(place)
    assert callable(getattr(owner, name))


class Time:
    """A clock that is told how late it is."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def passes(self, seconds: float) -> None:
        self.now_s += seconds


def test_a_parts_time_is_its_own() -> None:
    now = Time()
    clock = StageClock(now)
    inner = clock.timed("inner", lambda: now.passes(2))

    def outer() -> None:
        now.passes(1)
        inner()
        now.passes(4)

    now.passes(8)
    clock.timed("outer", outer)()
    now.passes(16)
    clock.lap()
    assert clock.seconds == {"everything else": 24, "inner": 2, "outer": 5}
    assert clock.calls == {"inner": 1, "outer": 1}


def test_what_is_yielded_is_made_under_its_label() -> None:
    now = Time()
    clock = StageClock(now)

    def numbers() -> Iterator[int]:
        for number in range(3):
            now.passes(1)
            yield number

    for _ in clock.timed("numbers", numbers)():
        now.passes(10)
    clock.lap()
    assert clock.seconds == {"everything else": 30, "numbers": 3}


def test_parts_are_as_they_were_afterwards() -> None:
    parts = (("owner", "tests.benchmarks.stage_costs:owner_of"),)

    def failing() -> None:
        with watched(StageClock(), parts):
            assert stage_costs.owner_of is not owner_of
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert stage_costs.owner_of is owner_of
