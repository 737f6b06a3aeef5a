"""From a path to upright RGB frames with presentation times, shots, and crops."""
