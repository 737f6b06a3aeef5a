"""The overlay film and the contact sheet: where things are drawn, and that the command writes them."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from pipeline.body.model import BodyModel
from pipeline.commands.main import main
from pipeline.config import Settings
from pipeline.geometry.camera import Camera
from pipeline.inspection.clip_inspection import inspect_clip
from pipeline.inspection.contact_sheet import TILE_PX, ContactSheet, spread_positions
from pipeline.inspection.overlay import GATED_COLOUR, OverlayPainter, TrackedPerson, full_image_camera
from pipeline.records import ClipRef, Footage
from pipeline.rendering.compiled import CompiledRasterizer
from pipeline.tracking.tracker import LandmarkTracker
from pipeline.video.decode import decode, probe
from pipeline.video.film import FilmWriter
from schemas.conventions import IMAGE_PX
from schemas.errors import SettingsError, SourceError
from tests.support.clips import counting_frames, even_times, moving_blob, number_in, write_clip
from tests.support.rendered_people import Performance, rendered, walking


@pytest.fixture(scope="module")
def performance() -> Performance:
    return walking(turn_deg=20, seconds=0.7)


@pytest.fixture(scope="module")
def pictures(performance: Performance) -> list[np.ndarray]:
    return [frame.image for frame in rendered(BodyModel.open_body(), performance)]


@pytest.fixture(scope="module")
def settings() -> Settings:
    base = Settings()
    return replace(
        base,
        tracking=replace(base.tracking, iterations=(40, 40)),
        rendering=replace(base.rendering, rasterizer="compiled"),
    )


@pytest.fixture(scope="module")
def clip(pictures: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inspected") / "walk.mp4"
    return write_clip(path, lambda at: pictures[at], even_times(len(pictures)))


@pytest.fixture(scope="module")
def person(clip: Path, settings: Settings) -> TrackedPerson:
    tracker = LandmarkTracker(BodyModel.open_body(), settings)
    ((track, seen),) = tracker.track_with_landmarks(decode(clip), Footage(unit_id="u", focal_px=900.0))
    return TrackedPerson(track=track, seen=seen)


def test_the_camera_of_the_whole_image_is_found_again(
    person: TrackedPerson, performance: Performance
) -> None:
    camera = full_image_camera(person.track, 3, performance.camera.hw)
    np.testing.assert_allclose(camera.K, performance.camera.K, rtol=1e-9, atol=1e-6)
    crop = Camera(person.track.K[3], (IMAGE_PX, IMAGE_PX))
    np.testing.assert_allclose(camera.cropped(person.track.crop_px[3], IMAGE_PX).K, crop.K, atol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_the_mesh_lies_on_the_person(
    person: TrackedPerson, pictures: list[np.ndarray], performance: Performance, scale: float
) -> None:
    painter = OverlayPainter(BodyModel.open_body(), CompiledRasterizer(), scale)
    at = 8
    hw = performance.camera.hw
    blank = np.zeros((*hw, 3), np.uint8)
    mesh = painter.painted(blank, [(person, at)]).any(axis=-1)
    body = BodyModel.open_body()
    vertices = body.vertices(performance.pose[at], performance.betas, performance.translation[at])
    camera = performance.camera.resized((mesh.shape[0], mesh.shape[1]))
    true = CompiledRasterizer().face_ids(vertices, body.faces, camera) >= 0
    assert (mesh & true).sum() / true.sum() > 0.85
    other = painter.painted(pictures[at], [])
    assert other.shape[:2] == mesh.shape


def test_gated_frames_are_grey_and_say_why(person: TrackedPerson, pictures: list[np.ndarray]) -> None:
    painter = OverlayPainter(BodyModel.open_body(), CompiledRasterizer())
    reasons = ("people-overlap",) * len(person.seen)
    gated = TrackedPerson(track=replace(person.track, reason=reasons), seen=person.seen)
    kept = TrackedPerson(track=replace(person.track, reason=("",) * len(reasons)), seen=person.seen)
    hw = pictures[0].shape[:2]
    blank = np.zeros((*hw, 3), np.uint8)
    left, top, right, bottom = np.rint(person.track.box_px[5]).astype(int)
    inside = slice(top + 5, bottom - 5), slice(left + 5, right - 5)
    grey, coloured = (painter.painted(blank, [(each, 5)])[inside].astype(int) for each in (gated, kept))
    assert len(set(GATED_COLOUR)) == 1
    assert np.median(np.ptp(grey[grey.any(axis=-1)], axis=-1)) < 3
    assert np.median(np.ptp(coloured[coloured.any(axis=-1)], axis=-1)) > 20


def test_a_contact_sheet_has_a_row_per_track(person: TrackedPerson, pictures: list[np.ndarray]) -> None:
    sheet = ContactSheet(OverlayPainter(BodyModel.open_body(), CompiledRasterizer()), per_track=4)
    wanted = sorted(sheet.wanted(person))
    assert len(wanted) == 4
    for at in wanted:
        sheet.add(pictures[int(person.track.frame_index[at])], person, at)
    picture = sheet.picture()
    assert picture.shape[1] == 4 * TILE_PX[0]
    assert all(np.ptp(part) > 100 for part in np.split(picture, 4, axis=1))
    assert ContactSheet(sheet.painter).picture().min() == 255


def test_positions_are_spread() -> None:
    assert spread_positions(3, 8) == [0, 1, 2]
    assert spread_positions(80, 4) == [10, 30, 50, 70]


def test_a_film_keeps_times_and_order(tmp_path: Path) -> None:
    paint, times = counting_frames((49, 65)), [2.0, 2.04, 2.2, 2.21, 3.0]
    with FilmWriter(tmp_path / "f.mp4") as film:
        for number, time_s in enumerate(times):
            film.write(paint(number), time_s)
    frames = list(decode(tmp_path / "f.mp4"))
    np.testing.assert_allclose([frame.pts_s for frame in frames], np.subtract(times, 2.0), atol=1e-4)
    assert [number_in(frame.image) for frame in frames] == list(range(5))
    assert frames[0].image.shape == (48, 64, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["f.mp4"]


def test_a_film_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with FilmWriter(tmp_path / "f.mp4") as film:
            film.write(counting_frames()(0), 0.0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not list(tmp_path.iterdir())
    with pytest.raises(SourceError), FilmWriter(tmp_path / "missing" / "f.mp4"):
        pass


def test_the_command_writes_both(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], pictures: list[np.ndarray]
) -> None:
    fast = ["--set", "tracking.iterations=[20, 20]", "--set", "rendering.rasterizer=compiled"]
    assert main(["inspect", str(clip), "--out", str(tmp_path / "out"), *fast]) == 0
    assert "/p00: " in capsys.readouterr().out
    assert probe(tmp_path / "out" / "overlay.mp4").duration_s == pytest.approx(len(pictures) / 30, abs=0.05)
    with av.open(str(tmp_path / "out" / "overlay.mp4")) as film:
        assert film.streams.video[0].frames == len(pictures)
    assert cv2.imread(str(tmp_path / "out" / "contact-sheet.jpg")).shape[0] > TILE_PX[1]
    assert main(["inspect", str(tmp_path / "none.mp4"), "--out", str(tmp_path / "out")]) == 1


def test_a_clip_without_people_still_gives_a_film(tmp_path: Path, settings: Settings) -> None:
    path = write_clip(tmp_path / "nobody.mp4", moving_blob(), even_times(20))
    made = inspect_clip(ClipRef(clip_id="c", uri=str(path), source_id="c"), tmp_path / "out", settings)
    assert (made.frames, made.tracks) == (20, ())
    assert made.sheet.exists()


def test_rerun_that_is_not_installed(
    clip: Path, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(SettingsError, match=r"humandepth\[rerun\]"):
        inspect_clip(
            ClipRef(clip_id="c", uri=str(clip), source_id="c"), tmp_path / "out", settings, with_rerun=True
        )


def test_a_rerun_recording(clip: Path, tmp_path: Path, settings: Settings) -> None:
    pytest.importorskip("rerun")
    quick = replace(settings, tracking=replace(settings.tracking, iterations=(5, 5)))
    made = inspect_clip(
        ClipRef(clip_id="c", uri=str(clip), source_id="c"), tmp_path / "out", quick, with_rerun=True
    )
    assert made.recording is not None
    assert made.recording.read_bytes()[:4] == b"RRF2"
    assert made.recording.stat().st_size > 100_000
