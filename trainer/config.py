"""Every constant of the trainer, as frozen settings with units in their names. Presets `paper`, `released`, `small`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from schemas.errors import SettingsError


def _require(condition: bool, setting: str, value: object, remedy: str) -> None:
    if not condition:
        raise SettingsError(f"setting {setting!r} cannot be {value!r}.", remedy=remedy)


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Which samples are read, and how."""

    where: str | None = None
    """Only samples for which this holds, for example `mean_baseline_m >= 0.6 and valid_fraction >= 0.2`."""
    split_by: Literal["source", "track"] = "source"
    """What is never in both training and validation. `track` is for data of a single source."""
    validation_share: float = 0.1
    """Share of sources (or tracks) that are held out, chosen by a hash of their ids."""
    held_out: tuple[str, ...] = ()
    """Sources (or tracks) held out by name; replaces the choice by hash."""
    max_references: int = 6
    """References used per target and step; drawn anew each epoch where a sample has more."""
    background: Literal["zero", "keep"] = "zero"
    """What the network sees outside the base mask."""
    centre_by: Literal["median", "mean"] = "median"
    """What is subtracted from the base depth before the network sees it (preset `released`: mean)."""
    colour_jitter: bool = True
    """One random change of colours a sample, shared by the target and its references."""
    workers: int = 0
    """Processes that load data; 0 loads in the training process."""

    def __post_init__(self) -> None:
        share = self.validation_share
        _require(0 <= share < 1, "data.validation_share", share, "Give a share of at least 0 and below 1.")
        _require(self.max_references >= 1, "data.max_references", self.max_references, "Give 1 or more.")
        _require(self.workers >= 0, "data.workers", self.workers, "Give 0 or more.")


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """The shape of ReconNet."""

    downs: int = 6
    """Halvings of the input, the stem's included."""
    width: int = 256
    """Features at every level below the stem."""
    stem_width: int = 64
    kernel_px: Literal[3, 5] = 5
    """Side of the convolutions that change the resolution."""
    groups: int = 64
    """Groups of the group norms; narrower layers use at most a quarter of their channels."""
    blocks: int = 5
    """Residual blocks per level and skip connection."""
    head_blocks: int = 4
    max_offset_m: float = 0.1
    """The offset lies within plus and minus this."""

    def __post_init__(self) -> None:
        _require(
            2 <= self.downs <= 9, "model.downs", self.downs, "Give 2 to 9: the input is 512 pixels wide."
        )
        for name in ("width", "stem_width"):
            value = getattr(self, name)
            _require(
                value >= 8 and value % 4 == 0, f"model.{name}", value, "Give a multiple of 4, at least 8."
            )
        _require(self.max_offset_m > 0, "model.max_offset_m", self.max_offset_m, "Give metres above 0.")


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """L = L_photo + gamma_smooth L_smooth + gamma_reg L_reg; metres, means over mask pixels."""

    alpha: float = 0.85
    """Weight of the SSIM term against the colour difference."""
    ssim_constant: float = 9e-4
    """c of SSIM_cs, 0.03^2. Weak texture gains from 1e-4."""
    gates: bool = False
    """Preset `released`: terms are off where the pictures differ too much to be the same surface."""
    gamma_smooth: float = 1.0
    gamma_reg: float = 0.1

    def __post_init__(self) -> None:
        _require(0 <= self.alpha <= 1, "losses.alpha", self.alpha, "Give a share between 0 and 1.")
        _require(self.ssim_constant > 0, "losses.ssim_constant", self.ssim_constant, "Give a number above 0.")


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """The loop."""

    batch_size: int = 4
    max_steps: int = 100_000
    max_minutes: float | None = None
    """Stops earlier, and lets the learning rate fall by the clock. Such a run cannot be repeated exactly."""
    learning_rate: float = 1.5e-4
    warm_up_steps: int = 100
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    seed: int = 6666
    precision: Literal["float32", "bfloat16"] = "float32"
    log_every: int = 20
    validate_every: int = 500
    validation_samples: int = 48
    """Held-out samples looked at each time, evenly spread."""
    max_skipped_share: float = 0.01
    """Share of steps whose loss may be infinite or NaN (they are skipped and named) before the run stops."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "max_steps", "log_every", "validate_every", "validation_samples"):
            _require(getattr(self, name) >= 1, f"train.{name}", getattr(self, name), "Give 1 or more.")
        minutes = self.max_minutes
        _require(
            minutes is None or minutes > 0, "train.max_minutes", minutes, "Give minutes above 0, or null."
        )
        _require(self.learning_rate > 0, "train.learning_rate", self.learning_rate, "Give a number above 0.")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of the trainer."""

    data: DataSettings = field(default_factory=DataSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    losses: LossSettings = field(default_factory=LossSettings)
    train: TrainSettings = field(default_factory=TrainSettings)


def preset(name: str) -> Settings:
    """`paper` (the default), `released` (the authors' published demo) or `small` (trains on a CPU)."""
    if name == "paper":
        return Settings()
    if name == "released":
        return replace(
            Settings(),
            data=DataSettings(centre_by="mean"),
            model=ModelSettings(downs=5, max_offset_m=0.075),
            losses=LossSettings(gates=True),
        )
    if name == "small":
        return Settings(
            data=DataSettings(max_references=3, colour_jitter=False),
            model=ModelSettings(width=32, stem_width=16, kernel_px=3, groups=8, blocks=1, head_blocks=1),
            losses=LossSettings(gamma_smooth=0.3),
            train=TrainSettings(
                batch_size=2, max_steps=5000, learning_rate=3e-3, warm_up_steps=20, validate_every=100
            ),
        )
    raise SettingsError(f"unknown preset {name!r}.", remedy="Use 'paper', 'released' or 'small'.")
