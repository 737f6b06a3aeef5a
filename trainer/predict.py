"""Depth of people in rows of a dataset and in photos: base depth plus what the network adds.

The only place where the trainer meets the pipeline: a photo's base depth comes from `pipeline.steps`, imported when
it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from torch import Tensor

from schemas.conventions import IMAGE_PX, MAP_PX
from schemas.errors import (
    CheckpointError,
    DatasetError,
    DecodeError,
    HumandepthError,
    NobodyFoundError,
    SourceError,
)
from schemas.prediction import Prediction, prediction_path
from trainer.batch import decode_image, network_input
from trainer.checkpoint import Checkpoint
from trainer.config import DataSettings
from trainer.data import SampleRef, Samples, naming, read_index
from trainer.depth_files import write_depth_files
from trainer.model import ReconNet
from trainer.remote import open_dataset
from trainer.turntable import turntable, write_turntable

if TYPE_CHECKING:
    from pipeline.steps import PhotoBody


PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi")


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """One person to predict the depth of."""

    name: str
    image: np.ndarray
    """(512, 512, 3) float32 RGB in [0, 1]."""
    K: np.ndarray
    """(3, 3) at 512."""
    input_depth: np.ndarray
    """(512, 512) float32 metres."""
    base_depth: np.ndarray
    """(256, 256) float32 metres."""


class Predictor:
    """A trained network, ready to use."""

    def __init__(self, checkpoint: Checkpoint, device: str | None = None) -> None:
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._model: ReconNet = checkpoint.model().to(self._device).eval()
        self._settings: DataSettings = checkpoint.settings.data

    def predict(self, subject: Subject) -> Prediction:
        """depth = base depth + offset inside the mask, 0 outside (method, section 5)."""
        return self.predict_together([subject])[0]

    def predict_together(self, subjects: Sequence[Subject]) -> list[Prediction]:
        """`predict` of several in one pass of the network, in their order."""
        inputs = [network_input(each.image, each.input_depth, self._settings) for each in subjects]
        offsets = self._offset(torch.stack(inputs))[:, 0].cpu().numpy()
        return [_prediction(subject, offset) for subject, offset in zip(subjects, offsets, strict=True)]

    @torch.no_grad()
    def _offset(self, inputs: Tensor) -> Tensor:
        # Not in TF32, torch's default for convolutions on a GPU: ten bits would cost a tenth of a millimetre.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return self._model(inputs.to(self._device))


def _prediction(subject: Subject, offset_m: np.ndarray) -> Prediction:
    if not np.isfinite(offset_m).all():
        raise CheckpointError("the network gives no finite depth.", remedy="Train again with a lower rate.")
    base = subject.base_depth.astype(np.float32)
    K = subject.K * np.array([[MAP_PX / IMAGE_PX], [MAP_PX / IMAGE_PX], [1.0]])
    depth = np.where(base > 0, base + offset_m, 0).astype(np.float32)
    return Prediction(depth_m=depth, base_depth_m=base, K=K)


def predict_into(
    folder: Path,
    subjects: Iterator[Subject],
    predictor: Predictor,
    *,
    only_npz: bool = False,
    with_turntable: bool = False,
    batch_size: int = 1,
    report: Callable[[int, str], None] = lambda done, name: None,
) -> list[Path]:
    """Writes each subject's prediction (npz) and, unless `only_npz`, the files people open; returns the npz paths.

    Beside NAME.npz lie NAME-depth.png (16 bit), NAME-normals.png, NAME.ply and NAME.glb (coloured mesh), NAME.png
    (figure), and NAME.gif (turntable) where wanted. `batch_size` subjects go through the network together. `report`
    hears of each.
    """
    written: list[Path] = []
    for subject, prediction in _predicted(subjects, predictor, batch_size):
        path = prediction_path(folder, subject.name)
        if path in written:
            raise SourceError(f"{subject.name} is given twice.", remedy="Name each photo or sample once.")
        prediction.save(path)
        if not only_npz:
            image = cv2.resize(subject.image, (MAP_PX, MAP_PX), interpolation=cv2.INTER_AREA)
            write_depth_files(path.with_suffix(""), prediction, image)
            if with_turntable:
                write_turntable(path.with_suffix(".gif"), turntable(prediction, image))
        written.append(path)
        report(len(written), subject.name)
    return written


def _predicted(
    subjects: Iterator[Subject], predictor: Predictor, batch_size: int
) -> Iterator[tuple[Subject, Prediction]]:
    while together := list(islice(subjects, batch_size)):
        yield from zip(together, predictor.predict_together(together), strict=True)


def subjects_of_dataset(
    root: str, sample_ids: Sequence[str] = (), per_track: int | None = None
) -> Iterator[Subject]:
    """Samples by id, or `per_track` evenly spread over every track, or all of them."""
    index = read_index(open_dataset(root))
    chosen = chosen_positions(index, sample_ids, per_track)
    samples = Samples([index[at] for at in chosen], DataSettings(), seed=0, training=False)
    for position in range(len(samples)):
        row = samples.row(position)
        with naming(samples.refs[position]):
            image = decode_image(row["image"], IMAGE_PX)
        yield Subject(
            name=row["sample_id"],
            image=image,
            K=row["K"],
            input_depth=row["input_depth"],
            base_depth=row["base_depth"],
        )


def chosen_positions(
    index: Sequence[SampleRef], sample_ids: Sequence[str], per_track: int | None
) -> list[int]:
    if sample_ids:
        places = {ref.sample_id: at for at, ref in enumerate(index)}
        unknown = [sample_id for sample_id in sample_ids if sample_id not in places]
        if unknown:
            raise DatasetError(
                f"the dataset holds no sample {unknown[0]!r}.",
                remedy="See the column sample_id of `samples`.",
            )
        return [places[sample_id] for sample_id in sample_ids]
    if per_track is None:
        return list(range(len(index)))
    tracks: dict[str, list[int]] = {}
    for at, ref in enumerate(index):
        tracks.setdefault(ref.track_id, []).append(at)
    chosen: list[int] = []
    for places_of_track in tracks.values():
        spread = np.linspace(0, len(places_of_track) - 1, per_track + 2)[1:-1].round().astype(int)
        chosen += [places_of_track[at] for at in sorted(set(spread.tolist()))]
    return sorted(chosen)


def subjects_of_files(
    paths: Sequence[str],
    focal_px: float | None = None,
    *,
    every: int = 1,
    warn: Callable[[str], None] = lambda line: None,
) -> Iterator[Subject]:
    """Every person in photos, in videos (every `every`-th usable frame), and in the photos and videos of folders.

    A single file that cannot be used raises SourceError, DecodeError or NobodyFoundError; of several, those that cannot
    are named to `warn`, and the first error is raised when none can.
    """
    files = [file for path in paths for file in _files_in(Path(path))]
    names = [file.stem for file in files]
    errors: list[HumandepthError] = []
    for file in files:
        name = file.stem if names.count(file.stem) == 1 else "-".join(file.parts[-2:])
        try:
            if file.suffix.lower() in VIDEO_SUFFIXES:
                yield from _subjects_of_video(file, name, focal_px, every)
            else:
                yield from _subjects_of_photo(file, name, focal_px)
        except HumandepthError as error:
            errors.append(error)
            if len(files) > 1:
                warn(f"left out: {error}")
    if len(errors) == len(files):
        raise errors[0]


def _files_in(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    known = (*PHOTO_SUFFIXES, *VIDEO_SUFFIXES)
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in known and file.is_file())
    if not files:
        raise SourceError(f"{path} holds no photo and no video.", remedy=f"Known are {', '.join(known)}.")
    return files


def _subjects_of_photo(path: Path, name: str, focal_px: float | None) -> Iterator[Subject]:
    from pipeline.steps import photo_bodies

    try:
        bodies = photo_bodies(_read_photo(path), focal_px=focal_px)
    except NobodyFoundError as error:
        raise NobodyFoundError(f"{path}: {error.message}", remedy=error.remedy) from error
    for number, body in enumerate(bodies):
        yield _subject(name + (f"-{number}" if len(bodies) > 1 else ""), body)


def _subjects_of_video(path: Path, name: str, focal_px: float | None, every: int) -> Iterator[Subject]:
    from pipeline.steps import video_bodies

    for place, body in video_bodies(str(path), focal_px=focal_px, every=every):
        yield _subject(f"{name}/{place.partition('/')[2] or place}", body)


def _subject(name: str, body: PhotoBody) -> Subject:
    return Subject(
        name=name,
        image=body.image.astype(np.float32) / 255,
        K=body.K,
        input_depth=body.input_depth,
        base_depth=body.base_depth,
    )


def _read_photo(path: Path) -> np.ndarray:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}.", remedy="Check the path.") from error
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise DecodeError(f"{path} is not a photo.", remedy="Give a JPEG, PNG or WebP file.")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
