"""plan, verify, forget, compact, doctor and retries, on a dataset of small units made by the real graph."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.commands.doctor import examine
from pipeline.dataset import journal, settling
from pipeline.dataset.compaction import compact_dataset
from pipeline.dataset.forgetting import forget
from pipeline.dataset.settling import settle
from pipeline.dataset.verification import reference_problems, verify
from pipeline.runner.driver import run
from pipeline.runner.planning import plan
from pipeline.runner.summary import print_run
from pipeline.video.source import clips_from_arguments
from schemas.dataset import JOURNAL_PATH, SUMMARY_PATH, Dataset, record_path, shard_path
from schemas.errors import DatasetError
from schemas.work_record import Pack, ShardFacts, WorkRecord
from tests.support.fast_units import fast_resources, fast_settings, write_clips

pytestmark = pytest.mark.usefixtures("demo_clip")  # `run` looks for the models
IDS = ("a", "b", "c", "nobody")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list:
    return clips_from_arguments([str(write_clips(tmp_path_factory.mktemp("clips"), IDS))])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, clips: list) -> Path:
    root = tmp_path_factory.mktemp("made") / "dataset"
    summary = go_on(clips, root)
    assert (summary.units_kept, summary.units_failed, summary.exit_code) == (3, 1, 3)
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(made, tmp_path / "dataset"))


def go_on(clips: list, root: Path, **options):
    return run(clips, str(root), fast_settings(), make_resources=fast_resources, **options)


def rewrite(root: Path, table: str, unit: str, change) -> None:
    """Changes a shard and makes its record agree with it: damage that no hash can show."""
    path = root / table / f"{unit}-s000-w000.parquet"
    changed = change(pq.read_table(path))
    pq.write_table(changed, path)
    record = root / record_path(f"{unit}-s000-w000")
    made = WorkRecord.from_json(record.read_text())
    others = tuple(shard for shard in made.shards if shard.table != table)
    shard = ShardFacts.of(table, changed.num_rows, Pack.of(path, shard_path(table, made.unit_id)))
    record.write_text(replace(made, shards=(*others, shard)).to_json())


def with_column(table: pa.Table, name: str, values: list) -> pa.Table:
    at = table.schema.get_field_index(name)
    return table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))


def test_a_sound_dataset_verifies_and_renders_the_same(made: Path) -> None:
    report = verify(str(made), render=3)
    assert report.problems == []
    assert report.rendered == 3


@pytest.mark.parametrize(
    ("table", "change", "words"),
    [
        ("pairs", lambda t: with_column(t, "kept", [False] * t.num_rows), "reference that is no kept pair"),
        ("frames", lambda t: with_column(t, "kept", [False] * t.num_rows), "does not hold as kept"),
        ("frames", lambda t: pa.concat_tables([t, t.slice(0, 1)]), "is not unique"),
        ("frames", lambda t: with_column(t, "clip_id", ["z"] * t.num_rows), "names a clip"),
        ("samples", lambda t: t.slice(0, 1), "a kept pair is in no sample"),
        ("clips", lambda t: with_column(t, "outcome", ["crashed"]), "`failures` does not hold it"),
        ("clips", lambda t: with_column(t, "unit_id", ["b-s000-w000"]), "clips.unit_id is not unique"),
    ],
)
def test_references_between_tables_are_checked(root: Path, table: str, change, words: str) -> None:
    rewrite(root, table, "a", change)
    assert Dataset.open(root).verify() == []
    assert any(words in problem for problem in reference_problems(Dataset.open(root)))


def test_rows_that_do_not_render_to_their_depth_are_found(root: Path) -> None:
    def moved(table: pa.Table) -> pa.Table:
        vectors = [[row[0] * 1.01, *row[1:]] for row in table["body_vector"].to_pylist()]
        return with_column(table, "body_vector", vectors)

    rewrite(root, "frames", "a", moved)
    problems = verify(str(root), render=100).problems
    assert problems
    assert all("base depth" in problem and " a-s000" in problem for problem in problems)


def test_forget_removes_a_source_for_good(root: Path, clips: list) -> None:
    assert forget(str(root), "source-b") == 1
    for table in ("samples", "frames", "pairs", "clips"):
        assert "source-b" not in {row["source_id"] for row in Dataset.open(root).rows(table)}
    assert "source-b" not in "".join(path.read_text() for path in root.glob("meta/records/*.json"))
    assert verify(str(root)).problems == []
    assert len(list((root / "meta/tombstones").iterdir())) == 1
    assert go_on(clips, root).units_kept == 2
    assert {row["source_id"] for row in Dataset.open(root).rows("samples")} == {"source-a", "source-c"}
    with pytest.raises(DatasetError, match="no source"):
        forget(str(root), "source-x")


def test_an_interrupted_forget_is_finished_by_the_next_run(
    root: Path, clips: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(settling, "discard_unit", crash)
        with pytest.raises(KeyboardInterrupt):
            forget(str(root), "source-b")
    go_on(clips, root)
    assert {row["source_id"] for row in Dataset.open(root).rows("samples")} == {"source-a", "source-c"}


def test_compact_keeps_rows_hash_and_resume(root: Path, clips: list) -> None:
    before = Dataset.open(root).content_hash()
    rows = [row["sample_id"] for row in Dataset.open(root).rows("samples")]
    done = compact_dataset(str(root))
    assert (
        done.files_before == len(IDS) * 2 + 3 * 3 - 3
    )  # frames, pairs, samples of 3; clips of 4; one failure
    assert done.files_after == 5
    assert Dataset.open(root).content_hash() == before
    assert [row["sample_id"] for row in Dataset.open(root).rows("samples")] == rows
    assert verify(str(root)).problems == []
    assert go_on(clips, root).units_skipped == len(IDS)
    assert compact_dataset(str(root)).files_after == 5


def test_a_unit_of_a_pack_can_be_remade_and_forgotten(root: Path, clips: list) -> None:
    before = Dataset.open(root).content_hash()
    compact_dataset(str(root))
    record = root / record_path("b-s000-w000")
    record.unlink()
    assert go_on(clips, root).units_skipped == len(IDS) - 1
    assert Dataset.open(root).content_hash() == before
    for table in ("samples", "frames"):  # written anew: a pack never holds rows of nobody
        (pack,) = root.glob(f"{table}/pack-*")
        assert not set(pq.read_table(pack)["clip_id"].to_pylist()) & {"b"}
    compact_dataset(str(root))
    forget(str(root), "source-b")
    assert verify(str(root)).problems == []
    assert Dataset.open(root).row_count("samples") == sum(
        pq.read_metadata(path).num_rows for path in root.glob("samples/*.parquet")
    )


def test_a_compaction_that_crashes_is_finished(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Dataset.open(root).content_hash()

    def crash(texts: dict[str, str], where: str) -> None:
        publish_texts(dict(list(texts.items())[:1]), where)  # the journal and one record are written
        raise KeyboardInterrupt

    publish_texts = journal.publish_texts
    with monkeypatch.context() as patch:
        patch.setattr(journal, "publish_texts", crash)
        with pytest.raises(KeyboardInterrupt):
            compact_dataset(str(root))
    assert (root / JOURNAL_PATH).exists()
    half = Dataset.open(root)  # readers see the new places, whichever records are written
    assert half.content_hash() == before
    assert {Path(path).name[:5] for path in half.shards("samples")} == {"pack-"}
    assert half.verify() == []
    settle(str(root))  # what every run, `compact` and `forget` begin with
    assert not (root / JOURNAL_PATH).exists()
    assert Dataset.open(root).content_hash() == before
    assert verify(str(root)).problems == []
    assert len(list(root.glob("samples/*.parquet"))) == 1


def test_a_run_of_many_units_leaves_few_files(made: Path, clips: list, tmp_path: Path) -> None:
    root, settings = tmp_path / "out", fast_settings("run.pack_every_units=2")
    run(clips, str(root), settings, make_resources=fast_resources)
    assert Dataset.open(root).content_hash() == Dataset.open(made).content_hash()
    for table in ("samples", "frames", "pairs", "clips"):
        assert len(list((root / table).iterdir())) < len(list((made / table).iterdir()))
    assert verify(str(root)).problems == []
    assert run(clips, str(root), settings, make_resources=fast_resources).units_skipped == len(IDS)
    assert sorted(path.name for path in root.iterdir()) == sorted(path.name for path in made.iterdir())


def test_failed_units_are_tried_again_on_request(root: Path, clips: list) -> None:
    def attempts() -> list[int]:
        return [row["attempts"] for row in Dataset.open(root).rows("failures")]

    assert attempts() == [1]
    assert go_on(clips, root).units_skipped == 4
    assert go_on(clips, root, retry="timed-out").units_skipped == 4
    assert go_on(clips, root, retry="nobody-found").units_skipped == 3
    assert attempts() == [2]
    assert go_on(clips, root, retry="").units_skipped == 3
    assert attempts() == [3]


def test_plan_says_what_is_left_and_why(made: Path, clips: list, tmp_path: Path) -> None:
    fresh = plan(clips, fast_settings(), out=None, like=None)
    assert (fresh.units, fresh.units_finished, fresh.frames) == (4, 0, 48)
    assert "built-in" in fresh.basis
    left = plan(clips, fast_settings(), out=str(made), like=None)
    assert (left.units, left.units_finished, left.frames) == (4, 4, 0)
    measured = plan(clips, fast_settings(), out=None, like=str(made), workers=2)
    assert str(made) in measured.basis
    assert 0 < measured.hours < 0.1
    assert measured.memory_mb > 100
    with pytest.raises(DatasetError, match="summary"):
        plan(clips, fast_settings(), out=None, like=str(tmp_path))


def test_the_summary_adds_up(made: Path) -> None:
    facts = json.loads((made / SUMMARY_PATH).read_text())
    assert facts["failed"] == {"nobody-found": 1}
    assert facts["frames_read"] == 48
    assert facts["samples"] == Dataset.open(made).row_count("samples")
    assert sum(row["share"] for row in facts["stages"]) == pytest.approx(1.0, abs=0.01)
    assert 0 < sum(facts["stage_s"].values()) <= facts["wall_s"]


def test_a_run_says_for_how_many_clips_the_focal_length_was_assumed(
    clips: list, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = json.loads((made / SUMMARY_PATH).read_text())
    assert (facts["clips_with_assumed_focal"], facts["clips_read"]) == (4, 4)
    some = [replace(clip, focal_px=900.0) if at else clip for at, clip in enumerate(clips[:2])]
    gone = replace(clips[0], clip_id="gone", uri=f"{tmp_path}/gone.mp4")
    summary = go_on([*some, gone], tmp_path / "out")
    assert (summary.clips_with_assumed_focal, summary.clips_read) == (1, 2)
    print_run(summary, str(tmp_path / "out"))
    assert "nothing states the focal length of 1 of 2 clip(s)" in capsys.readouterr().out.replace("\n", " ")
    again = go_on([some[1]], tmp_path / "out")  # of the dataset, not of this run
    assert (again.clips_with_assumed_focal, again.clips_read) == (1, 2)


def test_doctor_finds_this_machine_fit() -> None:
    findings = {finding.what: finding for finding in examine()}
    assert {"python", "model", "video codecs", "OpenGL", "rasteriser", "compiled kernels", "memory"} <= set(
        findings
    )
    assert not any(finding.is_fatal and not finding.works for finding in findings.values())
    assert all(finding.remedy for finding in findings.values() if not finding.works)


def test_doctor_names_missing_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HUMANDEPTH_CACHE", str(tmp_path))
    missing = [finding for finding in examine() if finding.what == "model"]
    assert all(finding.is_fatal and "fetch" in finding.remedy for finding in missing)


def test_doctor_says_where_kernels_go_and_what_it_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, words in ((Path("/tmp/kernels"), "/tmp/kernels"), (None, "no folder")):
        monkeypatch.setattr("pipeline.commands.doctor.kernel_place", lambda place=folder: (place, False))
        (found,) = [finding for finding in examine() if finding.what == "compiled kernels"]
        assert not found.works
        assert not found.is_fatal
        assert words in found.detail
        assert "NUMBA_CACHE_DIR" in found.remedy
        assert " s of one core" in found.remedy


def test_doctor_of_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("HUMANDEPTH_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    findings = [finding for finding in examine() if finding.what in ("model", "disk for models")]
    assert len(findings) == 4  # three models, and the disk
    assert all("no home folder" in finding.detail for finding in findings)
    assert all("HUMANDEPTH_CACHE" in finding.remedy for finding in findings)
