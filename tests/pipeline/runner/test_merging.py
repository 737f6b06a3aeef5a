"""Merged datasets: the same content as one made at once, whatever their state; refusals; kill -9."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pipeline.dataset.card import publish_documents
from pipeline.dataset.clip_shards import ClipShard, write_shard_note
from pipeline.dataset.compaction import compact_dataset
from pipeline.dataset.cuts import read_cuts
from pipeline.dataset.folder_lock import RunLock
from pipeline.dataset.forgetting import forget
from pipeline.dataset.unit_sink import UnitSink
from pipeline.dataset.verification import verify
from pipeline.runner.driver import run
from pipeline.runner.joined_summary import joined_summary
from pipeline.runner.merging import merge
from pipeline.runner.summary import summary_facts
from pipeline.video.source import clips_from_arguments
from schemas.dataset import INFO_PATH, SETTINGS_PATH, SPLITS_PATH, SUMMARY_PATH, Dataset, tombstoned_sources
from schemas.errors import DatasetError
from tests.end_to_end.conftest import demo_clip  # noqa: F401
from tests.support.fast_units import fast_resources, fast_settings, write_clips

IDS = ("a", "b", "nobody-1", "nobody-2", "nobody-3")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    clips = clips_from_arguments([str(write_clips(folder / "clips", IDS))])
    run(clips, str(folder / "whole"), fast_settings(), make_resources=fast_resources)
    return folder / "whole"


def part(whole: Path, out: Path, *ids: str) -> Path:
    """A dataset of these clips alone, cut out of the whole one."""
    shutil.copytree(whole, out)
    for record in Dataset.open(out).records:
        if not record.unit_id.startswith(tuple(f"{name}-s" for name in ids)):
            (out / f"meta/records/{record.unit_id}.json").unlink()
            for shard in record.shards:
                (out / shard.path).unlink()
    for path in (out / "meta/cuts").iterdir():
        if path.stem not in ids:
            path.unlink()
    publish_documents(str(out))
    (out / ".spool").rmdir()
    return out


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_merged_is_what_one_run_would_have_made(whole: Path, tmp_path: Path) -> None:
    parts = [
        part(whole, tmp_path / "x", "a", "nobody-1"),
        part(whole, tmp_path / "y", "b"),
        part(whole, tmp_path / "z", "nobody-2", "nobody-3"),
    ]
    before = [contents(each) for each in parts]
    made = merge(list(map(str, parts)), str(tmp_path / "merged"))
    assert [contents(each) for each in parts] == before
    expected, found = contents(whole), contents(tmp_path / "merged")
    assert made.content_hash == Dataset.open(whole).content_hash()
    assert found.keys() - expected.keys() == {"meta/merged.json"}
    assert {name for name in expected if expected[name] != found[name]} <= {SUMMARY_PATH}
    assert made.placed is not None
    assert made.placed.copied == 0
    sample = next((parts[1] / "samples").iterdir())
    assert os.path.samefile(sample, tmp_path / "merged/samples" / sample.name)
    assert merge(list(map(str, parts)), str(tmp_path / "merged")).placed is None  # the same command again
    assert not list(tmp_path.glob(".*"))


def test_copies_where_there_are_no_links(whole: Path, tmp_path: Path) -> None:
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system")
    elsewhere = shared / f"humandepth-merge-{os.getpid()}"
    try:
        sources = [part(whole, elsewhere / "x", "a"), part(whole, tmp_path / "y", *IDS[1:])]
        made = merge(list(map(str, sources)), str(tmp_path / "merged"), move=True)
        assert made.content_hash == Dataset.open(whole).content_hash()
        assert made.placed is not None
        assert 0 < made.placed.copied < made.placed.linked
        assert not any(source.exists() for source in sources)
    finally:
        shutil.rmtree(elsewhere, ignore_errors=True)


def test_packs_with_rows_of_units_that_are_no_more_are_taken_apart(whole: Path, tmp_path: Path) -> None:
    packed = part(whole, tmp_path / "x", "a", "b", "nobody-1")
    compact_dataset(str(packed))
    for path in (packed / "meta/records").glob("b-*.json"):
        path.unlink()  # as a run that makes it anew does first: its rows are still in the packs
    rest = part(whole, tmp_path / "y", "nobody-2", "nobody-3", "b")
    compact_dataset(str(rest))
    before = contents(packed)
    made = merge([str(packed), str(rest)], str(tmp_path / "merged"))
    assert made.content_hash == Dataset.open(whole).content_hash()
    assert verify(str(tmp_path / "merged")).problems == []
    assert contents(packed) == before


def test_what_one_has_forgotten_is_in_none(whole: Path, tmp_path: Path) -> None:
    one = part(whole, tmp_path / "x", "a", "nobody-1")
    forget(str(one), "source-a")
    other = part(whole, tmp_path / "y", "a", "b")
    made = merge([str(one), str(other)], str(tmp_path / "merged"))
    merged = Dataset.open(tmp_path / "merged")
    assert {row["source_id"] for row in merged.rows("clips")} == {"source-b", "source-nobody-1"}
    assert (made.units, made.units_left_out) == (2, 1)
    assert tombstoned_sources(merged.root) == {"source-a"}
    assert read_cuts(str(merged.root), "a") is None
    assert not list((merged.root / "samples").glob("a-*"))
    assert read_cuts(str(other), "a") is not None


def _other_settings(root: Path) -> None:
    path = root / SETTINGS_PATH
    settings = json.loads(path.read_text())
    settings["pairs"]["max_references"] = 99
    path.write_text(json.dumps(settings))


def _other_tables(root: Path) -> None:
    info = json.loads((root / INFO_PATH).read_text())
    info["tables"][0]["version"] += 1
    (root / INFO_PATH).write_text(json.dumps(info))


def _first_of_two_shards(root: Path) -> None:
    write_shard_note(str(root), ClipShard(index=0, count=2), 1, {})


def _other_cuts(root: Path) -> None:
    (root / "meta/cuts/a.json").write_text("{}")


def _damaged(root: Path) -> None:
    """In the middle of rows that no document is made from."""
    (path,) = root.with_name("x").glob("samples/*.parquet")
    cells = bytearray(path.read_bytes())
    cells[len(cells) // 2] ^= 1
    path.write_bytes(cells)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (_other_settings, r"unlike settings \(meta/settings.json: pairs.*max_references"),
        (_other_tables, "tables of another version"),
        (_first_of_two_shards, "1/2 of the clips"),
        (_other_cuts, "cuts/a.json"),
        (_damaged, "do not make a sound one: 1 problem.*samples/a-s000"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    whole: Path, tmp_path: Path, spoil: Callable[[Path], None], named: str
) -> None:
    sources = [part(whole, tmp_path / "x", "a"), part(whole, tmp_path / "y", "nobody-1")]
    spoil(sources[1])
    before = [contents(each) for each in sources]
    with pytest.raises(DatasetError, match=named):
        merge(list(map(str, sources)), str(tmp_path / "merged"), move=True)
    assert {path.name for path in tmp_path.iterdir()} == {"x", "y"}
    assert [contents(each) for each in sources] == before


def test_units_in_two_and_other_misuse_are_refused(whole: Path, tmp_path: Path) -> None:
    one, two = part(whole, tmp_path / "x", "a", "b"), part(whole, tmp_path / "y", "b")
    out = str(tmp_path / "merged")
    with pytest.raises(DatasetError, match=r"b-s000-w000 in .*x and .*y"):
        merge([str(one), str(two)], out)
    with pytest.raises(DatasetError, match="named twice"):
        merge([str(one), str(one)], out)
    with pytest.raises(DatasetError, match="is one of the datasets"):
        merge([str(one), str(two)], str(two))
    with pytest.raises(DatasetError, match="is there already"):
        merge([str(one)], str(whole))
    with RunLock(one), pytest.raises(DatasetError, match="in use by process"):
        merge([str(one)], out)
    (one / "thesis.txt").write_text("years of work")
    with pytest.raises(DatasetError, match=r"not the dataset's: thesis\.txt"):
        merge([str(one)], out, move=True)
    for root, split in ((one, "training"), (two, "validation")):
        (root / SPLITS_PATH).write_text(json.dumps({split: ["source-b"]}))
    for path in (two / "meta").glob("*/b*.json"):
        path.unlink()
    with pytest.raises(DatasetError, match="in split 'training' of one dataset and in 'validation'"):
        merge([str(one), str(two)], out)
    (two / SPLITS_PATH).write_text(json.dumps({"validation": ["source-c"]}))
    merge([str(one), str(two)], out)
    assert json.loads(Path(out, SPLITS_PATH).read_text()) == {
        "training": ["source-b"],
        "validation": ["source-c"],
    }


def test_summaries_add_up(whole: Path) -> None:
    facts = json.loads((whole / SUMMARY_PATH).read_text())
    joined = joined_summary([facts, facts, {"samples": "many", "stage_s": 3}])
    assert joined.samples == 2 * facts["samples"]
    assert joined.costs is not None
    assert joined.costs.workers == 2
    assert joined.costs.peak_mb == facts["peak_mb"]
    assert joined.costs.stage_s == pytest.approx({name: 2 * each for name, each in facts["stage_s"].items()})
    assert summary_facts(joined_summary([facts]))["stages"] == facts["stages"]


def many_units(whole: Path, roots: Sequence[Path], count: int) -> None:
    """Datasets of `count` units each, whose rows are those of a failed unit of the whole one under other names."""
    dataset = Dataset.open(whole)
    (clip,) = [row for row in dataset.rows("clips") if row["clip_id"] == "nobody-1"]
    (failure,) = [row for row in dataset.rows("failures") if row["clip_id"] == "nobody-1"]
    for root in roots:
        shutil.copytree(whole / "meta", root / "meta")
        for folder in ("records", "cuts"):
            shutil.rmtree(root / "meta" / folder)
        for number in range(count):
            names = {"clip_id": f"{root.name}-{number}", "unit_id": f"{root.name}-{number}-s000-w000"}
            with UnitSink(str(root), names["unit_id"], "fingerprint") as sink:
                sink.outcome = clip["outcome"]
                sink.emit("clips", clip | names)
                sink.emit("failures", failure | names)


def _killed_merge(roots: Sequence[Path], out: Path, is_time: Callable[[], bool], *options: str) -> int:
    words = [sys.executable, "-m", "pipeline", "dataset", "merge", *map(str, roots), "--out", str(out)]
    process = subprocess.Popen([*words, *options], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while process.poll() is None and not is_time():
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    return process.wait()


def test_killed_and_resumed_is_the_same_dataset(whole: Path, tmp_path: Path) -> None:
    """While files are linked, while documents are made, while moved sources are deleted."""
    sources, out, staging = (
        [tmp_path / "x", tmp_path / "y"],
        tmp_path / "merged",
        tmp_path / ".merged.merging",
    )
    many_units(whole, sources, 60)
    before = [contents(each) for each in sources]
    moments = (
        lambda: len(list(staging.glob("meta/records/*"))) > 30,
        lambda: (staging / "README.md").exists(),
    )
    for is_time in moments:
        assert _killed_merge(sources, out, is_time) == -signal.SIGKILL
        assert staging.exists()
        assert not out.exists()
        left = [{n: each for n, each in contents(s).items() if not n.endswith(".lock")} for s in sources]
        assert left == before
    (sources[0] / "meta/records/x-7-s000-w000.json").unlink()  # the source is another one now
    expected = set(os.listdir(sources[0] / "meta/records")) | set(os.listdir(sources[1] / "meta/records"))
    undisturbed = merge(list(map(str, sources)), str(tmp_path / "undisturbed"))
    code = _killed_merge(sources, out, lambda: not sources[0].exists(), "--move")
    made = merge(list(map(str, sources)), str(out), move=True)
    assert code in (0, -signal.SIGKILL)
    assert made.units == 119
    assert made.content_hash == undisturbed.content_hash
    assert set(os.listdir(out / "meta/records")) == expected
    assert {path.name for path in tmp_path.iterdir()} == {"merged", "undisturbed"}
    assert verify(str(out), render=0).problems == []
