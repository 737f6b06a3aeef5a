"""The method: a segment of film in, rows of every table out. No framework, no files of a dataset.

    from pipeline.method import PictureBodies, Resources, process_segment
    process_segment(segment, Resources(settings), lambda table, row: rows[table].append(row))
    for person in PictureBodies().of_photo(image): ...

Every name below is imported when it is first used: trackers load the runtimes of their networks.
"""

from typing import TYPE_CHECKING

from schemas.exports import on_demand

if TYPE_CHECKING:
    from pipeline.method.picture_bodies import PhotoBody, PictureBodies
    from pipeline.method.rendered_frames import RenderedFrames, body_from_vector
    from pipeline.method.resources import Resources
    from pipeline.method.rows import Emit
    from pipeline.method.samples import TargetRows, target_rows
    from pipeline.method.segment import process_segment, render_segment, track_segment

__all__ = [
    "Emit",
    "PhotoBody",
    "PictureBodies",
    "RenderedFrames",
    "Resources",
    "TargetRows",
    "body_from_vector",
    "process_segment",
    "render_segment",
    "target_rows",
    "track_segment",
]

__getattr__, __dir__ = on_demand(
    __name__,
    {
        "pipeline.method.picture_bodies": "PhotoBody PictureBodies",
        "pipeline.method.rendered_frames": "RenderedFrames body_from_vector",
        "pipeline.method.resources": "Resources",
        "pipeline.method.rows": "Emit",
        "pipeline.method.samples": "TargetRows target_rows",
        "pipeline.method.segment": "process_segment render_segment track_segment",
    },
)
