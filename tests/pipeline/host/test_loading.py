"""What a worker sets once: garbage collection while libraries load, OpenCV's threads."""

import gc
import subprocess
import sys

import pytest

from pipeline.host.loading import without_collection


@pytest.mark.parametrize("was_enabled", [True, False])
def test_collection_is_as_it_was_afterwards(was_enabled: bool) -> None:
    before = gc.isenabled()
    try:
        (gc.enable if was_enabled else gc.disable)()
        with pytest.raises(KeyError, match="False"), without_collection():
            raise KeyError(gc.isenabled())
        assert gc.isenabled() == was_enabled
    finally:
        (gc.enable if before else gc.disable)()


FROZEN = """
import gc
from pipeline.host.loading import without_collection
with without_collection():
    import csv, decimal
frozen = gc.get_freeze_count()
assert frozen > 1000, frozen
kept = [[] for _ in range(100)]
with without_collection():
    import csv, decimal  # loaded already: a caller's own objects go on being looked through
assert gc.get_freeze_count() <= frozen, gc.get_freeze_count()
"""


def test_what_loading_made_is_not_looked_through_again() -> None:
    subprocess.run([sys.executable, "-c", FROZEN], check=True)


PANDAS = """
import sys
from pipeline.host.loading import without_pandas
with without_pandas():
    try:
        import pandas
    except ModuleNotFoundError:
        pass
import pyarrow as pa
table = pa.Table.from_pylist([{"a": [1.5], "b": "x"}, {"a": None, "b": None}])
assert table.to_pylist() == [{"a": [1.5], "b": "x"}, {"a": None, "b": None}]
assert "pandas" not in sys.modules
import pandas  # of the development dependencies
assert pandas.DataFrame is not None
"""


def test_pandas_is_left_out_and_found_afterwards() -> None:
    subprocess.run([sys.executable, "-c", PANDAS], check=True)


PICTURES = """
import sys
from pipeline.host.picture_threads import one_thread_for_pictures
assert "cv2" not in sys.modules
one_thread_for_pictures()
import cv2
assert cv2.getNumThreads() == 1, cv2.getNumThreads()
"""


def test_opencv_has_one_thread() -> None:
    subprocess.run([sys.executable, "-c", PICTURES], check=True)
