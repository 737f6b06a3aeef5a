"""What is trained and probed: one change at a time from a baseline, in the order of what one wants to know first."""

from __future__ import annotations

from dataclasses import dataclass

from material import Variant

from pipeline.studio.true_tracker import BodyJitter
from schemas.settings import with_overrides
from trainer.config import LossSettings, Settings, preset
from trainer.probe import PROBE_LOSSES

TRUE, TRACKED, TRACKED_REFINED = Variant(), Variant(jitter=None), Variant(jitter=None, is_refined=True)
CLOSER, TWELVE = Variant(max_rotation_deg=25.0), Variant(max_references=12)
DRESSED = (
    "rendering.base_surface=dressed",
    "refine.offset_mean_m=0.01",
    "refine.offset_sigma_m=0.01",
    "refine.offset_range_m=[0,0.08]",
)
"""Refined bodies of a known shape, their base depth that of the track's dressed shape."""
TRUE_DRESSED = Variant(is_refined=True, overrides=DRESSED)
UNFILTERED, FAR = Variant(min_mean_baseline_m=0.0), Variant(min_mean_baseline_m=1.0)

PROBE_BASELINE = ("photo_px=512", "gamma_smooth=4", "gamma_reg=0.1")
"""This and the preset `fine` were chosen on the people of the folder `tune`, by what the tuning below tries."""


def jittered(
    size: float, *, is_common: bool = False, is_refined: bool = False, overrides: tuple[str, ...] = ()
) -> Variant:
    """Bodies that err by `size` cm and degrees."""
    jitter = BodyJitter(shift_cm=size, turn_deg=size, is_common=is_common)
    return Variant(jitter=jitter, is_refined=is_refined, overrides=overrides)


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One training run."""

    name: str
    variant: Variant = TRUE
    overrides: tuple[str, ...] = ()
    start_from: str = "fine"
    """A preset."""
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
        return with_overrides(preset(self.start_from), [*self.overrides, f"train.seed={self.seed}"])


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One direct optimisation of samples."""

    name: str
    variant: Variant = TRUE
    overrides: tuple[str, ...] = ()
    baseline: tuple[str, ...] = PROBE_BASELINE
    references: int | None = None
    """Only the first so many."""
    part: str = "held"
    """Folder of the films."""

    @property
    def losses(self) -> LossSettings:
        """The losses that are optimised."""
        return with_overrides(PROBE_LOSSES, [*self.baseline, *self.overrides])


def _tuned(*overrides: str, variant: Variant = TRUE) -> Probe:
    """What is tried on people of whom nothing else is reported."""
    name = " ".join(["tune", *overrides])
    name += " 25 degrees" if variant.max_rotation_deg == 25 else ""
    name += f" {variant.max_references} references" if variant.max_references != 6 else ""
    return Probe(name=name, overrides=overrides, baseline=(), part="tune", variant=variant)


def _tuned_run(*overrides: str, variant: Variant = TRUE) -> Configuration:
    name = " ".join(["tune", *overrides]) + (" 25 degrees" if variant == CLOSER else "")
    return Configuration(
        name=name,
        overrides=(*_PLAIN_RUN, *overrides),
        start_from="small",
        part="tune",
        variant=variant,
    )


_PLAIN_RUN = (
    "losses.photo_px=512",
    "losses.gamma_smooth=2",
    "losses.gamma_reg=0.1",
    "data.max_references=6",
    "train.batch_size=16",
)
_SMALL_RUN = (
    "train.batch_size=4",
    "model.width=32",
    "data.max_references=3",
    "losses.gamma_smooth=0.3",
    "losses.gamma_reg=0",
)
"""Ten minutes for 240 steps on one core. With the weights of `fine`, four samples a step leave the offset constant."""
_CURVE_RUN = (
    "train.batch_size=4",
    "losses.gamma_reg=0",
    "train.channels_last=true",
    "data.max_references=3",
)
"""Three minutes for 100 steps on one core."""
_FINE, _CALM, _HELD = "photo_px=512", "gamma_smooth=4", "gamma_reg=0.1"
TUNING = (
    _tuned(),
    *(_tuned(f"ssim_constant={c}") for c in ("3e-3", "1e-2")),
    _tuned(_FINE),
    *(_tuned(_FINE, f"ssim_constant={c}") for c in ("3e-3", "1e-2")),
    *(_tuned(_FINE, f"gamma_smooth={gamma}") for gamma in (1, 4, 8)),
    _tuned(_FINE, _HELD),
    _tuned(_FINE, "minimum_over_references=true"),
    _tuned(_FINE, variant=TWELVE),
    _tuned(_FINE, variant=CLOSER),
)
TUNING_FURTHER = (
    _tuned(_FINE, _CALM, "ssim_constant=3e-3"),
    _tuned(_FINE, _CALM, _HELD),
    _tuned(_FINE, _CALM, _HELD, "ssim_constant=3e-3"),
    _tuned(_FINE, _CALM, "gamma_reg=0.3", "ssim_constant=3e-3"),
    _tuned(_FINE, "gamma_smooth=3", _HELD, "ssim_constant=6e-3"),
    _tuned(_FINE, _CALM, _HELD, "ssim_constant=3e-3", variant=TWELVE),
    _tuned(_FINE, _CALM, _HELD, "ssim_constant=3e-3", variant=CLOSER),
    _tuned(
        _FINE, _CALM, _HELD, "ssim_constant=3e-3", variant=Variant(max_rotation_deg=25.0, max_references=12)
    ),
)
TUNING_RUNS = (
    _tuned_run(),
    *(_tuned_run(f"losses.gamma_smooth={gamma}") for gamma in ("1", "0.5")),
    *(_tuned_run(f"losses.gamma_smooth={gamma}", "train.learning_rate=1e-3") for gamma in ("1", "0.5")),
    _tuned_run("losses.gamma_smooth=1", "model.width=64"),
)
TUNING_RUNS_FURTHER = (
    _tuned_run("model.width=64"),
    _tuned_run("model.width=64", "losses.ssim_constant=3e-3"),
    _tuned_run("model.width=64", "losses.ssim_constant=3e-3", variant=CLOSER),
)

PROBES = (
    *TUNING,
    *TUNING_FURTHER,
    Probe(name="true bodies"),
    Probe(name="1 reference", references=1),
    Probe(name="3 references", references=3),
    Probe(name="photo at 256", overrides=("photo_px=256",)),
    Probe(name="no SSIM", overrides=("alpha=0",)),
    Probe(name="no smoothness", overrides=("gamma_smooth=0",)),
    Probe(name="gamma_smooth 1", overrides=("gamma_smooth=1",)),
    Probe(name="gamma_smooth 8", overrides=("gamma_smooth=8",)),
    Probe(name="gamma_reg 0", overrides=("gamma_reg=0",)),
    Probe(name="c 3e-3", overrides=("ssim_constant=3e-3",)),
    Probe(name="3 levels", overrides=("pyramid_levels=3",)),
    Probe(name="minimum over references", overrides=("minimum_over_references=true",)),
    Probe(name="clean films", part="clean"),
    Probe(name="tracked bodies", variant=TRACKED),
    Probe(name="tracked bodies, refined", variant=TRACKED_REFINED),
    Probe(name="jitter 1", variant=jittered(1.0)),
    Probe(name="jitter 1, refined", variant=jittered(1.0, is_refined=True)),
    Probe(name="jitter 0.3", variant=jittered(0.3)),
    Probe(name="jitter 0.3, refined", variant=jittered(0.3, is_refined=True)),
    Probe(name="jitter 1, common", variant=jittered(1.0, is_common=True)),
    Probe(name="true bodies, refined", variant=Variant(is_refined=True)),
    Probe(name="true bodies, refined and dressed", variant=TRUE_DRESSED),
    Probe(name="jitter 1, refined and dressed", variant=jittered(1.0, is_refined=True, overrides=DRESSED)),
    Probe(name="sliding cloth", part="sliding"),
    Probe(name="sliding cloth, refined", part="sliding", variant=Variant(is_refined=True)),
    Probe(name="sliding cloth, jitter 1", part="sliding", variant=jittered(1.0)),
    Probe(name="sliding cloth, jitter 1, refined", part="sliding", variant=jittered(1.0, is_refined=True)),
    Probe(name="no baseline filter", variant=UNFILTERED),
    Probe(name="baseline over 1 m", variant=FAR),
    Probe(name="turns below 25 degrees", variant=CLOSER),
    Probe(name="12 references", variant=TWELVE),
)

CONFIGURATIONS = (
    *TUNING_RUNS,
    *TUNING_RUNS_FURTHER,
    *(Configuration(name=f"true, seed {seed}", seed=seed) for seed in (1, 2, 3)),
    *(
        Configuration(name=f"tracked, refined, seed {seed}", variant=TRACKED_REFINED, seed=seed)
        for seed in (1, 2, 3)
    ),
    *(
        Configuration(name=f"true, refined and dressed, seed {seed}", variant=TRUE_DRESSED, seed=seed)
        for seed in (1, 2, 3)
    ),
    *(
        Configuration(
            name=f"jitter 1, refined, seed {seed}", variant=jittered(1.0, is_refined=True), seed=seed
        )
        for seed in (1, 2, 3)
    ),
    Configuration(name="jitter 1, seed 1", variant=jittered(1.0)),
    Configuration(name="tracked, seed 1", variant=TRACKED),
    *(
        Configuration(
            name=f"curve: true, seed {seed}",
            variant=Variant(max_references=3),
            overrides=_CURVE_RUN,
            start_from="small",
            seed=seed,
        )
        for seed in (1, 2, 3)
    ),
    Configuration(name="no validity mask", is_masked=False),
    Configuration(name="photo at 256", overrides=("losses.photo_px=256",), cost=0.6),
    Configuration(name="1 reference", overrides=("data.max_references=1",), cost=0.7),
    Configuration(name="no SSIM", overrides=("losses.alpha=0",)),
    Configuration(name="no smoothness", overrides=("losses.gamma_smooth=0",)),
    Configuration(name="tracked, seed 2", variant=TRACKED, seed=2),
    Configuration(name="tracked, seed 3", variant=TRACKED, seed=3),
    Configuration(name="jitter 1, seed 2", variant=jittered(1.0), seed=2),
    Configuration(name="jitter 1, seed 3", variant=jittered(1.0), seed=3),
    *(
        Configuration(name=f"small: {name}, seed {seed}", variant=variant, overrides=_SMALL_RUN, seed=seed)
        for seed in (1, 2, 3)
        for name, variant in (
            ("jitter 1, refined", jittered(1.0, is_refined=True)),
            ("jitter 1", jittered(1.0)),
            ("true", TRUE),
        )
    ),
)
