"""A Slurm cluster of two nodes on this machine, of Debian's `slurm-wlm`: daemons in the foreground, files in a folder.

Nothing is installed and nothing is left behind: the daemons are children of this process, which the system kills when
it ends, however it ends.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import Unavailable
from tests.cluster.processes import end_processes_with

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "sinfo", "scancel", "scontrol", "setpriv")
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
_NODES = ("n1", "n2")


@dataclass(frozen=True, kw_only=True)
class SlurmCluster:
    """A cluster that is up."""

    environment: dict[str, str]
    """With which Slurm's commands speak to it."""

    def ask(self, *words: str) -> str:
        """What a command of Slurm prints."""
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout.strip()

    def states(self) -> dict[str, str]:
        """The states of all jobs that are not over, by their number (`7_1` of an array's task)."""
        lines = self.ask("squeue", "--noheader", "--array", "--format", "%i %T").splitlines()
        return dict(line.split() for line in lines)

    def wait(self, limit_s: float) -> None:
        """Returns once no job waits or runs."""
        deadline = time.monotonic() + limit_s
        while left := self.states():
            assert time.monotonic() < deadline, f"jobs do not end: {left}"
            time.sleep(0.5)


def require_slurm() -> None:
    """Raises Unavailable, saying what is missing, where there is no Slurm."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if missing:
        raise Unavailable(f"Slurm is not installed ({', '.join(missing)}): apt-get install slurm-wlm")


@contextmanager
def slurm_cluster(folder: Path) -> Iterator[SlurmCluster]:
    """A cluster with one CPU a node whose files lie in `folder`. Raises Unavailable where it does not come up."""
    require_slurm()
    folder.mkdir(parents=True, exist_ok=True)
    conf = folder / "slurm.conf"
    controller, *ports = _free_ports(1 + len(_NODES))
    conf.write_text(_configuration(folder, controller, ports))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    environment |= {"SLURM_CONF": str(conf), "PATH": PATH}
    cluster = SlurmCluster(environment=environment)
    with ExitStack() as stack:
        daemons: list[subprocess.Popen] = []
        stack.callback(_end_all, daemons, environment)
        for words in (["slurmctld", "-D"], *(["slurmd", "-D", "-N", node] for node in _NODES)):
            daemons.append(_started(words, folder, environment))
        _await_nodes(cluster, folder)
        yield cluster


def _configuration(folder: Path, controller: int, ports: Sequence[int]) -> str:
    host, user = socket.gethostname(), getpass.getuser()
    nodes = "".join(
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 RealMemory=4000 State=UNKNOWN\n"
        for node, port in zip(_NODES, ports)
    )
    return f"""ClusterName=humandepth
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_min_interval=200000
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
MailProg=/bin/true
KillWait=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
{nodes}PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def _started(words: Sequence[str], folder: Path, environment: dict[str, str]) -> subprocess.Popen:
    (folder / "state").mkdir(exist_ok=True)
    with open(folder / "daemons.log", "ab") as log:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *words],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _await_nodes(cluster: SlurmCluster, folder: Path, limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        asked = subprocess.run(
            ["sinfo", "--noheader", "--Node", "--format", "%T"],
            env=cluster.environment,
            capture_output=True,
            text=True,
        )
        if asked.stdout.split() == ["idle"] * len(_NODES):
            return
        time.sleep(0.3)
    logs = "\n".join(path.read_text(errors="replace")[-1500:] for path in sorted(folder.glob("*.log")))
    raise Unavailable(
        f"the Slurm cluster did not come up in {limit_s:.0f} s: {asked.stdout or asked.stderr}\n{logs}"
    )


def _end_all(daemons: Sequence[subprocess.Popen], environment: dict[str, str]) -> None:
    """Ends every process of this cluster: daemons, steps, and what jobs have started."""
    end_processes_with("SLURM_CONF", environment["SLURM_CONF"])
    for daemon in daemons:
        daemon.wait()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
