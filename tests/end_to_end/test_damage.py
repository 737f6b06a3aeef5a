"""Damaged datasets: verify names everything, compact loses nothing, forget never guesses, and run makes them whole."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.commands.main import main
from pipeline.dataset.compaction import compact_dataset
from pipeline.dataset.forgetting import forget
from pipeline.dataset.verification import verify
from pipeline.runner.driver import run
from pipeline.video.source import clips_from_arguments
from schemas.dataset import (
    CUTS_PATH,
    INFO_PATH,
    JOURNAL_PATH,
    SETTINGS_PATH,
    Dataset,
    record_path,
    shard_path,
    tombstone_path,
)
from schemas.errors import DatasetError
from schemas.selections import Selection, selection_path
from schemas.work_record import Pack, ShardFacts, WorkRecord
from tests.support.fast_units import fast_resources, fast_settings, write_clips

pytestmark = pytest.mark.usefixtures("demo_clip")  # `run` looks for the models
IDS = ("a", "b", "c")
UNIT_B = "b-s000-w000"


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list:
    return clips_from_arguments([str(write_clips(tmp_path_factory.mktemp("clips"), IDS))])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, clips: list) -> Path:
    root = tmp_path_factory.mktemp("made") / "dataset"
    go_on(clips, root)
    return root


@pytest.fixture(scope="module")
def made_packed(made: Path) -> Path:
    root = Path(shutil.copytree(made, made.parent / "packed"))
    compact_dataset(str(root))
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "dataset"))


@pytest.fixture
def packed(made_packed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made_packed, tmp_path / "packed"))


def go_on(clips: list, root: Path, **options):
    return run(clips, str(root), fast_settings(), make_resources=fast_resources, **options)


def damage(path: Path) -> Path:
    """Flips a bit in every page: the size and the footer stay as they were."""
    data = bytearray(path.read_bytes())
    for at in range(64, len(data) - int.from_bytes(data[-8:-4], "little") - 8, 11):
        data[at] ^= 16
    path.write_bytes(data)
    return path


def pack_of(root: Path, table: str) -> Path:
    (path,) = (root / table).glob("pack-*.parquet")
    return path


def bytes_below(root: Path) -> dict[Path, str]:
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in root.glob("*/*.parquet")}


def test_verify_names_every_damaged_file_at_once(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Selection(name="wide", pairs="kept").save(root)
    tombstone = root / tombstone_path("gone")
    tombstone.parent.mkdir()
    damaged = [damage(root / shard_path(table, "a-s000-w000")) for table in ("samples", "pairs")]
    damaged.append(root / shard_path("frames", "c-s000-w000"))
    damaged[-1].unlink()
    documents = [
        record_path(UNIT_B),
        SETTINGS_PATH,
        selection_path("wide"),
        f"{CUTS_PATH}/a.json",
        tombstone_path("gone"),
    ]
    for relative in documents:
        (root / relative).write_bytes(b'{"cut')
    assert main(["dataset", "verify", str(root)]) == 1
    said = capsys.readouterr().err.splitlines()
    for path in [*damaged, *(root / relative for relative in documents)]:
        assert sum(str(path) in line for line in said) == 1, (path, said)
    assert len(said) == len(damaged) + len(documents)
    assert all(line.startswith("error: ") and "Traceback" not in line for line in said)


@pytest.mark.parametrize("table", ["clips", "frames", "pairs", "samples"])
def test_a_damaged_shard_ends_commands_with_its_name(
    root: Path, clips: list, table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = damage(root / shard_path(table, UNIT_B))
    like = ["plan", str(clips[0].uri), "--like"]
    commands = [
        ["audit"],
        ["audit", "--where", "mean_baseline_m >= 0.3"],
        ["dataset compact"],
        ["dataset verify"],
    ]
    commands += {
        "clips": [like],
        "frames": [
            ["show pair", "--out", f"{tmp_path}/x.png"],
            ["studio truth", "--studio", "x", "--out", "y"],
        ],
        "pairs": [["audit", "--out", f"{tmp_path}/x.html"], ["show pair", "--out", f"{tmp_path}/x.gif"]],
        "samples": [["gallery", "--out", f"{tmp_path}/x.html"]],
    }[table]
    for command in commands:
        words = command[0].split()
        arguments = [*command, str(root)] if command == like else [*words, str(root), *command[1:]]
        assert main(arguments) == 1
        said = capsys.readouterr().err
        assert "Traceback" not in said
        assert path.name in said, (arguments, said)


def test_compact_keeps_every_original_where_one_is_damaged(root: Path) -> None:
    for table in ("pairs", "samples"):
        kept = (root / shard_path(table, UNIT_B)).read_bytes()
        path = damage(root / shard_path(table, UNIT_B))
        before = {path: data for path, data in bytes_below(root).items() if "pack-" not in path.name}
        with pytest.raises(DatasetError, match=rf"{table}/{UNIT_B}.parquet is damaged or missing"):
            compact_dataset(str(root))
        assert before.items() <= bytes_below(root).items()
        path.write_bytes(kept)
    assert compact_dataset(str(root)).files_after < len(before)
    assert verify(str(root), render=0).problems == []


@pytest.mark.parametrize("text", ["", "{}", "[]"])
def test_compact_does_nothing_to_a_folder_whose_info_is_damaged(root: Path, text: str) -> None:
    (root / INFO_PATH).write_text(text)
    before = bytes_below(root)
    with pytest.raises(DatasetError, match=INFO_PATH):
        compact_dataset(str(root))
    assert bytes_below(root) == before


@pytest.mark.parametrize("command", ["compact", "forget"])
def test_a_damaged_record_loses_no_file_to_compact_or_forget(root: Path, command: str) -> None:
    (root / record_path(UNIT_B)).write_text("{")
    before = bytes_below(root)
    with pytest.raises(DatasetError, match=rf"{UNIT_B}.json is damaged"):
        compact_dataset(str(root)) if command == "compact" else forget(str(root), "source-a")
    assert bytes_below(root) == before
    assert (root / record_path(UNIT_B)).exists()


@pytest.mark.parametrize("table", ["clips", "samples", "frames"])
def test_a_run_makes_a_damaged_pack_whole(packed: Path, clips: list, made: Path, table: str) -> None:
    damage(pack_of(packed, table))
    go_on(clips, packed)
    assert Dataset.open(packed).content_hash() == Dataset.open(made).content_hash()
    assert verify(str(packed), render=0).problems == []


def test_a_run_with_one_clip_recovers_what_it_can_of_a_damaged_pack(
    packed: Path, clips: list, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = pack_of(packed, "samples")
    sound = path.read_bytes()
    path.write_bytes(sound[:-12] + b"\1" + sound[-11:])  # at the end of the footer, where nothing is needed
    go_on(clips[:1], packed)
    assert Dataset.open(packed).content_hash() == Dataset.open(made).content_hash()
    assert "makes it anew" not in capsys.readouterr().err
    compact_dataset(str(packed))
    path = pack_of(packed, "samples")
    data = bytearray(path.read_bytes())
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    data[start : start + 40] = bytes(40)  # at its start: nothing can be read
    path.write_bytes(data)
    go_on(clips[:1], packed)
    assert "makes it anew" in capsys.readouterr().err
    assert [record.unit_id for record in Dataset.open(packed).records] == ["a-s000-w000"]
    assert verify(str(packed), render=0).problems == []
    go_on(clips, packed)
    assert Dataset.open(packed).content_hash() == Dataset.open(made).content_hash()


def test_compact_and_forget_refuse_a_damaged_pack(packed: Path) -> None:
    (packed / record_path(UNIT_B)).unlink()  # its rows have to be taken out of the pack
    path = damage(pack_of(packed, "samples"))
    before = bytes_below(packed)
    for change in (lambda: compact_dataset(str(packed)), lambda: forget(str(packed), "source-c")):
        with pytest.raises(DatasetError, match=path.name):
            change()
        assert before.items() <= bytes_below(packed).items()


def test_forget_does_not_guess_whose_rows_a_damaged_unit_holds(root: Path, clips: list) -> None:
    for table in ("clips", "frames", "pairs", "samples"):
        (root / shard_path(table, UNIT_B)).write_bytes(b"PAR1")
    with pytest.raises(
        DatasetError,
        match=rf"source of unit {UNIT_B} cannot be read.*clips/{UNIT_B}.parquet.*Run the pipeline again",
    ):
        forget(str(root), "source-b")
    assert not (root / tombstone_path("source-b")).exists()
    go_on(clips, root)
    assert forget(str(root), "source-b") == 1
    assert not list(root.glob(f"*/{UNIT_B}.parquet"))


@pytest.mark.parametrize("text", ["", "{", '{"fingerprint": 3}', "[]"])
def test_damaged_cuts_are_looked_for_again(root: Path, clips: list, text: str) -> None:
    path = root / CUTS_PATH / "b.json"
    before = path.read_bytes()
    path.write_text(text)
    assert go_on(clips, root).units_skipped == len(IDS)
    assert path.read_bytes() == before
    values = json.loads(before)
    values["segments"][0]["end_s"] = 0.1  # sound JSON that is not what was written
    path.write_text(json.dumps(values))
    assert go_on(clips, root).units_skipped == len(IDS)
    assert path.read_bytes() == before


def test_the_remedies_for_settings_and_the_journal_are_true(root: Path, clips: list, made: Path) -> None:
    sound = (root / SETTINGS_PATH).read_bytes()
    (root / SETTINGS_PATH).write_text("{")
    with pytest.raises(DatasetError, match=r"settings.json cannot be read.*Delete it and run"):
        go_on(clips, root)
    (root / SETTINGS_PATH).unlink()
    assert go_on(clips, root).units_skipped == len(IDS)
    assert (root / SETTINGS_PATH).read_bytes() == sound
    for text in (
        "{",
        "[]",
        '{"records": [], "obsolete": ["../../x.parquet"]}',
        '{"records": ["{}"], "obsolete": []}',
    ):
        (root / JOURNAL_PATH).write_text(text)
        with pytest.raises(
            DatasetError, match=r"compaction.json cannot be read.*Delete it and compact again"
        ):
            compact_dataset(str(root))
    (root / JOURNAL_PATH).unlink()
    compact_dataset(str(root))
    assert Dataset.open(root).content_hash() == Dataset.open(made).content_hash()


def test_a_cell_that_is_no_picture_names_its_row(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = root / shard_path("samples", UNIT_B)
    table = pq.read_table(path)
    at = table.schema.get_field_index("image")
    cells = [b"no picture"] * table.num_rows
    pq.write_table(table.set_column(at, table.schema.field(at), pa.array(cells, pa.large_binary())), path)
    record = WorkRecord.from_json((root / record_path(UNIT_B)).read_text())
    others = tuple(shard for shard in record.shards if shard.table != "samples")
    shard = ShardFacts.of("samples", table.num_rows, Pack.of(path, shard_path("samples", UNIT_B)))
    (root / record_path(UNIT_B)).write_text(replace(record, shards=(*others, shard)).to_json())
    for arguments in (
        ["gallery", "--out", "x.html"],
        ["audit", "--out", "x.html"],
        ["show pair", "b-s000-w000/p00/0", "--out", "x.png"],
    ):
        arguments = [each.replace("x.", f"{tmp_path}/x.") for each in arguments]
        assert main([*arguments[0].split(), str(root), *arguments[1:]]) == 1, arguments
        assert f"{UNIT_B}.parquet, row 0 of row group 0, is damaged" in capsys.readouterr().err
