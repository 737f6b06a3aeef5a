"""The tables, one column a line. This is the data contract between pipeline, trainer and anyone else who reads."""

from __future__ import annotations

from schemas.column import Column
from schemas.conventions import IMAGE_PX, MAP_PX, VECTOR_SIZE
from schemas.table import TableSpec


def _text(name: str, doc: str, *, nullable: bool = False) -> Column:
    return Column(name=name, dtype="string", doc=doc, nullable=nullable)


def _integer(name: str, doc: str, unit: str = "") -> Column:
    return Column(name=name, dtype="int64", unit=unit, doc=doc)


def _real(name: str, doc: str, unit: str = "", *, nullable: bool = False) -> Column:
    return Column(name=name, dtype="float64", unit=unit, doc=doc, nullable=nullable)


def _flag(name: str, doc: str) -> Column:
    return Column(name=name, dtype="bool", doc=doc)


def _intrinsics(name: str, doc: str) -> Column:
    return Column(name=name, dtype="float64", shape=(3, 3), unit="px", doc=doc)


_IMAGE = Column(
    name="image",
    dtype="uint8",
    shape=(IMAGE_PX, IMAGE_PX, 3),
    codec="image",
    doc="the square crop, JPEG bytes (sRGB)",
)

_PAIR_NUMBERS = (
    _real("mean_baseline_m", "mean |t| over the target's body pixels", "m"),
    _real("median_baseline_m", "median |t|", "m"),
    _real("p10_baseline_m", "10th percentile of |t|", "m"),
    _real("p90_baseline_m", "90th percentile of |t|", "m"),
    _real("rotation_deg", "mean rotation angle over the target's body pixels", "deg"),
    _real("parallax_px", "mean distance a body pixel moves, in map pixels", "px"),
    _real("baseline_over_depth", "mean |t|/Z", "1"),
    _real("visible_fraction", "share of body pixels visible in the reference", "1"),
    _real("valid_fraction", "share of body pixels with every validity bit set", "1"),
)

REFERENCE = (
    _integer("frame_index", "frame of the clip the reference is"),
    _real("pts_s", "its presentation time", "s"),
    _IMAGE,
    _intrinsics("K", "intrinsics of the reference's crop at image size"),
    Column(
        name="motion",
        dtype="float16",
        shape=(MAP_PX, MAP_PX, 6),
        unit="rad, m",
        codec="map",
        doc="per target pixel: rotation vector of R, then displacement d of the surface point p; t = p + d - R p",
    ),
    Column(
        name="validity",
        dtype="uint8",
        shape=(MAP_PX, MAP_PX),
        codec="map",
        doc="bits of schemas.conventions.VALID_*",
    ),
    *_PAIR_NUMBERS,
)

SAMPLES = TableSpec(
    name="samples",
    version=2,
    doc="One training example a row: a target frame of one person and its kept references. Self-contained.",
    columns=(
        _text("sample_id", "clip, shot, person and target frame, joined by '/'"),
        _text("source_id", "what splits are made by: all clips of one source share it"),
        _text("clip_id", "the clip"),
        _text("track_id", "clip, shot and person, joined by '/'"),
        _integer("frame_index", "frame of the clip the target is"),
        _real("pts_s", "its presentation time", "s"),
        _IMAGE,
        _intrinsics("K", "intrinsics of the target's crop at image size"),
        Column(
            name="input_depth",
            dtype="uint16",
            shape=(IMAGE_PX, IMAGE_PX),
            unit="m",
            codec="map",
            scale=1e-4,
            differences=2,
            doc="base depth at image size, 0 = background",
        ),
        Column(
            name="base_depth",
            dtype="uint16",
            shape=(MAP_PX, MAP_PX),
            unit="m",
            codec="map",
            scale=1e-4,
            differences=2,
            doc="base depth at map size, 0 = background",
        ),
        Column(
            name="body_vector", dtype="float32", shape=(VECTOR_SIZE,), doc="[s, tx, ty | 72 pose | 10 betas]"
        ),
        _integer("reference_count", "how many references follow"),
        _real("mean_baseline_m", "mean over the references", "m"),
        _real("valid_fraction", "mean over the references", "1"),
        Column(name="references", codec="list", dtype="struct", fields=REFERENCE, doc="the kept references"),
    ),
)

FRAMES = TableSpec(
    name="frames",
    version=2,
    doc="Every tracked frame of every person, kept or gated out.",
    columns=(
        _text("source_id", "source of the clip"),
        _text("clip_id", "the clip"),
        _text("track_id", "clip, shot and person, joined by '/'"),
        _integer("shot_index", "shot within the clip"),
        _integer("person_index", "person within the shot"),
        _integer("frame_index", "frame of the clip, counted in decoding order"),
        _real("pts_s", "presentation time", "s"),
        Column(
            name="box_px", dtype="float64", shape=(4,), unit="px", doc="person box left, top, right, bottom"
        ),
        Column(
            name="crop_px",
            dtype="float64",
            shape=(3,),
            unit="px",
            doc="square crop: centre u, centre v, side",
        ),
        _intrinsics("K", "intrinsics of the crop at image size"),
        Column(
            name="body_vector",
            dtype="float32",
            shape=(VECTOR_SIZE,),
            doc="[s, tx, ty | 72 pose | 10 betas], refined where the setting says so: what samples are made from",
        ),
        Column(
            name="tracked_vector",
            dtype="float32",
            shape=(VECTOR_SIZE,),
            doc="the same as the tracker found it, before any refinement",
        ),
        _real("detector_score", "confidence that a person is there", "1"),
        _real("reprojection_error", "mean 2-D landmark error as a share of the person's height", "1"),
        _real("silhouette_iou", "overlap of the body's silhouette with the segmentation", "1"),
        _real("acceleration_mm", "mean acceleration of the body's landmarks per squared 1/30 s", "mm"),
        _real("border_distance_px", "distance of the person's box to the image border", "px"),
        _real("overlap", "largest box overlap (IoU) with another person", "1"),
        _flag("kept", "whether the frame may become a target or a reference"),
        _text("reason", "why not; empty when kept"),
    ),
)

SURFACES = TableSpec(
    name="surfaces",
    version=1,
    doc="The dressed shape of every refined track: what all its frames show, along the normals of the body's skin.",
    columns=(
        _text("source_id", "source of the clip"),
        _text("clip_id", "the clip"),
        _text("track_id", "clip, shot and person, joined by '/'"),
        _integer("frames", "kept frames that it is averaged over"),
        _real("mean_sigma_m", "mean standard deviation over the vertices", "m"),
        Column(
            name="vertices",
            codec="list",
            dtype="struct",
            fields=(
                Column(name="offset_m", dtype="float32", unit="m", doc="how far outwards the surface lies"),
                Column(
                    name="sigma_m",
                    dtype="float32",
                    unit="m",
                    doc="its standard deviation, the prior's at most",
                ),
            ),
            doc="in the order of the body's vertices; slow over the surface (nodes every refine.node_spacing_m)",
        ),
    ),
)

PAIRS = TableSpec(
    name="pairs",
    version=3,
    doc="Every candidate pair of frames, kept or dropped, with the numbers that decided.",
    columns=(
        _text("source_id", "source of the clip"),
        _text("clip_id", "the clip"),
        _text("track_id", "clip, shot and person, joined by '/'"),
        _integer("target_frame", "frame index of the target"),
        _integer("reference_frame", "frame index of the reference"),
        _integer("gap_frames", "reference minus target"),
        _real("gap_s", "the same in presentation time", "s"),
        _flag(
            "estimated",
            "the numbers come from vertices; maps were not rendered because the pair was dropped before",
        ),
        *_PAIR_NUMBERS,
        _real("target_depth_m", "mean base depth of the target", "m"),
        _real("focal_px", "focal length at map size that these numbers assume", "px"),
        _real(
            "photo_error", "mean |I_t - I_r warped by the base depth| over valid pixels", "1", nullable=True
        ),
        _real(
            "textured_fraction",
            "share of the common surface's patches whose texture fixes a place across the depth direction",
            "1",
            nullable=True,
        ),
        _real("matched_fraction", "share of those that the reference shows again", "1", nullable=True),
        _real(
            "across_px",
            "median distance in map pixels from where the bodies say, across the depth direction: bodies' errors",
            "px",
            nullable=True,
        ),
        _real("along_px", "the same along it: depth to be learned, and bodies' errors", "px", nullable=True),
        _real(
            "misalignment_px",
            "1.7456 across_px: median length in map pixels of the bodies' errors, not counting what depth explains",
            "px",
            nullable=True,
        ),
        _flag("kept", "whether the pair is a reference of a sample"),
        _text("reason", "why not; empty when kept"),
    ),
)

CLIPS = TableSpec(
    name="clips",
    version=3,
    doc="Every unit of work that was read: what it was and what came of it.",
    columns=(
        _text("source_id", "source of the clip"),
        _text("clip_id", "the clip"),
        _text("unit_id", "the unit of work: a window inside one shot"),
        _text("uri", "where it was read from"),
        _text("licence", "licence of the source, as given"),
        _text("input_sha256", "digest of the file's bytes"),
        _integer("shot_index", "shot within the clip"),
        _real("start_s", "first presentation time", "s"),
        _real("end_s", "end of the window", "s"),
        _integer("width_px", "upright width of the video", "px"),
        _integer("height_px", "upright height of the video", "px"),
        _text(
            "focal_source",
            "where the focal length is from: `given`, `file`, `estimated`, or `assumed` (the medium lens)",
        ),
        _real(
            "focal_uncertainty",
            "standard deviation of the logarithm of an estimated focal length",
            "1",
            nullable=True,
        ),
        _text(
            "notes", "what reading the film took beyond plain decoding (tone mapping, ...), joined by '; '"
        ),
        _integer("frames_read", "frames decoded"),
        _integer("tracks", "people tracked"),
        _integer("frames_kept", "frames that passed the gates"),
        _integer("pairs_kept", "pairs kept as references"),
        _integer("samples", "samples written"),
        _text("outcome", "`kept`, or the reason of its failure"),
    ),
)

FAILURES = TableSpec(
    name="failures",
    version=2,
    doc="What could not be done, why, and what to do about it.",
    columns=(
        _text("source_id", "source of the clip"),
        _text("clip_id", "the clip"),
        _text("unit_id", "the unit of work, or the clip where none could be cut"),
        _text("uri", "where it was to be read from"),
        _text("stage", "`probe`, `track` or `render`"),
        _text("reason", "stable slug"),
        _text("message", "what was wrong, with the value"),
        _text("remedy", "what to do"),
        _flag("retryable", "whether trying again can help"),
        _integer("attempts", "how often it has been tried"),
    ),
)

TABLES: dict[str, TableSpec] = {
    table.name: table for table in (SAMPLES, FRAMES, SURFACES, PAIRS, CLIPS, FAILURES)
}
