"""From tracks to clothes to base depth: learned from a dataset's surfaces, rendered in another run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.commands.main import main as pipeline
from pipeline.dataset.dressed_depths import dressed_depths, evidence_of, people_offset
from pipeline.dataset.fingerprint import fingerprint
from pipeline.dataset.track_surfaces import surfaces_of
from pipeline.dataset.verification import verify
from pipeline.method.named_files import body_digest, file_digest
from pipeline.rendering.clothes import Clothes
from pipeline.video.source import clips_from_arguments
from schemas.dataset import Dataset
from tests.pipeline.method.test_refine_chain import REFINE, rows_of
from tests.support.dressed_rows import check_depth_and_motion
from tests.support.fast_units import fast_resources, fast_run, fast_settings, write_clips


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("clips"), ["one"])


@pytest.fixture(scope="module")
def dataset(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refined") / "dataset"
    settings = [text for setting in REFINE for text in ("--set", setting)]
    done = fast_run(manifest, "--out", folder, *settings)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def worn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clothes that differ from vertex to vertex."""
    settings, path = fast_settings(), tmp_path_factory.mktemp("worn") / "clothes.npz"
    offset_m = np.linspace(0.005, 0.04, fast_resources(settings).body.vertex_count)
    Clothes(offset_m=offset_m, body_sha256=body_digest(settings), tracks=1).save(path)
    return path


def test_the_command_writes_the_mean_over_the_tracks_for_their_body(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "clothes.npz"
    assert pipeline(["dataset", "clothes", str(dataset), "--out", str(out), "--contrast", "2"]) == 0
    said = capsys.readouterr()
    assert f"rendering.clothes={out}" in said.out
    stored = surfaces_of(
        Dataset.open(dataset), {row["track_id"] for row in Dataset.open(dataset).rows("surfaces")}
    )
    refine = fast_settings(*REFINE).refine
    mean = people_offset({track: evidence_of(each, refine) for track, each in stored.items()}, refine)
    found = Clothes.load(out)
    np.testing.assert_allclose(found.offset_m, 2 * mean - mean.mean(), rtol=0, atol=1e-7)
    assert (found.tracks, found.body_sha256) == (1, body_digest(fast_settings()))
    assert ("clothes are never inside" in said.err) == (mean.mean() <= 0)
    assert pipeline(["dataset", "clothes", str(dataset), "--out", str(out), "--contrast", "0"]) == 2


def test_a_dataset_without_surfaces_has_no_clothes(manifest: Path, tmp_path: Path) -> None:
    assert fast_run(manifest, "--out", tmp_path / "plain").returncode == 0
    assert pipeline(["dataset", "clothes", str(tmp_path / "plain"), "--out", str(tmp_path / "c.npz")]) == 1
    assert not (tmp_path / "c.npz").exists()


def test_depth_and_motion_of_a_run_are_those_of_the_clothes(
    manifest: Path, dataset: Path, worn: Path
) -> None:
    """A moved target point lies on the reference's clothes, and bodies are what they are without."""
    rows, offset_m = rows_of(manifest, *REFINE, f"rendering.clothes={worn}"), Clothes.load(worn).offset_m
    skin = list(Dataset.open(dataset).rows("samples"))
    check_depth_and_motion(rows, offset_m)
    for sample, naked in zip(rows["samples"], skin, strict=True):
        np.testing.assert_array_equal(np.float32(sample["body_vector"]), naked["body_vector"])
        assert np.abs(sample["base_depth"] - naked["base_depth"]).max() > 5e-3


def test_a_stored_dataset_in_clothes_verifies_and_is_taught_the_rest(
    manifest: Path, dataset: Path, worn: Path, tmp_path: Path
) -> None:
    """Its samples render to the same depth again, and the dressed depth that teaches is what it is without clothes."""
    settings = [text for setting in (*REFINE, f"rendering.clothes={worn}") for text in ("--set", setting)]
    assert fast_run(manifest, "--out", tmp_path / "dataset", *settings).returncode == 0
    checked = verify(str(tmp_path / "dataset"))
    assert checked.problems == []
    assert checked.rendered > 0
    bare, clothed = (dict(dressed_depths(Dataset.open(each))) for each in (dataset, tmp_path / "dataset"))
    assert bare.keys() == clothed.keys() != set()
    for name, depth in bare.items():
        np.testing.assert_array_equal(depth.depth_m, clothed[name].depth_m)


def test_other_clothes_in_the_same_place_are_other_rows(manifest: Path, worn: Path, tmp_path: Path) -> None:
    """The file's content counts, whatever it is called."""
    (clip,) = clips_from_arguments([str(manifest)])
    path, clothes = tmp_path / "clothes.npz", Clothes.load(worn)
    settings, found = fast_settings(f"rendering.clothes={path}"), []
    for offset_m in (clothes.offset_m, 2 * clothes.offset_m):
        replace(clothes, offset_m=offset_m).save(path)
        file_digest.cache_clear()  # a process reads it once
        found.append(fingerprint(clip, settings))
    assert len({*found, fingerprint(clip, fast_settings())}) == 3
