"""The programs whose results are known, by the names that `--format` takes, and those whose results are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline.foreign import phalp, prompthmr, romp, smplerx, tram, wham
from pipeline.foreign.amass import from_amass
from pipeline.foreign.cliff import UNNEEDED as CLIFF_UNNEEDED
from pipeline.foreign.cliff import from_cliff
from pipeline.foreign.film import Film, Results
from pipeline.foreign.frames_table import from_frames
from pipeline.foreign.gvhmr import from_gvhmr

NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One program's results."""

    read: Callable[[Any, Film], Results]
    unneeded: frozenset[str] = NOTHING
    """Keys whose arrays are passed over: an hour of meshes is some 18 GB."""
    files: tuple[str, ...] = ()
    """The files of a folder that are read; all known ones where nothing is said."""
    single: tuple[str, ...] = ()
    """Where in the program's folder its one file is, where it writes one."""
    inner: tuple[str, ...] = ()
    """Folders inside the program's own: given one of these, its parent is read."""


_PHALP = Format(read=phalp.from_phalp, unneeded=phalp.UNNEEDED, single=("results/*.pkl", "*.pkl"))
_GVHMR = Format(read=from_gvhmr, single=("hmr4d_results.pt", "*.pt"))
_ROMP = Format(read=romp.from_romp, unneeded=romp.UNNEEDED, files=romp.FILES)
FORMATS: dict[str, Format] = {
    "4d-humans": _PHALP, "phalp": _PHALP, "tokenhmr": _PHALP,
    "amass": Format(read=from_amass),
    "bev": _ROMP, "romp": _ROMP,
    "cliff": Format(read=from_cliff, unneeded=CLIFF_UNNEEDED, single=("*.npz",)),
    "frames": Format(read=from_frames),
    "gem": _GVHMR, "genmo": _GVHMR, "gvhmr": _GVHMR,
    "prompthmr": Format(read=prompthmr.from_prompthmr, unneeded=prompthmr.UNNEEDED, single=("results.pkl",)),
    "smpler-x": Format(read=smplerx.from_smplerx, files=smplerx.FILES, inner=("smplx", "meta")),
    "tram": Format(read=tram.from_tram, files=tram.FILES, inner=("hps",)),
    "wham": Format(read=wham.from_wham, unneeded=wham.UNNEEDED, single=("wham_output.pkl",)),
}  # fmt: skip

_NO_FILE = (
    "Save its parameters yourself, one row a person and frame (person, frame_index, pose, betas, translation_m, "
    "focal_px), with numpy.savez, or name the arrays of your file in a --mapping with --format mapping."
)
UNREADABLE: dict[str, tuple[str, str]] = {
    "sam-3d-body": (
        "SAM 3D Body estimates parameters of the body model MHR, which has no SMPL pose, and its demo writes pictures.",
        "Convert them to SMPL with the MHR-to-SMPL conversion that comes with MHR, save the result's global_orient, "
        "body_pose, betas and transl with numpy.savez, and give them with --format mapping.",
    ),
    "camerahmr": ("CameraHMR's demo writes meshes and pictures, no file of parameters.", _NO_FILE),
    "smplest-x": ("SMPLest-X's demo writes pictures, no file of parameters.", _NO_FILE),
    "multi-hmr": ("Multi-HMR's demo writes meshes and pictures, no file of parameters.", _NO_FILE),
    "nlf": ("NLF is a program of torch that returns its parameters and writes no file.", _NO_FILE),
    "comotion": (
        "CoMotion's file of torch holds flat rows of tensors without the lens.",
        "Name its arrays (pose, betas, translation, person, frame) in a --mapping with --format mapping, and add the "
        "lens it ran with: --focal-px.",
    ),
}  # fmt: skip
"""Programs without results that could be read: why, and what to do instead."""


def known_formats() -> list[str]:
    """All names of `--format`."""
    return sorted([*FORMATS, "mapping"])
