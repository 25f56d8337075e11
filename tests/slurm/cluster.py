"""A real Slurm of our own for the tests: three nodes of eight fake GPUs, with accounting.

Tried with Slurm 22.05.8 (Debian 12). Everything lies in one temporary folder with ports and a munge
socket of its own, so an existing Slurm, munge or MariaDB is not touched and several of these run
side by side. It needs root: slurmd starts the batch scripts of the users who submit them.

    with PrivateSlurm() as slurm:
        job = slurm.submit("--gres=gpu:8", "--wrap=sleep 60")
        slurm.wait_for(job, "RUNNING")

The daemons are children of `supervisor.py`, which ends them all when `stop` is called and also when
this process ends in any other way, SIGKILL included.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from .configuration import ACCOUNT, CLUSTER, NODES, write_configuration
from .daemons import Daemons
from .machine import (
    PATH,
    Ports,
    SlurmStartError,
    answers,
    directory_of,
    missing,
    place,
    processes_of,
)
from .supervisor import descendants, kill, parents

# What a Slurm around the tests (or the user's own defaults) would change in our commands.
FOREIGN = ("SLURM_", "SBATCH_", "SALLOC_", "SRUN_", "SQUEUE_", "SACCT_", "SINFO_", "SCANCEL_")


class PrivateSlurm:
    """One private cluster: partition `gpu` (the default) and `scavenge`, which `gpu` preempts.

    `node_timeout` (s) is how long a silent node is waited for before it is DOWN and its jobs are
    requeued. `requeue_delay` (s) is how long a requeued job is held back (Reason=BeginTime); 5 is
    the least that Slurm accepts, with less it silently takes its default of 120. Do not cut it
    short by `scontrol update StartTime=now`: a node refuses the job's credential for that long, and
    the job would end as FAILED (slurmd: "already killed, do not launch").
    """

    def __init__(self, node_timeout: int = 6, requeue_delay: int = 5) -> None:
        self.node_timeout = node_timeout
        self.requeue_delay = requeue_delay
        self.folder = Path()
        self.env: dict[str, str] = {}
        self._ports = Ports()
        self._daemons: Daemons | None = None
        self._slurmd: dict[str, int] = {}
        self._complaint = ""

    def __enter__(self) -> PrivateSlurm:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # Coming up and going down.

    def start(self, timeout: float = 60) -> PrivateSlurm:
        """Bring the cluster up, its nodes idle. On any failure nothing is left running.

        Raises SlurmStartError with the tail of the log of the daemon that failed.
        """
        if reason := missing():
            raise SlurmStartError(reason)
        if self._daemons is not None:
            raise SlurmStartError("this cluster is already running")
        try:
            self._start(time.monotonic() + timeout)
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self, deadline: float) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="private-slurm-", dir=place()))
        self.folder.chmod(0o755)  # munged insists that nobody else writes to it
        self.env = {"SLURM_CONF": str(self.folder / "slurm.conf")}
        write_configuration(self.folder, self._ports.take, self.node_timeout, self.requeue_delay)
        self._daemons = Daemons(self.folder, self._daemon_env())
        self._start_munged()
        self._start_database(deadline)
        self._daemons.spawn("slurmdbd", "slurmdbd", "-D")
        self._until(lambda: self._succeeds("sacctmgr", "-n", "list", "user"), deadline, "slurmdbd")
        self._add_accounts()
        self._daemons.spawn("slurmctld", "slurmctld", "-D")
        self._until(lambda: self._succeeds("scontrol", "ping"), deadline, "slurmctld")
        for node in NODES:
            self.start_slurmd(node)
        self._until(lambda: set(self.node_states().values()) == {"idle"}, deadline, "slurmd.gpu1")

    def _add_accounts(self) -> None:
        own = [f"account={ACCOUNT}", f"defaultaccount={ACCOUNT}"]
        try:
            self.run("sacctmgr", "-i", "add", "cluster", CLUSTER)
            self.run("sacctmgr", "-i", "add", "account", ACCOUNT)
            self.run("sacctmgr", "-i", "add", "user", "root", *own)
        except RuntimeError as error:
            raise SlurmStartError(f"{error}\n{self.log_tail('slurmdbd')}") from error

    def _start_munged(self) -> None:
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        names = {"key-file": "key", "socket": "socket", "pid-file": "pid"}
        names |= {"seed-file": "seed", "log-file": "log"}
        options = [f"--{option}={self.folder}/munge.{end}" for option, end in names.items()]
        self._running().spawn("munged", "munged", "--foreground", *options)

    def _start_database(self, deadline: float) -> None:
        data = self.folder / "mariadb"
        common = [f"--datadir={data}", "--user=root", "--innodb-log-file-size=4M"]
        common += ["--innodb-flush-log-at-trx-commit=0", "--skip-innodb-doublewrite"]
        common += ["--innodb-flush-method=nosync", "--innodb-buffer-pool-size=32M"]
        install = ("mariadb-install-db", "--no-defaults", "--skip-test-db")
        self._running().complete("mariadb-install-db", *install, *common)
        address = self.folder / "mariadb.socket"
        own = ["--no-defaults", "--skip-networking", f"--socket={address}"]
        own += [f"--pid-file={self.folder}/mariadb.pid", "--innodb-lock-wait-timeout=900"]
        self._running().spawn("mariadbd", "mariadbd", *own, *common)
        self._until(lambda: answers(address), deadline, "mariadbd")

    def stop(self) -> None:
        """End every process of the cluster and remove its folder. May be called at any time."""
        daemons, self._daemons = self._daemons, None
        try:
            if daemons is not None:
                daemons.stop()
        finally:
            if self.env:
                shutil.rmtree(self.folder, ignore_errors=True)
            self.env = {}
            self._slurmd.clear()
            self._ports.release()

    def _running(self) -> Daemons:
        if self._daemons is None:
            raise RuntimeError("this cluster is not running")
        return self._daemons

    def _succeeds(self, *argv: str) -> bool:
        done = self.attempt(*argv)
        self._complaint = done.stderr.strip()
        return done.returncode == 0

    def _daemon_env(self) -> dict[str, str]:
        return {
            "PATH": PATH,
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "TMPDIR": str(self.folder / "tmp"),
            "MYSQL_UNIX_PORT": str(self.folder / "mariadb.socket"),  # slurmdbd.conf cannot say it
            **self.env,
        }

    def _until(self, ready: Callable[[], bool], deadline: float, name: str) -> None:
        """Wait for a daemon; raise with its log when it, or any other, ends or when time is up."""
        while not ready():
            self._running().check()
            if time.monotonic() > deadline:
                seen = f"{self._complaint}\n{self.log_tail(name)}"
                raise SlurmStartError(f"{name} did not get ready:\n{seen}")
            time.sleep(0.05)

    def log_tail(self, name: str, lines: int = 25) -> str:
        """The last lines a daemon wrote: munged, mariadbd, slurmdbd, slurmctld, slurmd.gpu1…"""
        return self._running().log_tail(name, lines)

    # Talking to it.

    def process_env(self) -> dict[str, str]:
        """The whole environment of a process that talks to this cluster and to no other."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
        return kept | {"PATH": PATH} | self.env

    def attempt(self, *argv: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run one command against the cluster, whatever its exit status."""
        return subprocess.run(
            argv,
            env=self.process_env(),
            input=stdin or "",
            capture_output=True,
            text=True,
            timeout=60,
        )

    def run(self, *argv: str, stdin: str | None = None) -> str:
        """The standard output of a command; raises RuntimeError with its errors if it fails."""
        done = self.attempt(*argv, stdin=stdin)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def submit(self, *options: str, script: str | None = None) -> str:
        """The id of a new job: `script` on sbatch's stdin, or a --wrap among the options."""
        output = [] if any(o.startswith(("-o", "--ou")) for o in options) else ["-o", "/dev/null"]
        answer = self.run("sbatch", "--parsable", *output, *options, stdin=script)
        return answer.strip().split(";")[0]

    def wait_until(
        self, predicate: Callable[[], bool], timeout: float = 30, what: str = ""
    ) -> None:
        """Poll ten times a second; after `timeout` s raises TimeoutError, which shows the queue."""
        deadline = time.monotonic() + timeout
        while not predicate():
            if time.monotonic() > deadline:
                queue = self.attempt("squeue", "-a", "-r", "-t", "all", "-o", "%i %T %r").stdout
                raise TimeoutError(f"not within {timeout:g} s: {what}\n{queue}")
            time.sleep(0.1)

    def job_states(self, *jobs: str) -> dict[str, str]:
        """The controller's state of each job or array task, also ended ones: {"7_0": "PENDING"}.

        Without arguments: of all jobs. A job the controller does not know is absent.
        """
        chosen = ["-j", ",".join(jobs)] if jobs else []
        done = self.attempt("squeue", "-h", "-a", "-r", "-t", "all", "-o", "%i|%T", *chosen)
        if done.returncode != 0 and "Invalid job id" not in done.stderr:
            raise RuntimeError(f"squeue: {done.stderr.strip()}")
        return dict(line.strip().split("|") for line in done.stdout.splitlines())

    def wait_for(self, job: str, *states: str, timeout: float = 30) -> None:
        """Until every task of `job` is in one of `states`."""

        def reached() -> bool:
            found = self.job_states(job)
            return bool(found) and set(found.values()) <= set(states)

        self.wait_until(reached, timeout, f"{job} to be {' or '.join(states)}")

    def job(self, job: str) -> dict[str, str]:
        """The fields of `scontrol -d -o show job`, e.g. ["Reason"], ["Restarts"], ["StartTime"]."""
        text = self.run("scontrol", "-d", "-o", "show", "job", job).splitlines()[0]
        return dict(field.split("=", 1) for field in text.split() if "=" in field)

    def tres(self, job: str) -> list[str]:
        """What a job asked for, e.g. ["cpu=1", "gres/gpu=8"]; 22.05 calls it TRES, 24.11 ReqTRES."""
        fields = self.job(job)
        return (fields.get("ReqTRES") or fields["TRES"]).split(",")

    def expire(self, job: str) -> None:
        """Let a running job reach its time limit: TIMEOUT at the next look, each 30 s."""
        self.run("scontrol", "update", f"jobid={job}", "EndTime=now")

    # Nodes.

    def node_states(self) -> dict[str, str]:
        """sinfo's state of each node: {"gpu1": "idle", ...}; "down*" means it does not answer."""
        text = self.run("sinfo", "-h", "-N", "-p", "gpu", "-o", "%N|%t")
        return dict(line.strip().split("|") for line in text.splitlines())

    def start_slurmd(self, node: str) -> None:
        """Start the daemon of a node (again)."""
        spool = self._spool(node)
        argv = ("slurmd", "-D", "-N", node)
        self._slurmd[node] = self._running().spawn(f"slurmd.{node}", *argv, cwd=spool)

    def kill_slurmd(self, node: str, report: bool = True) -> None:
        """Lose a node as in a power cut: its daemon, its steps and the processes of its jobs.

        The controller is told (node DOWN: its jobs become NODE_FAIL and are requeued at once), as
        a site's health check does; without `report` it finds out by its own pings, in about 30 s.
        """
        kill({self._slurmd.pop(node)})
        steps = {
            pid for pid, _ in processes_of(self.folder) if directory_of(pid) == self._spool(node)
        }
        tasks = {child for pid in steps for child in descendants(pid)} - steps
        # The steps first: a living one would report the death of its task, and the job as FAILED.
        self._end(steps)
        self._end(tasks)
        if report:
            self.run("scontrol", "update", f"nodename={node}", "state=down", "reason=power cut")

    def _end(self, pids: set[int]) -> None:
        kill(pids)
        self.wait_until(lambda: not pids & set(parents()), what=f"processes {pids} to end")

    def _spool(self, node: str) -> Path:
        """Where the slurmd of a node runs, and with it every slurmstepd it starts."""
        return self.folder / f"spool.{node}"
