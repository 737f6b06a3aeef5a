"""`python -m tests.accuracy [--seconds 1.5]`: prints figures of tracking; `make accuracy`.

`python -m tests.accuracy --scenes 5 [--mocap FILE] [--only KIND ...]` films moving people before cameras of all kinds
and tells what their bodies' errors are made of, for the half of people that weights are chosen on and for the other.

The demo clip's, joint errors, the worth of terms, agreements; build/accuracy.json has them too. People are rendered,
so errors of real ones are larger; what is compared is the fit with the landmarks it starts from, the terms with each
other, and one rate with another.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.body.model import BodyModel
from pipeline.config import Settings
from pipeline.tracking.blazepose import PoseModels
from pipeline.tracking.fit_energy import EnergyWeights
from pipeline.tracking.tracker import landmark_models
from schemas.settings import with_overrides
from tests.accuracy.agreement import agreement, sampled, through_a_file
from tests.accuracy.bed import report
from tests.accuracy.demo import whole_demo
from tests.accuracy.joints import SCENES, TERMS, JointFigures, Scene, scene
from tests.accuracy.learn_prior import COMPONENTS, add_teachers_to
from tests.accuracy.motions import made_motions, motion_capture
from tests.accuracy.observing import SEEN
from tests.accuracy.oracles import ORACLES
from tests.accuracy.scenes import HALVES, KINDS
from tests.accuracy.unseen_prior import UnseenPriors

OUTPUT = Path(__file__).parents[2] / "build" / "accuracy.json"
BED_OUTPUT = OUTPUT.with_name("bodies.json")
ABLATED = ("from 40 degrees", "turning", "arms raised")


def main() -> int:
    """Runs everything; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.accuracy", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.5, help="length of every scene")
    parser.add_argument("--scenes", type=int, help="films of each kind and half: the test bed instead")
    parser.add_argument(
        "--mocap", type=Path, help="its movements: an .npz of motion capture (else made ones)"
    )
    parser.add_argument(
        "--only", nargs="+", choices=list(KINDS), default=tuple(KINDS), help="its kinds of film (else all)"
    )
    parser.add_argument("--given", choices=sorted(ORACLES), help="what it is told of the truth")
    parser.add_argument(
        "--start", choices=("landmarks", "truth"), default="landmarks", help="where its fits begin"
    )
    parser.add_argument(
        "--unseen-prior",
        type=int,
        nargs="?",
        const=COMPONENTS,
        metavar="COMPONENTS",
        help="judge poses by priors learned from others alone",
    )
    add_teachers_to(parser)
    parser.add_argument(
        "--own-lengths", action="store_true", help="films people whose limbs have lengths of their own"
    )
    parser.add_argument("--half", choices=HALVES, help="its one half of people")
    parser.add_argument("--lens-unknown", action="store_true", help="whether it guesses the focal length")
    parser.add_argument("--seen", type=Path, default=SEEN, help="where landmarks that were found are kept")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the test bed's tracker"
    )
    options = parser.parse_args()
    if options.unseen_prior and options.start == "truth":
        parser.error("--start truth and --unseen-prior cannot be combined: leave one out.")
    if not options.unseen_prior and (options.teachers == "all" or options.person_power):
        parser.error("--teachers and --person-power are about --unseen-prior: add it.")
    if options.scenes or options.mocap:
        return bed(options)
    models = landmark_models(Settings())
    scenes = {name: scene(name, models, seconds=options.seconds) for name in SCENES}
    result: dict[str, Any] = {"demo": {}, "joints": {}, "terms": {}}
    for name, found in whole_demo(models).items():
        result["demo"][name] = asdict(found)
        print(name.ljust(22), *(f"{key} {value:.4g}" for key, value in asdict(found).items()), flush=True)
    print(
        "joint errors, mm".ljust(22),
        *(field.name.removesuffix("_mm").rjust(17) for field in fields(JointFigures)),
    )
    for name, each in scenes.items():
        result["joints"][name] = show(name, each.figures())
    result["joints"]["mean"] = show("mean", mean(list(result["joints"].values())))
    print("\nwithout a term, mean over", ", ".join(ABLATED))
    for name, weights in TERMS.items():
        rows = [asdict(scenes[view].figures(EnergyWeights(**weights))) for view in ABLATED]
        result["terms"][name] = show(name, mean(rows))
    result |= agreements(models, scenes["turning"], options.seconds)
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(result, indent=1) + "\n")
    print(f"wrote {OUTPUT}")
    return 0


def bed(options: argparse.Namespace) -> int:
    """The test bed; returns the exit code."""
    settings = with_overrides(Settings(), options.set)
    takes = motion_capture(options.mocap, straighten=options.straighten) if options.mocap else made_motions()
    unseen = None
    if options.unseen_prior:
        unseen = UnseenPriors(
            takes,
            options.unseen_prior,
            reported_too=options.teachers == "all",
            person_power=options.person_power,
        )
    result = report(
        takes,
        landmark_models(settings),
        count=options.scenes or 5,
        only=options.only,
        given=options.given,
        lens_known=not options.lens_unknown,
        seen=options.seen,
        settings=settings,
        start_at_truth=options.start == "truth",
        unseen=unseen,
        half=options.half,
        own_lengths=options.own_lengths,
    )
    BED_OUTPUT.parent.mkdir(exist_ok=True)
    BED_OUTPUT.write_text(json.dumps(result, indent=1) + "\n")
    print(f"wrote {BED_OUTPUT}")
    return 0


def agreements(models: PoseModels, turning: Scene, seconds: float) -> dict[str, Any]:
    """The turning person at 60 frames a second, of which 30, 20 and 12 are taken; at 30 and 24; on its side."""
    fast = scene("turning", models, seconds=seconds, fps=60)
    body = BodyModel.open_body()
    reference = fast.tracked()[0]
    found = {}
    for every in (2, 3, 5):
        slow = fast.tracked(frames=sampled(fast.frames, every))[0]
        found[f"{60 // every} taken of 60 frames a second"] = asdict(agreement(body, reference, slow))
    for fps in (30, 24):
        slow = scene("turning", models, seconds=seconds, fps=fps).tracked()[0]
        found[f"{fps} against 60 frames a second"] = asdict(agreement(body, reference, slow))
    upright = turning.tracked(frames=through_a_file(turning, 0))[0]
    on_its_side = turning.tracked(frames=through_a_file(turning, 90))[0]
    found["turned by 90 degrees"] = asdict(agreement(body, upright, on_its_side))
    for name, figures in found.items():
        print(name.ljust(32), *(f"{key} {value:.1f}" for key, value in figures.items()))
    return {"agreement": found}


def show(name: str, figures: JointFigures) -> dict[str, float]:
    """Prints a row and returns it."""
    row = asdict(figures)
    print(name.ljust(22), *(f"{value:17.1f}" for value in row.values()), flush=True)
    return row


def mean(rows: list[dict[str, float]]) -> JointFigures:
    """The mean of every figure."""
    return JointFigures(**{name: float(np.mean([row[name] for row in rows])) for name in rows[0]})


if __name__ == "__main__":
    sys.exit(main())
