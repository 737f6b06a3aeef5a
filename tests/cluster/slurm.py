"""An array of three shards on a Slurm cluster of two nodes, merged by a job that waits: `docker/launch_slurm.sh`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.cluster.slurm_cluster import SlurmCluster, slurm_cluster

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 900.0


def run_dataset(clips: Sequence[Path], folder: Path) -> Path:
    """The dataset of these clips."""
    manifest = folder / "clips.csv"
    manifest.write_text("uri\n" + "".join(f"{clip}\n" for clip in clips))
    with slurm_cluster(folder / "slurm") as cluster:
        launch(cluster, manifest, folder / "dataset", shards=3)
        cluster.wait(LIMIT_S)
    return folder / "dataset"


def launch(
    cluster: SlurmCluster,
    manifest: Path,
    out: Path,
    *options: str,
    shards: int,
    python: str = sys.executable,
    variables: Mapping[str, str] | None = None,
) -> str:
    """Submits everything and returns what the script says."""
    done = subprocess.run(
        [str(ROOT / "docker/launch_slurm.sh"), str(manifest), str(out), *options],
        env={**cluster.environment, "SHARDS": str(shards), "PYTHON": python, **(variables or {})},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def logs(out: Path) -> str:
    """All logs of the jobs that made a dataset."""
    return "\n".join(
        f"{path.name}: {path.read_text()}" for path in sorted(Path(f"{out}.parts/logs").glob("*.log"))
    )
