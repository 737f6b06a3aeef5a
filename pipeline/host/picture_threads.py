"""How many threads OpenCV draws and resamples pictures with."""

from __future__ import annotations

from functools import cache


@cache
def one_thread_for_pictures() -> None:
    """From now on OpenCV uses one thread of this process: workers share a machine by units, as kernels do.

    Its threads wait for each other by asking for work again and again, which takes a fiftieth of a run's CPU time on
    two cores. Pictures are the same, whatever their number.
    """
    import cv2  # not for processes that only name this function

    cv2.setNumThreads(1)
