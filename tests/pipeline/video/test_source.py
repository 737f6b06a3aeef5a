"""Inputs to clips: what is accepted, what is refused, and that ids are stable and safe."""

from __future__ import annotations

import json
import logging
import os

import pyarrow
import pytest
from pyarrow import parquet

from pipeline.dataset.storage import local_copy
from pipeline.records import ClipRef
from pipeline.video.container import checked_file
from pipeline.video.source import MAX_ID_LENGTH, checked_id, clips_from_arguments, id_of, local_path
from schemas.errors import SettingsError, SourceError


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


@pytest.mark.parametrize("focal_px", [0.0, -3.0, float("nan")])
def test_a_focal_length_that_is_none_is_wrong_usage(tmp_path, focal_px):
    with pytest.raises(SettingsError, match="--focal-px cannot be"):
        clips_from_arguments([write_manifest(tmp_path, ".csv", ROWS)], focal_px=focal_px)


def test_a_manifest_that_is_no_text_does_not_fill_the_screen(tmp_path):
    (tmp_path / "clips.csv").write_bytes(bytes(range(256)) * 20)
    with pytest.raises(SourceError, match="not a readable manifest") as refused:
        clips_from_arguments([str(tmp_path / "clips.csv")])
    assert len(str(refused.value)) < 400


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
        ({"uri": "a.mp4", "start_s": 3, "end_s": 2}, "no time window"),
        ({"uri": "a.mp4", "start_s": -1}, "no time window"),
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
        ("list.jsonl", b"[" * 100_000),
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


def test_pandas_index_columns_are_no_columns_of_the_manifest(tmp_path):
    columns = {
        "uri": ["a.mp4", "b.mp4"],
        "licence": ["CC0", "CC0"],
        "__index_level_0__": [3, 7],
        "kind": [1, 2],
    }
    facts = {"index_columns": ["__index_level_0__", "kind", {"kind": "range"}]}
    table = pyarrow.table(columns).replace_schema_metadata({"pandas": json.dumps(facts)})
    parquet.write_table(table, tmp_path / "list.parquet")
    assert names_of(clips_from_arguments([str(tmp_path / "list.parquet")])) == ["a.mp4", "b.mp4"]
    parquet.write_table(table.replace_schema_metadata({"pandas": "?"}), tmp_path / "list.parquet")
    with pytest.raises(SourceError, match="unknown column 'kind'"):  # nothing says that it is an index
        clips_from_arguments([str(tmp_path / "list.parquet")])
    named = pyarrow.table({"clip_id": ["x"], "uri": ["a.mp4"]})
    named = named.replace_schema_metadata({"pandas": json.dumps({"index_columns": ["clip_id"]})})
    parquet.write_table(named, tmp_path / "list.parquet")
    (clip,) = clips_from_arguments([str(tmp_path / "list.parquet")])
    assert clip.clip_id == "x"  # df.set_index("clip_id") means it
    (tmp_path / "list.csv").write_text(",Unnamed: 0,uri\n0,4,a.mp4\n")
    assert names_of(clips_from_arguments([str(tmp_path / "list.csv")])) == ["a.mp4"]


def test_two_rows_of_one_file_are_named_by_their_numbers(tmp_path):
    (tmp_path / "list.csv").write_text("uri,licence\nb.mp4,CC0\na.mp4,CC0\na.mp4,CC-BY\n")
    with pytest.raises(
        SourceError, match=r"list\.csv, rows 2 and 3: .*a\.mp4.*licence 'CC0' and 'CC-BY'"
    ) as caught:
        clips_from_arguments([str(tmp_path / "list.csv")])
    assert "start_s" in caught.value.remedy
    rows = [{"uri": "a.mp4", "clip_id": "x"}, {"uri": "b.mp4", "clip_id": "x"}]
    with pytest.raises(SourceError, match=r"by .*a\.mp4 and by .*b\.mp4 \(.*list\.jsonl, rows 1 and 2\)"):
        clips_from_arguments([write_manifest(tmp_path, ".jsonl", rows)])
    touch(tmp_path, "a.mp4")
    (tmp_path / "list.csv").write_text("uri,licence\na.mp4,CC0\n")
    with pytest.raises(SourceError, match=r"a\.mp4 and .*list\.csv, row 1: both name"):
        clips_from_arguments([str(tmp_path / "a.mp4"), str(tmp_path / "list.csv")])


@pytest.mark.parametrize("address", ["https://example.org/a.mp4", "HTTP://example.org/a.mp4"])
def test_addresses_of_the_web_lead_to_download(tmp_path, address):
    (tmp_path / "list.csv").write_text(f"uri\n{address}\n")
    for text in (address, str(tmp_path / "list.csv")):
        with pytest.raises(SourceError) as caught:
            clips_from_arguments([text])
        assert "python -m pipeline download" in caught.value.remedy
    touch(tmp_path, "a.mp4")
    (tmp_path / "list.csv").write_text(f"uri\n{address}\na.mp4\n")
    web, _ = clips_from_arguments([str(tmp_path / "list.csv")])  # the other row goes on
    with pytest.raises(SourceError) as caught, local_copy(web.uri):
        pass
    assert "python -m pipeline download" in caught.value.remedy


def test_files_of_a_folder_that_are_not_taken_are_mentioned(tmp_path, monkeypatch):
    touch(tmp_path, "a.mp4", "1.HEIC", "2.heic", "deep/music.mp3", "x.zip", "README", ".DS_Store")
    heard: list[logging.LogRecord] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", heard.append)
    monkeypatch.setattr(logging.getLogger("pipeline.video.source"), "handlers", [handler])
    assert names_of(clips_from_arguments([str(tmp_path)])) == ["a.mp4"]
    (line,) = [record.getMessage() for record in heard]
    assert line.startswith(f"{tmp_path}: skipped: 5 file(s) (2 .heic, 1 without ending, 1 .mp3, 1 .zip).")
    assert "trainer predict" in line
    (tmp_path / "a.mp4").unlink()
    with pytest.raises(SourceError, match=r"no video files, only 5 file\(s\) \(2 \.heic") as caught:
        clips_from_arguments([str(tmp_path)])
    assert "trainer predict" in caught.value.remedy
    with pytest.raises(SourceError, match=r"1\.HEIC: a photo") as caught:
        clips_from_arguments([str(tmp_path / "1.HEIC")])
    assert "trainer predict" in caught.value.remedy


def test_names_of_any_kind_lead_to_their_file(tmp_path):
    names = [
        b"caf\xe9.mp4",
        b"a\\xe9.mp4",
        b"a\\\\b.mp4",
        b"new\nline.mp4",
        b"\x1b]0;x\x07.mp4",
        "é.mp4".encode(),
    ]
    names += ["e\u0301.mp4".encode(), b"n" * 251 + b".mp4", b"%41.mp4", b"a:\\b?.mp4"]
    for number, name in enumerate(names):
        (tmp_path / os.fsdecode(name)).write_bytes(str(number).encode())
    clips = clips_from_arguments([str(tmp_path)])
    assert len({clip.clip_id for clip in clips}) == len({clip.uri for clip in clips}) == len(names)
    assert sorted(int(local_path(clip.uri).read_bytes()) for clip in clips) == list(range(len(names)))
    for clip in clips:
        with local_copy(clip.uri) as path:
            assert os.path.isfile(path)
        pyarrow.array([clip.uri, clip.licence])
        assert all(character.isprintable() for character in clip.uri)
    single = clips_from_arguments([str(tmp_path / os.fsdecode(names[0]))])
    assert single[0] in clips


@pytest.mark.parametrize("text", ["n" * 300 + ".mp4", "d/" * 3000 + "a.mp4", "\ud800.mp4"])
def test_names_that_no_file_can_have_are_errors(tmp_path, text):
    with pytest.raises(SourceError, match="no such file"):
        clips_from_arguments([text])
    touch(tmp_path, "a.mp4")
    _, other = clips_from_arguments([str(tmp_path / "a.mp4"), text])
    with pytest.raises(SourceError), local_copy(other.uri) as path:
        checked_file(path)


def test_a_uri_that_cannot_be_stored_is_a_bug():
    with pytest.raises(ValueError, match="escaped"):
        ClipRef(clip_id="c", uri=os.fsdecode(b"caf\xe9.mp4"), source_id="c")


def test_file_addresses_may_hold_any_byte(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.mp4")).write_bytes(b"x")
    assert local_path(f"file://{tmp_path}/caf%E9.mp4").read_bytes() == b"x"
    (clip,) = clips_from_arguments([f"file://{tmp_path}/caf%E9.mp4"])
    assert clip.uri == f"{tmp_path}/caf\\xe9.mp4"


def test_parquet_manifests_may_hold_names_as_bytes(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.mp4")).write_bytes(b"x")
    table = pyarrow.table({"uri": pyarrow.array([b"caf\xe9.mp4"], pyarrow.binary()), "licence": ["a\x1bb"]})
    parquet.write_table(table, tmp_path / "list.parquet")
    (clip,) = clips_from_arguments([str(tmp_path / "list.parquet")])
    assert local_path(clip.uri).read_bytes() == b"x"
    assert clip.licence == r"a\x1bb"
