"""The motion field: against scipy one by one, against batched SVD, and against merely touching the data."""

from __future__ import annotations

import numpy as np
from numba import njit

from pipeline.geometry.motion import motion_field
from tests.benchmarks.dense_body import VERTEX_COUNT, dense_pair
from tests.benchmarks.measuring import Benchmark, Call
from tests.benchmarks.peers import SparseSvd
from tests.support.oracles import fit_one_by_one
from tests.support.surfaces import points

ON = f"motion field of {VERTEX_COUNT:,} vertices, two-rings"


def benchmarks() -> list[Benchmark]:
    """Entries of build/benchmarks.json."""
    return [
        Benchmark(
            name="procrustes_vs_align_vectors",
            detail=f"{ON}; peer: a loop of scipy's Rotation.align_vectors",
            prepare=_align_vectors,
            max_rounds=5,
        ),
        Benchmark(
            name="procrustes_vs_batched_svd",
            detail=f"{ON}; peer: sparse neighbourhood sums and numpy's batched SVD",
            prepare=_batched_svd,
        ),
        Benchmark(
            name="procrustes_vs_floor",
            detail=f"{ON}; peer: a compiled loop that only reads the neighbours and writes 12 numbers a vertex",
            prepare=_floor,
            max_rounds=201,
        ),
    ]


def _ours() -> Call:
    pair, rings = dense_pair()
    target, reference = points(pair.target), points(pair.reference)
    return lambda: motion_field(target=target, reference=reference, rings=rings)


def _align_vectors() -> tuple[Call, Call]:
    pair, rings = dense_pair()
    everyone = np.arange(len(pair.target))
    field = _ours()()
    some = everyone[::97]
    assert (
        np.abs(fit_one_by_one(pair.target, pair.reference, rings, some)[0] - field.rotation[some]).max()
        < 1e-7
    )
    return _ours(), lambda: fit_one_by_one(pair.target, pair.reference, rings, everyone)


def _batched_svd() -> tuple[Call, Call]:
    pair, rings = dense_pair()
    peer = SparseSvd(rings)
    assert np.abs(peer.fit(pair.target, pair.reference)[0] - _ours()().rotation).max() < 1e-7
    return _ours(), lambda: peer.fit(pair.target, pair.reference)


def _floor() -> tuple[Call, Call]:
    pair, rings = dense_pair()
    target, reference = np.ascontiguousarray(pair.target), np.ascontiguousarray(pair.reference)

    def peer() -> None:
        rotation, translation = np.empty((len(target), 3, 3)), np.empty((len(target), 3))
        _gather_and_write(target, reference, rings.indptr, rings.indices, rotation, translation)

    return _ours(), peer


@njit(error_model="numpy")
def _gather_and_write(target, reference, indptr, indices, rotation, translation):
    """Reads every neighbour's two positions once and writes every output once, with one addition per number read."""
    for c in range(target.shape[0]):
        ax = ay = az = bx = by = bz = 0.0
        for k in range(indptr[c], indptr[c + 1]):
            i = indices[k]
            ax += reference[i, 0]
            ay += reference[i, 1]
            az += reference[i, 2]
            bx += target[i, 0]
            by += target[i, 1]
            bz += target[i, 2]
        for j in range(3):
            rotation[c, j, 0], rotation[c, j, 1], rotation[c, j, 2] = ax + bx, ay + by, az + bz
            translation[c, j] = ax
