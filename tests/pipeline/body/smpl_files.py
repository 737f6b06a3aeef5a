"""Files as SMPL's makers ship them: a pickle of chumpy and scipy-sparse objects, here with made-up numbers."""

from __future__ import annotations

import pickle
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from scipy import sparse

from pipeline.body.model import BodyModel
from pipeline.body.smpl_layout import JOINT_PARENTS

RINGS, SEGMENTS = 82, 84
"""A sphere of 2 + 82 x 84 = 6890 vertices has 13776 faces, as SMPL has."""


@contextmanager
def pretended_chumpy() -> Iterator[types.ModuleType]:
    """A module `chumpy.ch` for the time of writing: chumpy itself does not install any more."""
    package, ch, reordering = (types.ModuleType(n) for n in ("chumpy", "chumpy.ch", "chumpy.reordering"))
    for module, name in ((ch, "Ch"), (reordering, "Select")):
        kind = type(name, (), {"__module__": module.__name__})
        setattr(module, name, kind)
    names = {"chumpy": package, "chumpy.ch": ch, "chumpy.reordering": reordering}
    sys.modules |= names
    try:
        yield package
    finally:
        for name in names:
            del sys.modules[name]


def chumpy_array(values: np.ndarray) -> object:
    """A `chumpy.ch.Ch` as it is pickled: a dictionary with the numbers under x, among other things."""
    made = sys.modules["chumpy.ch"].Ch()
    made.__dict__ |= {"x": values, "_dirty_vars": {"x"}, "_itr": None, "_status": "new"}
    return made


def sphere(rings: int = RINGS, segments: int = SEGMENTS) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (6890, 3) and faces (13776, 3) of a person-sized ellipsoid, or of another number of rings."""
    polar = np.pi * np.arange(1, rings + 1) / (rings + 1)
    turn = 2 * np.pi * np.arange(segments) / segments
    ring = np.stack(
        [
            np.sin(polar)[:, None] * np.cos(turn),
            np.cos(polar)[:, None] * np.ones(segments),
            np.sin(polar)[:, None] * np.sin(turn),
        ],
        axis=-1,
    ).reshape(-1, 3)
    vertices = np.concatenate([[[0, 1, 0]], ring, [[0, -1, 0]]]) * [0.4, 0.9, 0.2]
    faces, last = [], len(vertices) - 1
    for segment in range(segments):
        beside = (segment + 1) % segments
        faces.append((0, 1 + beside, 1 + segment))
        for row in range(rings - 1):
            a, b = 1 + row * segments + segment, 1 + row * segments + beside
            faces += [(a, b, a + segments), (b, b + segments, a + segments)]
        low = 1 + (rings - 1) * segments
        faces.append((last, low + segment, low + beside))
    return vertices, np.array(faces)


def smpl_arrays(seed: int = 0, betas: int = 10) -> dict[str, np.ndarray]:
    """The numbers of a file; single precision shape and pose directions keep the tests quick."""
    rng = np.random.default_rng(seed)
    vertices, faces = sphere()
    open_body = BodyModel.open_body()
    regressor = np.zeros((24, len(vertices)))
    for joint, place in enumerate(open_body.joint_template):
        near = np.argsort(np.linalg.norm(vertices - place, axis=1))[:8]
        regressor[joint, near] = rng.dirichlet(np.ones(8))
    weights = np.zeros((len(vertices), 24))
    for column in range(4):
        weights[np.arange(len(vertices)), rng.integers(0, 24, len(vertices))] += 0.25 + 0 * column
    return {
        "v_template": vertices,
        "shapedirs": (0.01 * rng.standard_normal((len(vertices), 3, betas))).astype(np.float32),
        "posedirs": (1e-3 * rng.standard_normal((len(vertices), 3, 207))).astype(np.float32),
        "J_regressor": regressor,
        "weights": weights,
        "kintree_table": np.array([[2**32 - 1, *JOINT_PARENTS[1:]], range(24)], np.uint32),
        "f": faces.astype(np.uint32),
    }


def write_smpl(path: Path, arrays: dict[str, np.ndarray], protocol: int = 2) -> Path:
    """The arrays as SMPL's pickle: chumpy arrays, a sparse regressor, numpy's old module names."""
    with pretended_chumpy():
        contents = {key: chumpy_array(arrays[key]) for key in ("v_template", "posedirs", "weights")}
        select = sys.modules["chumpy.reordering"].Select()
        directions = arrays["shapedirs"]
        select.__dict__ |= {
            "a": chumpy_array(directions.reshape(-1)[::-1].copy()),
            "idxs": np.arange(directions.size)[::-1].copy(),
            "preferred_shape": directions.shape,
        }
        contents |= {
            "shapedirs": select,
            "J_regressor": sparse.csc_matrix(arrays["J_regressor"]),
            "kintree_table": arrays["kintree_table"],
            "f": arrays["f"],
            "bs_style": "lbs",
            "bs_type": "lrotmin",
        }
        data = pickle.dumps(contents, protocol=protocol)
    if protocol < 4:  # module names end in a line feed there, so they can be replaced
        data = data.replace(b"numpy._core.", b"numpy.core.").replace(
            b"scipy.sparse._csc", b"scipy.sparse.csc"
        )
    path.write_bytes(data)
    return path
