"""Settings of TrackNet. Presets `hmr` (ResNet-50 at 224), `paper` (HMR and loss to the letter), `small` (for a CPU)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from schemas.errors import SettingsError


def _require(condition: bool, setting: str, value: object, remedy: str) -> None:
    if not condition:
        raise SettingsError(f"setting {setting!r} cannot be {value!r}.", remedy=remedy)


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """The shape of the network."""

    image_px: int = 224
    """Side of the square crop it sees."""
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    """Residual blocks of each stage; ResNet-50's."""
    width: int = 64
    """Channels of the first stage, doubled in each further one."""
    bottleneck: bool = True
    """Blocks of 1x1, 3x3, 1x1 with four times as many channels out, or of two 3x3."""
    hidden: int = 1024
    """Units of the regressor's two layers."""
    regressor_activation: Literal["relu", "none"] = "relu"
    """What follows each of those layers, before dropout: ReLU as in the published HMR, or nothing as in SPIN, whose
    weights compute other bodies with it. `tracknet convert` sets it by the file's family."""
    iterations: int = 3
    dropout: float = 0.5
    rotation_form: Literal["axis_angle", "rot6d"] = "rot6d"
    """What the regressor adds to: 72 axis-angle numbers (HMR), or 144 (SPIN and its kin)."""
    scaling: Literal["hmr", "imagenet"] = "imagenet"
    """x / 127.5 - 1, or ImageNet's mean and standard deviation."""
    shape_space: Literal["open", "smpl", "smplx"] = "open"
    """Whose shape coefficients it gives: those of the bodies it was trained on. Converted files give SMPL's."""

    def __post_init__(self) -> None:
        _require(self.image_px >= 32, "network.image_px", self.image_px, "Give 32 or more.")
        _require(len(self.blocks) == 4, "network.blocks", self.blocks, "Give four numbers, one a stage.")
        _require(self.iterations >= 1, "network.iterations", self.iterations, "Give 1 or more.")

    @property
    def features(self) -> int:
        """Length of the encoder's feature vector."""
        return self.width * 8 * (4 if self.bottleneck else 1)


@dataclass(frozen=True, kw_only=True)
class PictureSettings:
    """Pictures, and what is changed about them in training."""

    crop_margin: float = 1.2
    """Side of the crop over the longer side of the person, as the pipeline's boxes are cut."""
    scale_jitter: float = 0.2
    """Crops larger or smaller by up to this share."""
    shift_jitter: float = 0.1
    """Crops moved by up to this share of their side."""
    flip: bool = True
    """Half of the pictures mirrored; left and right of the body change places."""
    colour_jitter: bool = True
    background: Literal["keep", "replace"] = "replace"
    """`replace`: a share of the pictures get another background behind the person (noise, or `backgrounds`)."""
    background_per: Literal["picture", "sequence"] = "picture"
    """Another background each time a picture is seen, or one for all pictures of a source, as in the paper."""
    background_share: float = 0.5
    """How many of the pictures, or of the sources, get another background."""
    occluder_share: float = 0.3
    """Share of pictures in which a rectangle hides part of the person."""
    validation_share: float = 0.1
    """Share of sources held out, chosen by a hash of their ids."""

    def __post_init__(self) -> None:
        share = self.background_share
        _require(0 <= share <= 1, "pictures.background_share", share, "Give a share from 0 to 1.")


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """L_tn = L_para + theta_p L_J_pos + theta_r L_J_rot (paper, section 3.1); the paper's weights are unpublished."""

    theta_p: float = 20.0
    """Per squared metre of a joint."""
    theta_r: float = 1.0
    """Per squared entry of a joint's rotation matrix."""
    betas: float = 0.1
    """Share of the shape coefficients in L_para: a unit of beta is less than a unit of anything else."""
    parameters: Literal["network", "theta85", "theta82"] = "network"
    """What L_para compares. `network`: the numbers the regressor adds to, camera, pose and shape each by their mean.
    `theta85`: the paper's L2 on the coefficients themselves, [s, tx, ty | 72 axis-angles | 10 betas], all alike
    (`betas` does not count); `theta82`: without the camera."""


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """The loop."""

    batch_size: int = 32
    max_steps: int = 20_000
    learning_rate: float = 1e-4
    warm_up_steps: int = 100
    freeze_encoder: bool = False
    """Trains the regressor alone."""
    clip_norm: float = 1.0
    precision: Literal["float32", "bfloat16"] = "float32"
    """`bfloat16`: the encoder in mixed precision; the regressor and the losses stay float32."""
    seed: int = 6666
    log_every: int = 20
    validate_every: int = 500

    def __post_init__(self) -> None:
        for name in ("batch_size", "max_steps", "log_every", "validate_every"):
            _require(getattr(self, name) >= 1, f"train.{name}", getattr(self, name), "Give 1 or more.")
        _require(self.learning_rate > 0, "train.learning_rate", self.learning_rate, "Give a number above 0.")


@dataclass(frozen=True, kw_only=True)
class TrackNetSettings:
    """All settings of TrackNet."""

    network: NetworkSettings = field(default_factory=NetworkSettings)
    pictures: PictureSettings = field(default_factory=PictureSettings)
    losses: LossSettings = field(default_factory=LossSettings)
    train: TrainSettings = field(default_factory=TrainSettings)


def tracknet_preset(name: str) -> TrackNetSettings:
    """`hmr` (the published shape), `paper` (HMR's own numbers, loss and backgrounds too) or `small` (0.8 M parameters).

    `paper` is section 3.1 to the letter where it is published: HMR regresses 85 coefficients, L_para is L2 on them, and
    each sequence has one random background. The weights theta_p and theta_r are not published.
    """
    if name == "hmr":
        return TrackNetSettings()
    if name == "paper":
        return TrackNetSettings(
            network=NetworkSettings(rotation_form="axis_angle", scaling="hmr"),
            pictures=PictureSettings(background_per="sequence", background_share=1.0),
            losses=LossSettings(parameters="theta85"),
        )
    if name == "small":
        return TrackNetSettings(
            network=NetworkSettings(
                image_px=128, blocks=(1, 1, 1, 1), width=24, bottleneck=False, hidden=256, dropout=0.1
            ),
            train=TrainSettings(max_steps=3000, learning_rate=1e-3, validate_every=250),
        )
    raise SettingsError(f"unknown preset {name!r}.", remedy="Use 'hmr', 'paper' or 'small'.")
