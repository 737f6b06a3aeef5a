"""Takes of one retargeting program tip the pelvis by 28 degrees and bend the back the other way; put right here.

Two recordings that are there in both forms (005_01 and walking_2, 006_01 and walking_3) tell it: limbs point the same
way within 2 degrees, while pelvis and trunk differ by turns about their x that are constant in time within 2 degrees
and nearly alike in both. Of the recording that two other programs retargeted they do not differ (.01 rad). Pelvises of
people 006 and 007 lean back by 1.6 and .6 degrees then, on the mean over their takes of this program, and by .3 and 2.0
in their takes of others; before by -26.5 and -27.5.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from pipeline.body.smpl_layout import JOINT_PARENTS

TIPPED = "iclone/"
"""In the name of such takes."""
TURNS_RAD = {0: -0.49, 3: -0.254, 6: -0.016, 9: 0.22, 12: 0.22, 13: 0.22, 14: 0.22}
"""About x of pelvis, spine, neck and collars: the mean of both recordings, of -.53 and -.45 at the pelvis."""


def straightened(pose: np.ndarray) -> np.ndarray:
    """Axis-angles (T, 24, 3) with joints of `TURNS_RAD` turned in their own axes; no other joint's bone turns.

    G'_j = G_j Rx(turn_j), G_j the product of the rotations from the root to joint j.
    """
    turned: list[Rotation] = []
    whole: list[Rotation] = []
    found = np.empty_like(pose, dtype=np.float64)
    for joint, parent in enumerate(JOINT_PARENTS):
        own = Rotation.from_rotvec(pose[:, joint])
        whole.append(own if joint == 0 else whole[parent] * own)
        turned.append(whole[joint] * Rotation.from_euler("x", TURNS_RAD.get(joint, 0.0)))
        local = turned[joint] if joint == 0 else turned[parent].inv() * turned[joint]
        found[:, joint] = local.as_rotvec()
    return found
