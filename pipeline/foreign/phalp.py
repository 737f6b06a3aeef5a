"""4D-Humans and TokenHMR: the tracks that PHALP writes, a joblib file of a dictionary by picture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pipeline.body.inert_pickle import dense_array
from pipeline.foreign.film import Film, Results
from pipeline.foreign.rotations import root_and_body
from pipeline.foreign.rows import frame_numbers, joined, part, ten_betas, with_virtual_lens

FOCAL_PX, CROP_PX = 5000.0, 256.0
"""Its lens: 5000 px for a picture whose longer side is 256 px."""
UNNEEDED = frozenset(
    (
        "appe",
        "loca",
        "pose",
        "uv",
        "center",
        "scale",
        "bbox",
        "tracked_bbox",
        "camera_bbox",
        "3d_joints",
        "2d_joints",
        "mask",
        "vertices",
        "prediction_uv",
        "prediction_pose",
        "prediction_loca",
    )
)


def from_phalp(contents: Any, film: Film) -> Results:
    """{picture: {time, tid, tracked_ids, smpl, camera, size, ...}}: rotation matrices, and places through its lens.

    The lists are parallel to `tid`, which keeps people for some time after they were lost, with their last body;
    `tracked_ids` are those who were seen in this frame. Only they have bodies here.
    """
    names = [name for name, frame in contents.items() if isinstance(frame, dict) and "tid" in frame]
    if not names:
        raise KeyError(
            f"no frame has a list 'tid'; at the top there is {', '.join(map(repr, list(contents)[:5]))}"
        )
    places = frame_numbers(names)
    found = []
    for name, place in zip(names, places):
        frame = contents[name]
        number = int(frame["time"]) if "time" in frame else place
        found += [(number, person, frame, at) for person, at in _seen(frame, name)]
    focal = [FOCAL_PX / CROP_PX * max(_size(frame, at, film)) for _, _, frame, at in found]
    size = _size(*found[0][2:], film) if found else None
    smpl = [frame["smpl"][at] for _, _, frame, at in found]
    rows: dict[str, Any] = {"person": [person for _, person, _, _ in found]}
    if found:
        rows |= {
            "frame_index": [number for number, _, _, _ in found],
            "pose": root_and_body(_stacked(smpl, "global_orient"), _stacked(smpl, "body_pose"), 23),
            "betas": ten_betas(_stacked(smpl, "betas").reshape(len(smpl), -1), len(smpl)),
            "translation_m": np.stack([_three(frame["camera"][at]) for _, _, frame, at in found]),
            "focal_px": focal,
        }
    return Results(bodies=with_virtual_lens(joined([rows]), film, size), frame_count=len(names))


def _seen(frame: dict[str, Any], name: str) -> Iterator[tuple[int, int]]:
    """Each person that was seen in a frame, and their place in its lists."""
    ids = [int(person) for person in part(frame, "tid")]
    for key in ("smpl", "camera"):
        if len(part(frame, key)) != len(ids):
            raise ValueError(f"frame {name!r} has {len(frame[key])} of {key!r} for {len(ids)} of 'tid'")
    if "tracked_ids" in frame:
        seen = {int(person) for person in frame["tracked_ids"]}
    else:  # how long each has been lost says the same
        lost = frame.get("tracked_time", [0] * len(ids))
        seen = {person for person, frames_ago in zip(ids, lost, strict=True) if int(frames_ago) == 0}
    for at, person in enumerate(ids):
        if person in seen:
            seen.remove(person)
            yield person, at


def _size(frame: dict[str, Any], at: int, film: Film) -> tuple[int, int]:
    """(h, w) of the picture."""
    if "size" not in frame:
        return film.size()
    height, width = map(int, frame["size"][at])
    return height, width


def _stacked(people: list[Any], key: str) -> np.ndarray:
    return np.stack([dense_array(part(person, key)) for person in people])


def _three(values: Any) -> np.ndarray:
    return np.asarray(dense_array(values), dtype=np.float64).reshape(3)
