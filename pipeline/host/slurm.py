"""What Slurm tells a process of itself, and whether a job that left something behind has ended."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

_LIMIT_S = 30.0


def job_facts(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """`slurm_job` and `slurm_restarts` of a process in a Slurm job; nothing outside of one."""
    job = environment.get("SLURM_JOB_ID", "")
    return {"slurm_job": job, "slurm_restarts": environment.get("SLURM_RESTART_COUNT", "0")} if job else {}


def has_ended(facts: Mapping[str, Any]) -> bool:
    """Whether the job of `job_facts` has certainly ended: this is its restart, or Slurm lists it no more.

    False where nothing is known: no job was noted, `squeue` is missing or cannot reach the controller.
    """
    job, mine = str(facts.get("slurm_job", "")), job_facts()
    if not job.isdecimal():
        return False
    if mine.get("slurm_job") == job:
        return int(mine["slurm_restarts"]) > int(facts.get("slurm_restarts", 0))
    squeue = shutil.which("squeue")
    if squeue is None:
        return False
    try:
        asked = subprocess.run(
            [squeue, "--noheader", "--jobs", job, "--format", "%T"],
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    is_forgotten = asked.returncode != 0 and "Invalid job id" in asked.stderr
    return is_forgotten or (asked.returncode == 0 and not asked.stdout.strip())
