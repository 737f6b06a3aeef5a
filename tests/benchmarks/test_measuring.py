"""The benchmarks themselves: found, timed, merged."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks import __main__ as command
from tests.benchmarks.dense_body import VERTEX_COUNT, dense_pair
from tests.benchmarks.measuring import Benchmark, Outcome, UnavailableError, run
from tests.support.oracles import neighbours_within

EXPECTED = {
    "procrustes_vs_align_vectors", "procrustes_vs_batched_svd", "procrustes_vs_floor", "raster_vs_pyrender_fresh_256",
    "raster_vs_embree_256", "maps_vs_masked_numpy", "pair_vs_library_batched",
}  # fmt: skip


def _sleeping(name: str = "sleep", ours_s: float = 0.001, peer_s: float = 0.004) -> Benchmark:
    return Benchmark(
        name=name,
        detail="two naps",
        prepare=lambda: (lambda: time.sleep(ours_s), lambda: time.sleep(peer_s)),
        max_rounds=7,
    )


def test_every_module_with_benchmarks_takes_part() -> None:
    names = [benchmark.name for benchmark in command.discover()]
    assert set(names) >= EXPECTED
    assert len(names) == len(set(names))


def test_the_ratio_is_peer_over_ours() -> None:
    outcome = run(_sleeping())
    assert outcome.rounds == 7
    assert outcome.ratio == pytest.approx(outcome.peer_ms / outcome.ours_ms)
    assert outcome.ratio > 1.0


def test_entries_of_other_runs_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "build" / "benchmarks.json"
    command.merge(output, "other", Outcome(ours_ms=1.0, peer_ms=2.0, ratio=2.0, rounds=5, detail="kept"))
    monkeypatch.setattr(command, "discover", lambda: [_sleeping(), _sleeping("not asked for")])
    assert command.main(["sleep", "--output", str(output)]) == 0
    entries = json.loads(output.read_text())
    assert set(entries) == {"other", "sleep"}
    assert entries["other"]["detail"] == "kept"
    assert {"ours_ms", "peer_ms", "ratio", "rounds"} <= set(entries["sleep"])


def test_a_peer_that_is_not_there_is_skipped_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def prepare():
        raise UnavailableError("no OpenGL")

    monkeypatch.setattr(command, "discover", lambda: [Benchmark(name="gone", detail="", prepare=prepare)])
    assert command.main(["--output", str(tmp_path / "b.json")]) == 0
    assert "gone" in capsys.readouterr().out
    assert not (tmp_path / "b.json").exists()


def test_unknown_names_are_refused(capsys: pytest.CaptureFixture) -> None:
    assert command.main(["nonsense"]) == 2
    assert "procrustes_vs_floor" in capsys.readouterr().err


def test_the_refined_body_is_closed_and_has_the_same_shape() -> None:
    pair, rings = dense_pair()
    assert len(pair.target) == rings.vertex_count == VERTEX_COUNT
    edges = np.sort(np.stack([pair.faces, np.roll(pair.faces, -1, axis=1)], axis=-1).reshape(-1, 2), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
    assert min(map(len, neighbours_within(pair.faces, VERTEX_COUNT, 1))) >= 3
