"""What `predict` leaves in its folder: a person's depth in their crop, and everybody's in the picture's own pixels.

NAME.npz                one person: depth_m, base_depth_m, K; where the crop lies in its picture
NAME-depth.png, ...     what people open (`depth_files`)
full/PICTURE.npz        the whole picture: the same arrays in its pixels, and who is seen where (`person`)
full/PICTURE-depth.png, ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from schemas.conventions import MAP_PX
from schemas.errors import SourceError
from schemas.prediction import Prediction, prediction_path
from trainer.depth_files import depth_mesh, write_depth_files, write_picture_files
from trainer.predictor import DepthPredictor
from trainer.put_back import pasted, whole_picture
from trainer.subject import Subject
from trainer.turntable import turntable, write_turntable

FULL = "full"
"""Folder of whole pictures inside that of the predictions."""


def predict_into(
    folder: Path,
    subjects: Iterator[Subject],
    predictor: DepthPredictor,
    *,
    only_npz: bool = False,
    with_turntable: bool = False,
    batch_size: int = 1,
    on_written: Callable[[int, str], None] = lambda done, name: None,
) -> list[Path]:
    """Writes each subject's prediction (npz) and, unless `only_npz`, the files people open; returns the npz paths.

    Beside NAME.npz lie NAME-depth.png (16 bit), NAME-normals.png, NAME.ply and NAME.glb (coloured mesh), NAME.png
    (figure), and NAME.gif (turntable) where wanted. Where the place in the picture is known, `full/` holds the same of
    the whole picture; people of one picture follow one another. `batch_size` subjects go through the network together.
    `on_written` is called after each
    with their number and its name.
    """
    written: list[Path] = []
    whole = _WholePictures(folder / FULL, only_npz=only_npz)
    for subject, prediction in _predicted(subjects, predictor, batch_size):
        path = prediction_path(folder, subject.name)
        if path in written:
            raise SourceError(
                f"two subjects are named {subject.name}: their files would replace each other.",
                remedy="Name each photo or sample once.",
            )
        prediction.save(path)
        if not only_npz:
            image = cv2.resize(subject.image, (MAP_PX, MAP_PX), interpolation=cv2.INTER_AREA)
            write_depth_files(path.with_suffix(""), prediction, image)
            if with_turntable:
                write_turntable(path.with_suffix(".gif"), turntable(prediction, image))
        whole.add(subject, prediction)
        written.append(path)
        on_written(len(written), subject.name)
    whole.write()
    return written


class _WholePictures:
    """Collects the people of one picture and writes it when another begins."""

    def __init__(self, folder: Path, *, only_npz: bool) -> None:
        self._folder, self._only_npz = folder, only_npz
        self._people: list[tuple[Subject, Prediction]] = []

    def add(self, subject: Subject, prediction: Prediction) -> None:
        if self._people and self._people[0][0].picture_name != subject.picture_name:
            self.write()
        if subject.placement is not None:
            self._people.append((subject, prediction))

    def write(self) -> None:
        if not self._people:
            return
        people, self._people = self._people, []
        subjects, predictions = zip(*people, strict=True)
        whole = whole_picture(predictions)
        path = prediction_path(self._folder, subjects[0].picture_name)
        whole.save(path)
        if self._only_npz:
            return
        if subjects[0].picture is not None:
            picture = subjects[0].picture.astype(np.float32) / 255
        else:
            picture = pasted([each.image for each in subjects], [each.placement for each in predictions])
        small = [cv2.resize(each.image, (MAP_PX, MAP_PX), interpolation=cv2.INTER_AREA) for each in subjects]
        meshes = [depth_mesh(each, image) for each, image in zip(predictions, small, strict=True)]
        write_picture_files(path.with_suffix(""), whole, picture, meshes)


def _predicted(
    subjects: Iterator[Subject], predictor: DepthPredictor, batch_size: int
) -> Iterator[tuple[Subject, Prediction]]:
    while together := list(islice(subjects, batch_size)):
        yield from zip(together, predictor.predict_together(together), strict=True)
