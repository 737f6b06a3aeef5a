"""Focal lengths that films and photos state: every place they stand in, closed forms, and values that cannot be."""

from __future__ import annotations

import io
import math
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.video.decode import probe
from pipeline.video.equivalent import NO_LENS, lens_of_diagonal_angle, lens_of_equivalent
from pipeline.video.exif import lens_of_photo
from pipeline.video.lens_metadata import lens_of_film
from tests.support.clips import counting_frames, write_clip
from tests.support.stated_lenses import EQUIVALENT, box, exif, gopro, jpeg_with, metadata, with_boxes

HW = (120, 160)
FULL_FRAME_MM = math.hypot(36, 24)
OF_26_MM = 26 / FULL_FRAME_MM * 200
"""4:3: the diagonal of 120 x 160 is 200."""


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    write_clip(path, counting_frames(HW), [0.0, 0.1, 0.2])
    return path


def test_equivalents_by_the_sensors_diagonal() -> None:
    """A full-frame camera's 36 x 24 mm: f / 36 of the width. A 4:3 sensor's width is .8 of its diagonal."""
    assert lens_of_equivalent(50, (2000, 3000)).focal_px == pytest.approx(50 / 36 * 3000)
    assert lens_of_equivalent(50, (3000, 2000)).focal_px == pytest.approx(50 / 36 * 3000)
    phone = lens_of_equivalent(26, (3000, 4000)).focal_px
    assert phone == pytest.approx(26 / (0.8 * FULL_FRAME_MM) * 4000)
    # cut to 16:9 the width stays, cut to a square the height
    assert lens_of_equivalent(26, (2250, 4000)).focal_px == pytest.approx(phone)
    assert lens_of_equivalent(26, (3000, 3000)).focal_px == pytest.approx(phone)
    assert lens_of_equivalent(26, (4000, 2250)).focal_px == pytest.approx(phone)


@pytest.mark.parametrize("value", [0.0, -26.0, 1e9, math.nan, math.inf, 1e-9])
def test_what_no_camera_has_is_noted(value: float) -> None:
    for found in (lens_of_equivalent(value, HW), lens_of_diagonal_angle(value, HW, is_straight=True)):
        assert found.focal_px is None
        assert "cannot be" in found.note


def test_angles_across_the_diagonal() -> None:
    assert lens_of_diagonal_angle(90, HW, is_straight=True).focal_px == pytest.approx(100)
    fisheye = lens_of_diagonal_angle(120, HW, is_straight=False)
    assert fisheye.focal_px == pytest.approx(100 / math.radians(60))
    assert "fisheye" in fisheye.note
    assert lens_of_diagonal_angle(180, HW, is_straight=True).focal_px is None


TYPES = {
    "signed": (21, struct.pack(">i", 26)),
    "one byte": (22, b"\x1a"),
    "float": (23, struct.pack(">f", 26)),
    "double": (24, struct.pack(">d", 26)),
    "text": (1, b"26"),
    "text with unit": (1, b"26.00mm"),
    "32 bits": (67, struct.pack(">i", 26)),
}


@pytest.mark.parametrize("is_iso", [False, True])
@pytest.mark.parametrize("place", ["film_box", "track_box"])
@pytest.mark.parametrize("name", TYPES)
def test_apples_key_in_film_and_track(film: Path, name: str, place: str, is_iso: bool) -> None:
    meta = metadata([(b"com.apple.quicktime.make", 1, b"Apple"), (EQUIVALENT, *TYPES[name])], is_iso=is_iso)
    found = lens_of_film(with_boxes(film, **{place: meta}), HW)
    assert found.focal_px == pytest.approx(OF_26_MM)
    assert not found.note


def test_the_track_knows_better_than_the_film(film: Path) -> None:
    film_box, track_box = (metadata([(EQUIVALENT, 21, struct.pack(">i", mm))]) for mm in (50, 26))
    assert lens_of_film(
        with_boxes(film, film_box=film_box, track_box=track_box), HW
    ).focal_px == pytest.approx(OF_26_MM)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (21, struct.pack(">i", 0)),
        (21, struct.pack(">i", -5)),
        (21, struct.pack(">i", 10**9)),
        (23, struct.pack(">f", math.nan)),
        (24, struct.pack(">d", math.inf)),
        (21, b"\1\2\3\4\5"),
        (1, b"wide"),
        (1, b"\xff\xfe\0"),
        (1, b""),
        (1, b"9" * 4000),
        (77, b""),
        (13, b"jpeg"),
    ],
)
def test_absurd_values_are_ignored_with_a_note(film: Path, kind: int, value: bytes) -> None:
    found = lens_of_film(with_boxes(film, film_box=metadata([(EQUIVALENT, kind, value)])), HW)
    assert found.focal_px is None
    assert found.note.startswith("states a lens that cannot be: ")


def test_a_later_usable_statement_wins(film: Path) -> None:
    absurd = metadata([(EQUIVALENT, 21, struct.pack(">i", 0))])
    good = metadata([(EQUIVALENT, 21, struct.pack(">i", 26))])
    assert lens_of_film(with_boxes(film, track_box=absurd, film_box=good), HW).focal_px == pytest.approx(
        OF_26_MM
    )


XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")


@pytest.mark.parametrize(
    "form", [b'<r exif:FocalLengthIn35mmFilm="26"/>', b"<exif:FocalLengthIn35mmFilm>26</e>"]
)
def test_xmp_packets(film: Path, form: bytes) -> None:
    before = film.read_bytes()
    assert lens_of_film(with_boxes(film, top=box(b"uuid", XMP_UUID + form)), HW).focal_px == pytest.approx(
        OF_26_MM
    )
    film.write_bytes(before)
    with_boxes(film, film_box=box(b"udta", box(b"XMP_", form)))
    assert lens_of_film(film, HW).focal_px == pytest.approx(OF_26_MM)
    film.write_bytes(before)
    assert lens_of_film(with_boxes(film, top=box(b"uuid", bytes(16) + form)), HW) == NO_LENS


def test_gopros_fields_of_view(film: Path) -> None:
    before = film.read_bytes()
    angle = struct.pack(">f", 90.0)
    for field, expected in ((b"L", 100.0), (b"W", 100 / math.radians(45))):
        film.write_bytes(before)
        settings = gopro([(b"DVNM", b"c", b"Global"), (b"VFOV", b"c", field), (b"ZFOV", b"f", angle)])
        assert lens_of_film(with_boxes(film, film_box=box(b"udta", settings)), HW).focal_px == pytest.approx(
            expected
        )
    film.write_bytes(before)
    assert (
        lens_of_film(with_boxes(film, film_box=box(b"udta", gopro([(b"VFOV", b"c", b"W")]))), HW) == NO_LENS
    )


def test_films_that_say_nothing(film: Path, tmp_path: Path) -> None:
    assert lens_of_film(film, HW) == NO_LENS
    other = tmp_path / "film.mkv"
    write_clip(other, counting_frames(HW), [0.0, 0.1, 0.2])
    assert lens_of_film(other, HW) == NO_LENS


@pytest.mark.parametrize("rotation_deg", [None, 90.0])
def test_a_probe_knows_the_lens_of_the_upright_picture(tmp_path: Path, rotation_deg: float | None) -> None:
    path = tmp_path / "phone.mov"
    write_clip(path, counting_frames(HW), [0.0, 0.1, 0.2], rotation_deg=rotation_deg)
    facts = probe(with_boxes(path, track_box=metadata([(EQUIVALENT, 21, struct.pack(">i", 26))])))
    assert facts.focal_px == pytest.approx(OF_26_MM)
    assert facts.notes == ""
    assert sorted((facts.width_px, facts.height_px)) == sorted(HW)


def test_a_probe_notes_what_cannot_be(film: Path) -> None:
    facts = probe(with_boxes(film, film_box=metadata([(EQUIVALENT, 21, struct.pack(">i", 0))])))
    assert facts.focal_px is None
    assert facts.notes == "states a lens that cannot be: 0 mm"


def test_damaged_boxes_are_no_lens(film: Path) -> None:
    """Every byte of the metadata set to three values, and the file cut anywhere in it: an answer, and no error."""
    meta = metadata([(EQUIVALENT, 21, struct.pack(">i", 26))])
    whole = with_boxes(film, film_box=meta).read_bytes()
    for at in range(len(whole) - len(meta), len(whole)):
        for value in (0, 1, 255):
            film.write_bytes(whole[:at] + bytes([value]) + whole[at + 1 :])
            lens_of_film(film, HW)
        film.write_bytes(whole[:at])
        assert lens_of_film(film, HW) == NO_LENS


def stored(kind: str, block: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((*HW, 3), np.uint8)).save(buffer, kind, exif=block)
    return buffer.getvalue()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_photos_by_another_writer(kind: str, order: str) -> None:
    block = exif({0xA405: (3, struct.pack(order + "H", 26))}, order=order)
    assert lens_of_photo(block, HW).focal_px == pytest.approx(OF_26_MM)  # as in a TIFF file
    assert lens_of_photo(stored(kind, b"Exif\0\0" + block), HW).focal_px == pytest.approx(OF_26_MM)


def test_exif_by_another_library() -> None:
    tags = Image.Exif()
    tags[0x010F] = "maker"  # without a tag of its own Pillow takes it for empty
    tags.get_ifd(0x8769)[0xA405] = 26
    for kind in ("JPEG", "PNG", "WEBP"):
        buffer = io.BytesIO()
        Image.fromarray(np.zeros((*HW, 3), np.uint8)).save(buffer, kind, exif=tags)
        assert lens_of_photo(buffer.getvalue(), HW).focal_px == pytest.approx(OF_26_MM), kind


def rational(order: str, top: int, bottom: int) -> tuple[int, bytes]:
    return 5, struct.pack(order + "II", top, bottom)


def recorded(focal: tuple[int, int], zoom: tuple[int, int] | None = None) -> bytes:
    """4.2 mm on a sensor whose picture of 4000 x 3000 has 800 pixels a millimetre: 3,360 px."""
    tags = {
        0x920A: rational("<", *focal),
        0xA20E: rational("<", 80000, 10),
        0xA210: (3, struct.pack("<H", 3)),
        0xA002: (4, struct.pack("<I", 4000)),
        0xA003: (4, struct.pack("<I", 3000)),
    }
    return exif(tags | ({} if zoom is None else {0xA404: rational("<", *zoom)}))


def test_the_focal_plane_where_no_equivalent_is_stated() -> None:
    jpeg = stored("JPEG", b"")
    assert lens_of_photo(jpeg_with(jpeg, recorded((42, 10))), HW).focal_px == pytest.approx(
        4.2 * 800 * 160 / 4000
    )
    zoomed = lens_of_photo(jpeg_with(jpeg, recorded((42, 10), (2, 1))), HW)
    assert zoomed.focal_px == pytest.approx(2 * 4.2 * 800 * 160 / 4000)
    assert lens_of_photo(jpeg_with(jpeg, recorded((42, 0))), HW).focal_px is None
    assert lens_of_photo(jpeg_with(jpeg, recorded((42, 10), (0, 0))), HW).focal_px == pytest.approx(134.4)


def test_a_photo_that_was_cut_is_not_what_its_lens_saw() -> None:
    jpeg = jpeg_with(stored("JPEG", b""), recorded((42, 10)))
    assert lens_of_photo(jpeg, (160, 120)).focal_px is not None  # turned, not cut
    cut = lens_of_photo(jpeg, (120, 120))
    assert cut.focal_px is None
    assert "cut" in cut.note


@pytest.mark.parametrize("value", [0, 1, 65535])
def test_absurd_equivalents_of_photos(value: int) -> None:
    found = lens_of_photo(jpeg_with(stored("JPEG", b""), exif({0xA405: (3, struct.pack("<H", value))})), HW)
    assert found.focal_px is None


def test_damaged_exif_is_no_lens() -> None:
    block = recorded((42, 10))
    jpeg = jpeg_with(stored("JPEG", b""), block)
    for at in range(len(block) + 20):
        for value in (0, 1, 127, 255):
            lens_of_photo(jpeg[:at] + bytes([value]) + jpeg[at + 1 :], HW)
        lens_of_photo(jpeg[:at], HW)
    assert lens_of_photo(b"", HW) == NO_LENS
    assert lens_of_photo(stored("JPEG", b""), HW) == NO_LENS
