"""From clips to samples: how many are left at every stage, and why the others are not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.audit.scalars import OUTSIDE_SELECTION, AuditTables, codes, dictionary, text_counts

MEANINGS = {
    "high-reprojection-error": "the body's landmarks do not lie on the person's",
    "low-silhouette-iou": "the body's outline does not cover the person",
    "at-image-border": "the person is cut off by the image border",
    "low-score": "the detector is not sure that this is a person",
    "people-overlap": "another person is in the way",
    "below-baseline": "the person turned too little between the two frames",
    "turned-too-far": "the person turned so far that little surface is seen in both frames",
    "baseline-over-depth": "the baseline is larger than the distance to the person",
    "little-common-surface": "too few pixels are seen in both frames",
    "misaligned": "bodies and pictures disagree by more than pairs.max_misalignment_px",
    "enough-references": "a good pair, but the target has enough references with wider views",
    OUTSIDE_SELECTION: "kept when the dataset was made, left out by the selection",
    "nobody-found": "no person could be tracked",
    "nothing-kept": "every frame or pair was dropped",
    "undecodable": "not a video that can be decoded",
    "no-frame-kept": "every frame of the person was dropped",
}
"""What the reasons in the tables mean, for someone who has not read the code."""

_EXAMPLES = 3


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Why some did not reach the next stage."""

    reason: str
    meaning: str
    count: int
    share: float
    """Of all that reached this stage."""
    examples: list[str]
    """A few of them by name."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of the funnel."""

    name: str
    count: int
    losses: list[Loss]


def funnel(tables: AuditTables) -> list[Stage]:
    """Clips, shots, units, people, frames, frames kept, pairs tried, pairs kept, samples."""
    clips, frames = tables.clips, tables.frames
    shots = codes(clips, "clip_id").astype(np.int64) << 32 | clips["shot_index"].to_numpy()
    kept_frames = np.asarray(frames["kept"].to_numpy(zero_copy_only=False), bool)
    candidates = len(tables.kept)
    return [
        Stage(name="clips", count=len(np.unique(codes(clips, "clip_id"))), losses=[]),
        Stage(name="shots", count=len(np.unique(shots)), losses=[]),
        Stage(name="units of work", count=clips.num_rows, losses=_unit_losses(tables)),
        Stage(name="people tracked", count=len(dictionary(frames, "track_id")), losses=_track_losses(tables)),
        Stage(name="frames tracked", count=frames.num_rows, losses=_frame_losses(tables)),
        Stage(name="frames kept", count=int(kept_frames.sum()), losses=[]),
        Stage(name="pairs tried", count=candidates, losses=pair_losses(tables)),
        Stage(name="pairs kept", count=int(tables.kept.sum()), losses=[]),
        Stage(name="samples", count=tables.samples_left(tables.kept), losses=[]),
    ]


def pair_name(tables: AuditTables, row: int) -> str:
    """A pair as `python -m pipeline show pair DATASET` takes it."""
    pair = tables.pairs.slice(row, 1).select(["track_id", "target_frame", "reference_frame"]).to_pylist()[0]
    return f"{pair['track_id']}/{pair['target_frame']} --reference {pair['reference_frame']}"


def pair_losses(tables: AuditTables) -> list[Loss]:
    """Reasons of pairs that were dropped, most frequent first."""
    rows, texts = codes(tables.pairs, "reason"), dictionary(tables.pairs, "reason").to_pylist()
    dropped = ~tables.made_kept
    losses = []
    for reason, count in text_counts(tables.pairs, "reason", dropped).items():
        places = np.flatnonzero(dropped & (rows == texts.index(reason)))[:_EXAMPLES]
        losses.append(_loss(reason, count, len(rows), [pair_name(tables, int(row)) for row in places]))
    outside = np.flatnonzero(tables.made_kept & ~tables.kept)
    if outside.size:
        names = [pair_name(tables, int(row)) for row in outside[:_EXAMPLES]]
        losses.append(_loss(OUTSIDE_SELECTION, outside.size, len(rows), names))
    return losses


def _unit_losses(tables: AuditTables) -> list[Loss]:
    clips = tables.clips
    outcomes = text_counts(clips, "outcome")
    rows, texts = codes(clips, "outcome"), dictionary(clips, "outcome").to_pylist()
    losses = []
    for reason, count in outcomes.items():
        if reason != "kept":
            places = np.flatnonzero(rows == texts.index(reason))[:_EXAMPLES]
            names = [clips["unit_id"][int(row)].as_py() for row in places]
            losses.append(_loss(reason, count, clips.num_rows, names))
    return losses


def _track_losses(tables: AuditTables) -> list[Loss]:
    frames = tables.frames
    names = dictionary(frames, "track_id").to_pylist()
    kept = np.asarray(frames["kept"].to_numpy(zero_copy_only=False), bool)
    left = np.bincount(codes(frames, "track_id")[kept], minlength=len(names))
    lost = [name for name, count in zip(names, left) if not count]
    return [_loss("no-frame-kept", len(lost), len(names), lost[:_EXAMPLES])] if lost else []


def _frame_losses(tables: AuditTables) -> list[Loss]:
    frames = tables.frames
    rows, texts = codes(frames, "reason"), dictionary(frames, "reason").to_pylist()
    losses = []
    for reason, count in text_counts(frames, "reason").items():
        places = np.flatnonzero(rows == texts.index(reason))[:_EXAMPLES]
        names = [
            f"{frames['track_id'][int(row)].as_py()}/{frames['frame_index'][int(row)].as_py()}"
            for row in places
        ]
        losses.append(_loss(reason, count, frames.num_rows, names))
    return losses


def _loss(reason: str, count: int, total: int, examples: list[str]) -> Loss:
    meaning = MEANINGS.get(reason, "")
    return Loss(
        reason=reason, meaning=meaning, count=int(count), share=count / max(1, total), examples=examples
    )
