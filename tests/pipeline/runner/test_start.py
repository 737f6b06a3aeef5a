"""What a run's driver loads before it does anything: every start of the command line pays for it."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = ("ai_edge_litert", "av", "cv2", "matplotlib", "numba", "pyrender", "scenedetect", "scipy", "torch")
"""0.1 to 2.5 s of CPU time each; only the processes that do units need them, and only where the settings ask."""


def test_a_driver_starts_without_what_only_units_need() -> None:
    code = (
        "import json, sys, pipeline.commands.main, pipeline.runner.driver;"
        f"print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
