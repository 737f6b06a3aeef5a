"""Every constant of the trainer, as frozen settings with units in their names, and the presets."""

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
    selection: str | None = None
    """Name of a saved selection: only what it keeps (`python -m pipeline audit --save-selection NAME`)."""
    split_by: Literal["source", "track"] = "source"
    """What is never in both training and validation. `track` is for data of a single source."""
    validation_share: float = 0.1
    """Share of sources (or tracks) that are held out, chosen by a hash of their ids."""
    held_out: tuple[str, ...] = ()
    """Sources (or tracks) held out by name; replaces the choice by hash."""
    truth: str | None = None
    """Folder with true depth of samples (`python -m pipeline studio truth`): validation reports the errors of those
    held out; those of training samples supervise where `losses.gamma_truth` says so."""
    dressed: str | None = None
    """Folder with the depth of the tracks' dressed shapes (`python -m pipeline dataset dressed`): validation reports
    how much of it is found on samples held out; that of training samples teaches where
    `losses.gamma_dressed` says so."""
    max_references: int = 6
    """References used per target and step; drawn anew each epoch where a sample has more."""
    background: Literal["zero", "keep", "replace"] = "zero"
    """What the network sees outside the base mask. `replace`: one colour, drawn anew in training, else grey."""
    centre_by: Literal["median", "mean"] = "median"
    """What is subtracted from the base depth before the network sees it (preset `released`: mean)."""
    colour_jitter: bool = True
    """One random change of colours a sample, shared by the target and its references."""
    flip: bool = False
    """Mirrors half of the training samples from left to right, geometry and all."""
    crop_jitter: float = 0.0
    """Training samples are moved by up to this share of the side, in whole pixels, the body inside; K follows."""
    weights: tuple[float, ...] = ()
    """Share of each dataset in the samples seen, in the order of the datasets; empty: by their numbers of samples."""
    allow_unlike_recipes: bool = False
    """Allows mixing datasets whose base depths were made differently (body, lens, mesh; `schemas/recipe.py`). One
    network cannot learn what is missing from both."""
    workers: int = 1
    """Processes that load data while the network computes; 0 loads in the training process."""
    time_limit_s: float = 300.0
    """Ends the run with an error where a batch takes longer to load: a disk or network that does not answer."""
    max_bad_share: float = 0.01
    """Share of samples that may be unreadable (they are skipped, counted and named) before the run stops."""

    def __post_init__(self) -> None:
        share = self.validation_share
        _require(0 <= share < 1, "data.validation_share", share, "Give a share of at least 0 and below 1.")
        _require(self.max_references >= 1, "data.max_references", self.max_references, "Give 1 or more.")
        _require(self.workers >= 0, "data.workers", self.workers, "Give 0 or more.")
        jitter, remedy = self.crop_jitter, "Give a share from 0 to 0.3."
        _require(0 <= jitter <= 0.3, "data.crop_jitter", jitter, remedy)
        weights, remedy = self.weights, "Give numbers above 0, one for each dataset."
        _require(all(weight > 0 for weight in weights), "data.weights", weights, remedy)
        _require(self.time_limit_s > 0, "data.time_limit_s", self.time_limit_s, "Give seconds above 0.")
        bad = self.max_bad_share
        _require(0 <= bad < 1, "data.max_bad_share", bad, "Give a share of at least 0 and below 1.")


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """The shape of ReconNet."""

    downs: int = 6
    """Halvings of the input, the stem's included."""
    width: int = 256
    """Features at every level below the stem."""
    stem_width: int = 64
    stem_stride: Literal[2, 4] = 2
    """4: the first convolution halves twice, the finest features are 128 wide, and the offset is enlarged to 256
    bilinearly. A step costs a quarter; thickness is smooth, wrinkles are lost."""
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
        remedy = "Give 2 to 9: the input is 512 pixels wide."
        _require(2 <= self.downs <= 9, "model.downs", self.downs, remedy)
        stride, remedy = self.stem_stride, "Give 2, or more `model.downs`."
        _require(stride < 2**self.downs, "model.stem_stride", stride, remedy)
        for name in ("width", "stem_width"):
            value = getattr(self, name)
            _require(
                value >= 8 and value % 4 == 0, f"model.{name}", value, "Give a multiple of 4, at least 8."
            )
        _require(self.max_offset_m > 0, "model.max_offset_m", self.max_offset_m, "Give metres above 0.")


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """L = gamma_photo L_photo + gamma_smooth L_smooth + gamma_reg L_reg + gamma_truth L_truth +
    gamma_dressed L_dressed; metres, means over mask pixels."""

    alpha: float = 0.85
    """Weight of the SSIM term against the colour difference."""
    ssim_constant: float = 9e-4
    """c of SSIM_cs, 0.03^2. Weak texture gains from 1e-4."""
    gates: bool = False
    """Preset `released`: terms are off where the pictures differ too much to be the same surface."""
    photo_px: Literal[256, 512] = 256
    """Side at which pictures are compared. 512: offset and motion are upsampled, and a step costs more."""
    pyramid_levels: int = 1
    """The photo loss is the mean over pictures halved 0, 1, ... times: needed beyond some 2 px of parallax error."""
    minimum_over_references: bool = False
    """Each pixel counts with its best reference instead of all."""
    gamma_smooth: float = 1.0
    gamma_reg: float = 0.1
    gamma_photo: float = 1.0
    """0 leaves the pictures' agreement out, and costs nothing: for a run that known depth alone supervises."""
    gamma_truth: float = 0.0
    """Weight of supervision by known depth (`--truth`), for data of which it is known: studio people. 0: none, as the
    method has it."""
    gamma_dressed: float = 0.0
    """Weight of what all frames of each track say about its surface (`--dressed`), by its certainty: a network learns
    from many people's tracks what it then has to find in one photo. 0: none, as the method has it."""

    def __post_init__(self) -> None:
        _require(0 <= self.alpha <= 1, "losses.alpha", self.alpha, "Give a share between 0 and 1.")
        _require(self.ssim_constant > 0, "losses.ssim_constant", self.ssim_constant, "Give a number above 0.")
        for name in ("gamma_photo", "gamma_truth", "gamma_dressed"):
            value = getattr(self, name)
            _require(value >= 0, f"losses.{name}", value, "Give 0 or more.")
        levels = self.pyramid_levels
        _require(1 <= levels <= 5, "losses.pyramid_levels", levels, "Give 1 to 5.")


@dataclass(frozen=True, kw_only=True)
class CorrectionSettings:
    """Small corrections of the motion, learned along: see `trainer/corrections.py`."""

    learn: bool = False
    """For bodies that jitter from frame to frame; not together with `data.flip` or `data.crop_jitter`."""
    turn_deg: float = 1.5
    """Expected (standard deviation) turn of a reference's body about each axis."""
    shift_m: float = 0.02
    """Expected shift along each axis."""
    field_m: float = 0.01
    """Expected displacement of a part along x and y."""
    field_nodes: int = 9
    """Nodes along each side of the map, between which the field of displacements is bilinear."""
    prior_weight: float = 3e-3
    """Weight of sum (correction / expected)^2 beside the other losses. With less, corrections take up depth: of a ball
    whose motion was exact, depth was found to 4 mm without corrections, to 5 with 3e-3, to 16 with 1e-4."""
    learning_rate: float = 0.1
    """In units of what is expected; it warms up and falls as the network's does."""

    def __post_init__(self) -> None:
        for name in ("turn_deg", "shift_m", "field_m", "prior_weight", "learning_rate"):
            value = getattr(self, name)
            _require(value > 0, f"corrections.{name}", value, "Give a number above 0.")
        nodes = self.field_nodes
        _require(2 <= nodes <= 65, "corrections.field_nodes", nodes, "Give 2 to 65.")


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """The loop."""

    batch_size: int = 4
    """Samples a process looks at together."""
    accumulate: int = 1
    """Batches whose gradients are averaged before the optimiser takes one step."""
    max_steps: int = 100_000
    max_minutes: float | None = None
    """Stops earlier, and lets the learning rate fall by the clock. Such a run cannot be repeated exactly."""
    learning_rate: float = 1.5e-4
    warm_up_steps: int = 100
    initial: Literal["torch", "he"] = "torch"
    """How weights begin. `torch`: the default of its layers, with which coarse levels start at a fifth to a half of
    the strength of fine ones. `he`: normal with variance 2 / fan-in, so that all start equally strong."""
    optimiser: Literal["adam", "muon"] = "adam"
    """`muon`: convolutions follow their orthogonalised momentum (`optimiser.py`): half of Adam's steps do, or fewer."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    seed: int = 6666
    precision: Literal["float32", "bfloat16"] = "float32"
    """`bfloat16`: mixed; warp, losses, head and weights stay float32. On a CPU only with AVX512-BF16 or AMX: a
    sample of `small` takes 5.3 s of a core without, .44 in float32."""
    channels_last: bool = False
    """Memory order of the convolutions: a tenth faster in float32 on CPUs; slower in bfloat16, by its group norms."""
    deterministic: bool = False
    """Uses deterministic kernels, so that a run repeats bit for bit; slower on a GPU. Warns where torch has none."""
    average_decay: float | None = None
    """Keeps an exponential moving average of the weights, for example 0.999, and validates and predicts with it."""
    patience: int | None = None
    """Ends the run after this many validations without a better photometric error; the best one lies in OUT/best."""
    tensorboard: bool = False
    """Writes curves and picture panels for TensorBoard (package `tensorboard`) beside the log."""
    log_every: int = 20
    validate_every: int = 500
    validation_samples: int = 48
    """Held-out samples looked at each time, evenly spread."""
    on_non_finite: Literal["skip", "stop"] = "skip"
    """What to do about a batch with an infinite or NaN loss."""
    max_skipped_share: float = 0.01
    """Share of steps whose loss may be infinite or NaN (they are skipped and named) before the run stops."""

    def __post_init__(self) -> None:
        counts = (
            "batch_size",
            "accumulate",
            "max_steps",
            "log_every",
            "validate_every",
            "validation_samples",
        )
        for name in counts:
            _require(getattr(self, name) >= 1, f"train.{name}", getattr(self, name), "Give 1 or more.")
        minutes, remedy = self.max_minutes, "Give minutes above 0, or null."
        _require(minutes is None or minutes > 0, "train.max_minutes", minutes, remedy)
        decay, remedy = self.average_decay, "Give a number in (0, 1), or null."
        _require(decay is None or 0 < decay < 1, "train.average_decay", decay, remedy)
        patience = self.patience
        _require(patience is None or patience >= 1, "train.patience", patience, "Give 1 or more, or null.")
        _require(self.learning_rate > 0, "train.learning_rate", self.learning_rate, "Give a number above 0.")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of the trainer."""

    data: DataSettings = field(default_factory=DataSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    losses: LossSettings = field(default_factory=LossSettings)
    corrections: CorrectionSettings = field(default_factory=CorrectionSettings)
    train: TrainSettings = field(default_factory=TrainSettings)

    def __post_init__(self) -> None:
        moves = self.data.flip or self.data.crop_jitter > 0
        remedy = "Corrections belong to the stored crops: set data.flip=false and data.crop_jitter=0."
        _require(not (self.corrections.learn and moves), "corrections.learn", True, remedy)


def preset(name: str) -> Settings:
    """`paper` (the default), `released` (the authors' published demo), `small` (trains on a CPU), `fine`, `supervised`.

    `fine` is `small` with twice the features, pictures compared at 512 and weights to match: what found the most depth
    on made-up people. `supervised` is `small` without its finest level, taught by known depth alone, four times as fast
    a step; a little `gamma_reg` holds the constant that such depth leaves free (docs/experiments.md).
    """
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
    if name == "fine":
        small = preset("small")
        return replace(
            small,
            data=replace(small.data, max_references=6),
            model=replace(small.model, width=64),
            losses=LossSettings(photo_px=512, gamma_smooth=2.0, ssim_constant=3e-3),
            train=replace(small.train, batch_size=16),
        )
    if name == "supervised":
        small = preset("small")
        train = replace(small.train, max_steps=7000, learning_rate=0.01, optimiser="muon", initial="he")
        return replace(
            small,
            data=replace(small.data, background="keep", colour_jitter=True, flip=True),
            model=replace(small.model, stem_stride=4, stem_width=32, head_blocks=0),
            losses=LossSettings(gamma_photo=0.0, gamma_truth=1.0, gamma_smooth=0.01, gamma_reg=0.005),
            train=replace(train, channels_last=True),
        )
    remedy = "Use 'paper', 'released', 'small', 'fine' or 'supervised'."
    raise SettingsError(f"unknown preset {name!r}.", remedy=remedy)
