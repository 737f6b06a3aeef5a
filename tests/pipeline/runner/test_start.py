"""What a run's driver loads before it does anything: every start of the command line pays for it."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = ("ai_edge_litert", "matplotlib", "pyrender", "scenedetect", "torch")
"""0.4 to 1.6 s of CPU time each; only the processes that do units need them, and only where the settings ask."""


def test_a_driver_starts_without_what_only_units_need() -> None:
    code = f"import json, sys, pipeline.runner.driver; print(json.dumps([n for n in {HEAVY} if n in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
