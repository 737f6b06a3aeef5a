"""The dataset folder in other people's hands: Hugging Face datasets, DuckDB, mlcroissant."""

from __future__ import annotations

import hashlib
import json
import re
import socket
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.runner.driver import run
from pipeline.video.source import clips_from_arguments
from schemas.dataset import CROISSANT_PATH, MANIFEST_PATH, Dataset
from schemas.tables import SAMPLES, TABLES
from tests.support.fast_units import fast_resources, fast_settings, write_clips

pytestmark = pytest.mark.usefixtures("demo_clip")  # `run` looks for the models


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readers")
    clips = clips_from_arguments([str(write_clips(folder / "clips", ["a", "b", "nobody"]))])
    quick = ("refine.mode=track", "refine.levels_px=[96]", "refine.iterations=2", "refine.points=800")
    run(clips, str(folder / "dataset"), fast_settings(*quick), make_resources=fast_resources)
    return folder / "dataset"


def test_hugging_face_datasets_reads_it(made: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="pip install datasets")
    files = {name: str(made / name / "*.parquet") for name in TABLES}
    for name in TABLES:
        table = datasets.load_dataset(
            "parquet", data_files=files[name], split="train", cache_dir=str(tmp_path)
        )
        assert table.num_rows == Dataset.open(made).row_count(name)
    samples = datasets.load_dataset(
        "parquet", data_files=files["samples"], split="train", cache_dir=str(tmp_path)
    )
    ours = {row["sample_id"]: row for row in Dataset.open(made).rows("samples")}
    for row in samples:
        own = ours[row["sample_id"]]
        assert cv2.imdecode(np.frombuffer(row["image"], np.uint8), cv2.IMREAD_COLOR).shape == (512, 512, 3)
        assert np.array_equal(SAMPLES.column("base_depth").decode(row["base_depth"]), own["base_depth"])
    frames = datasets.load_dataset(str(made), "frames", split="train", cache_dir=str(tmp_path))  # by the card
    assert frames.num_rows == Dataset.open(made).row_count("frames")


def test_duckdb_reads_it(made: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="pip install duckdb")
    kept = duckdb.sql(
        f"select count(*) from '{made}/pairs/*.parquet' p join '{made}/frames/*.parquet' f "
        "on p.track_id = f.track_id and p.target_frame = f.frame_index where p.kept"
    ).fetchall()[0]
    assert kept == (sum(row["kept"] for row in Dataset.open(made).rows("pairs")),)
    references = duckdb.sql(
        f"select sum(len(\"references\")), max(octet_length(image)) from '{made}/samples/*.parquet'"
    ).fetchall()[0]
    assert references[0] == kept[0]
    assert references[1] > 1000


def test_the_card_has_the_front_matter_hubs_read(made: Path) -> None:
    front = re.match(r"---\n(.*?)\n---\n", (made / "README.md").read_text(), re.S)
    assert front is not None
    lines = front.group(1).splitlines()
    for name, table in TABLES.items():
        assert (f"- config_name: {name}" in lines) == bool(Dataset.open(made).row_count(table.name))
    assert "- n<1K" in lines
    assert lines.count("  default: true") == 1


def test_croissant_names_every_column_and_its_files(made: Path) -> None:
    facts = json.loads((made / CROISSANT_PATH).read_text())
    assert facts["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert "url" not in facts  # there is none
    sets = {entry["@id"]: entry for entry in facts["distribution"]}
    for record_set in facts["recordSet"]:
        table = TABLES[record_set["name"]]
        assert [field["source"]["extract"]["column"] for field in record_set["field"]] == [
            column.name for column in table.columns
        ]
        for field in record_set["field"]:
            files = sets[field["source"]["fileSet"]["@id"]]
            assert list(made.glob(files["includes"]))
            assert ("dataType" in field) != ("subField" in field)


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning"
)  # mlcroissant 1.1.1 uses rdflib and pandas as they were
def test_mlcroissant_finds_no_error_and_reads_every_row(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The standard's own validator and reader, from the folder alone: what asks for the network fails."""
    mlcroissant = pytest.importorskip("mlcroissant", reason="pip install mlcroissant")
    monkeypatch.setattr(socket.socket, "connect", None)
    seen = mlcroissant.Dataset(jsonld=str(made / CROISSANT_PATH))
    assert seen.metadata.issues.errors == set()
    # What only those who publish it know: a time and how to cite it.
    warnings = sorted(re.findall(r'Property "\S+/(\w+)" is recommended', seen.metadata.issues.report()))
    assert warnings == ["citeAs", "datePublished"]
    assert len(seen.metadata.issues.warnings) == len(warnings)
    ours = Dataset.open(made)
    for name in TABLES:
        rows = list(seen.records(record_set=name))
        assert len(rows) == ours.row_count(name)
    expected = {row["sample_id"]: row for row in ours.rows("samples")}
    for row in seen.records(record_set="samples"):
        own = expected[row["samples/sample_id"].decode()]
        assert row["samples/image"].size == (512, 512)
        assert np.array_equal(
            SAMPLES.column("base_depth").decode(row["samples/base_depth"]), own["base_depth"]
        )
        assert np.array_equal(row["samples/K"], own["K"].ravel())
        assert len(row["samples/references"]) == own["reference_count"] > 0
        for theirs, reference in zip(row["samples/references"], own["references"], strict=True):
            assert theirs["samples/references/frame_index"] == reference["frame_index"]
            assert theirs["samples/references/rotation_deg"] == reference["rotation_deg"]
            assert np.array_equal(theirs["samples/references/K"], reference["K"].ravel())


def test_the_manifest_names_every_file_with_its_hash(made: Path) -> None:
    manifest = json.loads((made / MANIFEST_PATH).read_text())
    on_disk = {str(path.relative_to(made)): path.read_bytes() for path in made.rglob("*.parquet")}
    assert {file["path"] for file in manifest["files"]} == set(on_disk)
    for file in manifest["files"]:
        assert file["sha256"] == hashlib.sha256(on_disk[file["path"]]).hexdigest()
        assert file["bytes"] == len(on_disk[file["path"]])
    for name in TABLES:
        rows = sum(file["rows"] for file in manifest["files"] if file["table"] == name)
        assert rows == Dataset.open(made).row_count(name)
    assert manifest["content_hash"] == Dataset.open(made).content_hash()
