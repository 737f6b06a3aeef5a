"""Priors of poses that have not seen whom they judge: the tuning half taught the one that ships, which flatters it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.geometry.camera import Camera
from pipeline.tracking.fit import FittedTrack, fit_track
from pipeline.tracking.people import Observations
from pipeline.tracking.pose_prior import PosePrior
from pipeline.tracking.silhouette import Silhouettes
from pipeline.tracking.tracker import LandmarkTracker
from tests.accuracy.learn_prior import COMPONENTS, prior_of, teachers
from tests.accuracy.motions import Take


class UnseenPriors:
    """A prior for every person, learned from the tuning half of people but that one, or from both halves."""

    def __init__(
        self,
        takes: Sequence[Take],
        components: int = COMPONENTS,
        *,
        reported_too: bool = False,
        person_power: float = 0.0,
    ) -> None:
        """See `learn_prior.teachers` and `learn_prior.poses_of`."""
        self._takes, self._components, self._reported_too = takes, components, reported_too
        self._person_power, self._found = person_power, dict[str, PosePrior]()

    def of(self, person: str) -> PosePrior:
        """The prior that judges this person; learned in seconds when it is first asked for."""
        if person not in self._found:
            others = teachers(self._takes, person, reported_too=self._reported_too)
            self._found[person] = prior_of(others, self._components, self._person_power)
        return self._found[person]


class UnseenPriorTracker(LandmarkTracker):
    """The landmarks and the energy are as ever but for the prior."""

    prior: PosePrior
    """Of the scene that is fitted next."""

    def _bodies(self, seen: Observations, silhouettes: Silhouettes, camera: Camera) -> FittedTrack:
        settings = self._settings.tracking
        rng = np.random.default_rng(settings.seed)
        return fit_track(
            self._body, seen, silhouettes, camera, settings, rng, self._weights, prior=self.prior
        )
