"""What is trained and probed: one change at a time from a baseline, in the order of what one wants to know first."""

from __future__ import annotations

from dataclasses import dataclass

from material import Variant

from pipeline.studio.true_tracker import BodyJitter
from schemas.settings import with_overrides
from trainer.config import Settings, preset
from trainer.probe import PROBE_LOSSES

TRUE, TRACKED = Variant(), Variant(jitter=None)
BASELINE = ("losses.gamma_smooth=2.0", "losses.gamma_reg=0.1", "data.max_references=6", "train.batch_size=16")
"""The preset `small` on all references, with the weights that the probe recommends."""


def jittered(size: float, *, is_common: bool) -> Variant:
    """Bodies that err by `size` cm and degrees."""
    return Variant(jitter=BodyJitter(shift_cm=size, turn_deg=size, is_common=is_common))


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One training run."""

    name: str
    variant: Variant = TRUE
    overrides: tuple[str, ...] = ()
    seed: int = 1
    is_masked: bool = True
    """False: validity is ignored."""
    part: str = "held"
    """Folder of the films that it is scored on."""
    length: int = 1
    """Times as many steps as the others take."""
    cost: float = 1.0
    """Time of a step against the baseline's."""

    @property
    def settings(self) -> Settings:
        """The trainer's settings."""
        return with_overrides(preset("small"), [*BASELINE, *self.overrides, f"train.seed={self.seed}"])


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One direct optimisation of held-out samples."""

    name: str
    variant: Variant = TRUE
    overrides: tuple[str, ...] = ()
    references: int | None = None
    """Only the first so many."""
    part: str = "held"
    """Folder of the films."""

    @property
    def losses(self):
        """The losses that are optimised."""
        return with_overrides(PROBE_LOSSES, list(self.overrides))


JITTERS = {
    f"jitter {size:g} {'common' if is_common else 'independent'}": jittered(size, is_common=is_common)
    for size in (1.0, 0.5, 0.3)
    for is_common in (False, True)
}
THRESHOLDS = {
    f"baseline over {metres:g} m": Variant(min_mean_baseline_m=metres) for metres in (0.1, 0.25, 1.0)
}
UNFILTERED = Variant(min_mean_baseline_m=0.0)

TWELVE = Variant(max_references=12)


def _tuned(*overrides: str, variant: Variant = TRUE) -> Probe:
    """What is tried on people of whom no figure is reported."""
    name = " ".join(["tune", *overrides]) + (
        "" if variant == TRUE else f" {variant.max_references} references"
    )
    return Probe(name=name, overrides=overrides, part="tune", variant=variant)


FINE = "photo_px=512"
TUNING = (
    _tuned(),
    *(_tuned(f"ssim_constant={c}") for c in ("3e-3", "1e-2")),
    *(_tuned(f"ssim_window_px={side}") for side in (5, 7)),
    _tuned(FINE),
    *(_tuned(FINE, f"ssim_constant={c}") for c in ("3e-3", "1e-2")),
    *(_tuned(FINE, f"ssim_window_px={side}") for side in (5, 7)),
    *(_tuned(FINE, f"gamma_smooth={gamma}") for gamma in (1, 4, 8)),
    _tuned(FINE, "gamma_reg=0.1"),
    _tuned(FINE, "ssim_window_px=5", "gamma_smooth=4"),
    _tuned(FINE, "ssim_window_px=7", "gamma_smooth=4"),
    _tuned(FINE, "ssim_window_px=7", "gamma_smooth=4", "gamma_reg=0.1"),
    _tuned(FINE, "ssim_window_px=5", "ssim_constant=3e-3"),
    _tuned(FINE, "minimum_over_references=true"),
    _tuned(FINE, variant=TWELVE),
    _tuned(FINE, "ssim_window_px=5", variant=TWELVE),
    _tuned(FINE, "ssim_window_px=5", "gamma_smooth=4", variant=TWELVE),
    _tuned(FINE, "ssim_window_px=7", "gamma_smooth=4", variant=TWELVE),
    _tuned(FINE, variant=Variant(max_rotation_deg=25.0)),
)

PROBES = (
    *TUNING,
    Probe(name="true bodies"),
    Probe(name="tracked bodies", variant=TRACKED),
    Probe(name="clean films", part="clean"),
    Probe(name="clean films, photo at 512", part="clean", overrides=("photo_px=512",)),
    Probe(name="clean films, c 1e-4", part="clean", overrides=("ssim_constant=1e-4",)),
    Probe(name="clean films, gamma_smooth 8", part="clean", overrides=("gamma_smooth=8",)),
    *(Probe(name=name, variant=variant) for name, variant in JITTERS.items()),
    Probe(name="1 reference", references=1),
    Probe(name="3 references", references=3),
    Probe(name="photo at 512", overrides=("photo_px=512",)),
    Probe(name="no SSIM", overrides=("alpha=0",)),
    Probe(name="no smoothness", overrides=("gamma_smooth=0",)),
    Probe(name="gamma_smooth 0.3", overrides=("gamma_smooth=0.3",)),
    Probe(name="gamma_smooth 1", overrides=("gamma_smooth=1",)),
    Probe(name="gamma_smooth 4", overrides=("gamma_smooth=4",)),
    Probe(name="gamma_smooth 8", overrides=("gamma_smooth=8",)),
    Probe(name="gamma_reg 0.1", overrides=("gamma_reg=0.1",)),
    Probe(name="c 1e-4", overrides=("ssim_constant=1e-4",)),
    Probe(name="3 levels", overrides=("pyramid_levels=3",)),
    Probe(name="minimum over references", overrides=("minimum_over_references=true",)),
    Probe(name="tracked, 3 levels", variant=TRACKED, overrides=("pyramid_levels=3",)),
    Probe(name="no baseline filter", variant=UNFILTERED),
    *(Probe(name=name, variant=variant) for name, variant in THRESHOLDS.items()),
)


def _tuned_run(*overrides: str) -> Configuration:
    return Configuration(
        name=" ".join(["tune", *overrides]),
        overrides=("losses.photo_px=512", *overrides),
        part="tune",
        cost=2.5,
    )


TUNING_RUNS = (
    _tuned_run(),
    _tuned_run("losses.gamma_smooth=1"),
    _tuned_run("losses.gamma_smooth=0.5"),
    _tuned_run("losses.gamma_smooth=0.5", "train.learning_rate=1e-3"),
    _tuned_run("losses.gamma_smooth=1", "train.learning_rate=1e-3"),
    _tuned_run("losses.gamma_smooth=1", "losses.ssim_window_px=5"),
    _tuned_run("losses.gamma_smooth=1", "losses.ssim_window_px=7"),
    _tuned_run("losses.gamma_smooth=1", "model.width=64"),
)

CONFIGURATIONS = (
    *TUNING_RUNS,
    Configuration(name="baseline, seed 1"),
    Configuration(name="tracked, seed 1", variant=TRACKED),
    Configuration(name="baseline, seed 2", seed=2),
    Configuration(name="baseline, seed 3", seed=3),
    Configuration(name="no validity mask", is_masked=False),
    Configuration(name="no SSIM", overrides=("losses.alpha=0",)),
    Configuration(name="no smoothness", overrides=("losses.gamma_smooth=0",)),
    Configuration(name="1 reference", overrides=("data.max_references=1",), cost=0.6),
    Configuration(name="c 1e-4", overrides=("losses.ssim_constant=1e-4",)),
    Configuration(name="photo at 512", overrides=("losses.photo_px=512",), cost=2.5),
    Configuration(name="centred by the mean", overrides=("data.centre_by=mean",)),
    Configuration(name="gamma_smooth 8", overrides=("losses.gamma_smooth=8",)),
    Configuration(name="baseline, three times as long", length=3),
    Configuration(name="no baseline filter", variant=UNFILTERED),
    Configuration(name="baseline over 1 m", variant=THRESHOLDS["baseline over 1 m"]),
    *(
        Configuration(name=name, variant=JITTERS[name])
        for name in (
            "jitter 1 independent",
            "jitter 0.5 independent",
            "jitter 0.3 independent",
            "jitter 1 common",
        )
    ),
    Configuration(name="tracked, seed 2", variant=TRACKED, seed=2),
    Configuration(name="tracked, seed 3", variant=TRACKED, seed=3),
)
