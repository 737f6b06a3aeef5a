"""What decides a studio clip besides its seed."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class StudioSettings:
    """A film set for one person."""

    duration_s: float = 4.0
    """Length of a clip."""
    fps: float = 30.0
    """Frame rate of the film."""
    height_px: int = 640
    """Height of the film's pictures."""
    width_px: int = 640
    """Width of the film's pictures."""
    least_focal: float = 1.1
    """Shortest focal length over the picture's longer side (ratio); phones film with .8. Distances follow, so that
    people fill the picture alike."""
    most_focal: float = 2.4
    """Longest (ratio)."""
    pitch_deg: float = 0.0
    """Standard deviation of the camera's pitch about the place of the set; at most 2.5 times as much."""
    roll_deg: float = 0.0
    """Standard deviation of its roll, likewise."""
    supersampling: int = 2
    """Rays per pixel along each side (count)."""
    subdivisions: int = 1
    """Times that every face of the body is cut into four (count), so that garments have folds and hems."""
    loose_share: float = 0.3
    """Share of clips whose garments lag behind the body, and whose skinning is not the model's."""
    slide_m: float = 0.0
    """Root mean square distance that garments slip over the body by themselves, one to two times a second."""
    noise: float = 0.01
    """Standard deviation of the sensor's noise over the brightness of white (ratio)."""
    drift: float = 0.04
    """Amplitude of slow changes of exposure and white balance (ratio)."""
    shake_deg: float = 0.3
    """Amplitude of a hand-held camera's rotation; half of the clips stand on a tripod."""
    blur_samples: int = 1
    """Instants averaged into a frame over half of its duration (count); 1 is a shutter without blur."""
    crf: int = 18
    """Constant rate factor of the H.264 film (score of the encoder, 0 lossless to 51)."""

    def __post_init__(self) -> None:
        for name in ("duration_s", "fps", "height_px", "width_px", "supersampling", "blur_samples"):
            if getattr(self, name) <= 0:
                raise SettingsError(
                    f"setting 'studio.{name}' cannot be {getattr(self, name)!r}.",
                    remedy="Give a number above 0.",
                )
        if not 0.3 <= self.least_focal <= self.most_focal:
            raise SettingsError(
                f"setting 'studio.least_focal' cannot be {self.least_focal!r} with studio.most_focal "
                f"{self.most_focal!r}.",
                remedy="Give 0.3 or more, and not more than studio.most_focal.",
            )
        for name in ("pitch_deg", "roll_deg"):
            if not 0 <= getattr(self, name) <= 30:
                raise SettingsError(
                    f"setting 'studio.{name}' cannot be {getattr(self, name)!r}.",
                    remedy="Give 0 to 30 degrees.",
                )
        if not 0 <= self.slide_m <= 0.1:
            raise SettingsError(
                f"setting 'studio.slide_m' cannot be {self.slide_m!r}.", remedy="Give 0 to 0.1 metres."
            )
        if not 0 <= self.subdivisions <= 3:
            raise SettingsError(
                f"setting 'studio.subdivisions' cannot be {self.subdivisions}.", remedy="Give 0 to 3."
            )
