"""Inputs to clips: what is accepted, what is refused, and that ids are stable and safe."""

from __future__ import annotations

import json
import os

import pyarrow
import pytest
from pyarrow import parquet

from pipeline.records import ClipRef
from pipeline.video.source import MAX_ID_LENGTH, checked_id, clips_from_arguments, id_of, local_path
from schemas.errors import SourceError


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def names_of(clips) -> list[str]:
    return [os.path.basename(clip.uri) for clip in clips]


def test_files_folders_and_globs(tmp_path):
    touch(tmp_path, "b.mp4", "a.MOV", "notes.txt", "deep/er/c.webm", "deep/.hidden.mp4")
    assert names_of(clips_from_arguments([str(tmp_path)])) == ["a.MOV", "b.mp4", ".hidden.mp4", "c.webm"]
    assert names_of(clips_from_arguments([str(tmp_path / "*.mp4")])) == ["b.mp4"]
    assert names_of(clips_from_arguments([str(tmp_path / "**" / "c.*")])) == ["c.webm"]
    assert names_of(clips_from_arguments([str(tmp_path / "notes.txt")])) == ["notes.txt"]  # named on its own
    assert names_of(clips_from_arguments([str(tmp_path / "b.mp4"), str(tmp_path)])) == [
        "b.mp4",
        "a.MOV",
        ".hidden.mp4",
        "c.webm",
    ]


def test_a_file_whose_name_looks_like_a_pattern(tmp_path):
    touch(tmp_path, "take [1].mp4")
    assert names_of(clips_from_arguments([str(tmp_path / "take [1].mp4")])) == ["take [1].mp4"]


def test_links_that_loop_are_walked_once(tmp_path):
    touch(tmp_path, "one/a.mp4", "two/b.mp4")
    (tmp_path / "one" / "up").symlink_to(tmp_path)
    (tmp_path / "two" / "self").symlink_to(tmp_path / "two")
    (tmp_path / "broken.mp4").symlink_to(tmp_path / "nowhere")
    assert sorted(names_of(clips_from_arguments([str(tmp_path)]))) == ["a.mp4", "b.mp4", "broken.mp4"]


def test_ids_depend_on_the_address_only(tmp_path, monkeypatch):
    touch(tmp_path, "dance 1.mp4", "other/dance 1.mp4")
    first, second = clips_from_arguments([str(tmp_path)])
    assert first.clip_id != second.clip_id
    assert first.clip_id.startswith("dance-1-")
    assert first.source_id == first.clip_id
    (tmp_path / "dance 1.mp4").write_bytes(b"changed")
    monkeypatch.chdir(tmp_path)
    assert clips_from_arguments(["dance 1.mp4"]) == [first]
    assert os.path.isabs(first.uri)


def test_file_addresses_are_for_the_command_line(tmp_path):
    touch(tmp_path, "a b.mp4")
    (clip,) = clips_from_arguments([f"file://{tmp_path}/a%20b.mp4"])
    assert clip.uri == str(tmp_path / "a b.mp4")
    (tmp_path / "list.csv").write_text(f"uri\nfile://{tmp_path}/a%20b.mp4\n")
    with pytest.raises(SourceError, match=r"row 1: file:///.*refused"):
        clips_from_arguments([str(tmp_path / "list.csv")])


def test_one_bad_input_does_not_stop_the_others(tmp_path):
    touch(tmp_path, "a.mp4")
    (tmp_path / "empty").mkdir()
    bad = ["missing.mp4", "empty", "none*.mp4"]
    clips = clips_from_arguments([str(tmp_path / name) for name in ["a.mp4", *bad]])
    assert names_of(clips) == ["a.mp4", *bad]


def test_clips_in_buckets_are_taken_as_they_are():
    (clip,) = clips_from_arguments(["gs://bucket/b.mp4"])
    assert clip.uri == "gs://bucket/b.mp4"


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "no input"),
        (["missing.mp4"], "no such file or folder"),
        (["missing.mp4", "also-missing"], "missing.mp4"),
        (["empty"], "no video files"),
        (["none*.mp4"], "matches no file"),
        (["missing.csv"], "no such manifest"),
        (["gs://bucket/list.csv"], "gs:// cannot be read"),
        (["https://example.org/a.mp4"], "https:// cannot be read"),
        (["a\0b"], "not a path"),
    ],
)
def test_inputs_that_lead_nowhere_are_an_error(tmp_path, monkeypatch, inputs, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=message) as caught:
        clips_from_arguments(inputs)
    assert caught.value.reason == "bad-source"
    assert caught.value.remedy


ROWS = [
    {
        "uri": "a.mp4",
        "clip_id": "first",
        "source_id": "film",
        "start_s": 1.5,
        "end_s": 4,
        "focal_px": 900,
        "licence": "CC0",
    },
    {"uri": "a.mp4", "start_s": 4.0},
    {"uri": "sub/b.mp4"},
]


def write_manifest(folder, suffix, rows):
    path = folder / f"list{suffix}"
    names = list(dict.fromkeys(name for row in rows for name in row))
    if suffix == ".csv":
        lines = [",".join(names)] + [",".join(str(row.get(name, "")) for name in names) for row in rows]
        path.write_text("\ufeff" + "\n".join(lines) + "\n")
    elif suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    else:
        columns = {name: [row.get(name) for row in rows] for name in names}
        parquet.write_table(pyarrow.table(columns), path)
    return str(path)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_manifests(tmp_path, suffix):
    first, second, third = clips_from_arguments([write_manifest(tmp_path, suffix, ROWS)], focal_px=1000.0)
    a_mp4 = str(tmp_path / "a.mp4")
    assert first == ClipRef(
        clip_id="first", uri=a_mp4, source_id="film", start_s=1.5, end_s=4.0, focal_px=900.0, licence="CC0"
    )
    assert (second.uri, second.start_s, second.end_s, second.focal_px) == (a_mp4, 4.0, None, 1000.0)
    assert (
        second.source_id == id_of(a_mp4) != second.clip_id
    )  # a window has its own id, its source is the video
    assert (third.uri, third.licence) == (str(tmp_path / "sub" / "b.mp4"), "")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"clip_id": "x"}, "no `uri`"),
        ({"uri": "../a.mp4"}, "leads out"),
        ({"uri": "sub/../../a.mp4"}, "leads out"),
        ({"uri": "FILE:/etc/passwd"}, "refused"),
        ({"uri": "a.mp4", "clip_id": "../../x"}, "not allowed"),
        ({"uri": "a.mp4", "source_id": ".x"}, "not allowed"),
        ({"uri": "a.mp4", "start_s": "soon"}, "not a number"),
        ({"uri": "a.mp4", "start_s": True}, "not a number"),
        ({"uri": "a.mp4", "end_s": "nan"}, "not a number"),
        ({"uri": "a.mp4", "start_s": 3, "end_s": 2}, "no window"),
        ({"uri": "a.mp4", "start_s": -1}, "no window"),
        ({"uri": "a.mp4", "focal_px": 0}, "focal"),
        ({"uri": "a.mp4", "start": 3}, "unknown column 'start'"),
        (["a.mp4"], "not an object"),
    ],
)
def test_malformed_rows_name_their_row(tmp_path, row, message):
    path = write_manifest(tmp_path, ".jsonl", [{"uri": "ok.mp4"}])
    with open(path, "a") as file:
        file.write(json.dumps(row) + "\n")
    with pytest.raises(SourceError, match=f"row 2: .*{message}"):
        clips_from_arguments([path, str(tmp_path)])


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("list.jsonl", b'{"uri": '),
        ("list.parquet", b"PAR1 no"),
        ("list.csv", b"uri\n\xff\xfe\n"),
        ("list.csv", b"uri,start_s\na.mp4,1,2\n"),
    ],
)
def test_unreadable_manifests(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SourceError, match="not a readable manifest"):
        clips_from_arguments([str(tmp_path / name)])


def test_one_id_for_two_clips_is_refused_and_repeats_are_dropped(tmp_path):
    rows = [{"uri": "a.mp4", "clip_id": "x"}, {"uri": "b.mp4", "clip_id": "x"}]
    with pytest.raises(SourceError, match=r"'x' is claimed by .*a\.mp4 and by .*b\.mp4"):
        clips_from_arguments([write_manifest(tmp_path, ".jsonl", rows)])
    assert len(clips_from_arguments([write_manifest(tmp_path, ".jsonl", [rows[0], rows[0]])])) == 1


@pytest.mark.parametrize("text", ["a", "Dance_01.final-2", "-x", "x" * MAX_ID_LENGTH])
def test_allowed_ids(text):
    assert checked_id(text) == text


@pytest.mark.parametrize(
    "text", ["", "../x", "..", ".x", "a/b", "a\\b", "a b", "a\n", "ä", "x" * (MAX_ID_LENGTH + 1)]
)
def test_refused_ids(text):
    with pytest.raises(SourceError, match="not allowed"):
        checked_id(text)


@pytest.mark.parametrize("name", ["..mp4", "ünï cödé.mp4", "a" * 200 + ".mp4", "$(rm).mp4", "-.mp4"])
def test_any_file_name_gives_a_safe_id(name):
    assert checked_id(id_of(name)) == id_of(name)


def test_local_paths():
    assert str(local_path("a/b.mp4")) == "a/b.mp4"
    assert str(local_path("file:///a/b%20c.mp4")) == "/a/b c.mp4"
    for uri in ["gs://b/a.mp4", "s3://b/a.mp4", "http://h/a.mp4", "file://host/a.mp4", ""]:
        with pytest.raises(SourceError):
            local_path(uri)
