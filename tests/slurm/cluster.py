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

import contextlib
import json
import os
import random
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from .configuration import ACCOUNT, CLUSTER, NODES, write_configuration
from .supervisor import descendants, kill, parents

PACKAGES = "slurm-wlm slurmdbd munge mariadb-server"
INSTALL = f"apt-get install -y --no-install-recommends {PACKAGES}"
PROGRAMS = (
    *("slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd", "mariadb-install-db"),
    *("sbatch", "srun", "squeue", "sacct", "sacctmgr", "scontrol", "scancel", "sinfo"),
)
PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"))
# What a Slurm around the tests (or the user's own defaults) would change in our commands.
FOREIGN = ("SLURM_", "SBATCH_", "SALLOC_", "SRUN_", "SQUEUE_", "SACCT_", "SINFO_", "SCANCEL_")


class SlurmStartError(RuntimeError):
    """A daemon of the private cluster did not come up; the message ends with its log's tail."""


def missing() -> str | None:
    """Why a private cluster cannot be started here, with the cure; None when it can."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if absent:
        return f"a private Slurm needs {', '.join(absent)}: run `{INSTALL}` as root"
    if os.geteuid() != 0:
        return "a private Slurm needs root (slurmd starts jobs for their users)"
    return None


class Ports:
    """Free TCP ports that no other PrivateSlurm of this machine takes while they are held.

    Each is claimed by an abstract Unix socket, which the kernel frees with this process, and lies
    below the ephemeral range, so that no outgoing connection takes it between test and use.
    """

    def __init__(self) -> None:
        self.claims: list[socket.socket] = []

    def take(self) -> int:
        for port in random.sample(range(20000, 32000), 2000):
            claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            with socket.socket() as probe:
                try:
                    claim.bind(f"\0private-slurm-port-{port}")
                    probe.bind(("0.0.0.0", port))
                except OSError:
                    claim.close()
                    continue
            self.claims.append(claim)
            return port
        raise SlurmStartError("no free TCP port between 20000 and 32000")

    def release(self) -> None:
        for claim in self.claims:
            claim.close()
        self.claims.clear()


def processes_of(folder: Path) -> list[tuple[int, str]]:
    """(pid, command line) of each process that has `folder` in its arguments or environment."""
    mark = os.fsencode(folder)
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                arguments = Path("/proc", entry, "cmdline").read_bytes()
                environment = Path("/proc", entry, "environ").read_bytes()
            except OSError:
                continue  # it ended while we were looking
            if mark in arguments or mark in environment:
                found.append((int(entry), arguments.replace(b"\0", b" ").decode(errors="replace")))
    return found


def _place() -> str:
    """Where the folder goes: memory, if it has room and lets batch scripts run, else /tmp.

    The many fsyncs of MariaDB take 5 s on a disk. Not TMPDIR: a Unix socket's path has 107 bytes.
    """
    try:
        memory = os.statvfs("/dev/shm")
    except OSError:
        return "/tmp"
    room = memory.f_bavail * memory.f_frsize
    return "/dev/shm" if room > 2**29 and not memory.f_flag & os.ST_NOEXEC else "/tmp"


def _end(supervisor: subprocess.Popen[bytes]) -> None:
    """Tell the supervisor to end all its daemons, then itself; wait until it has."""
    assert supervisor.stdin is not None and supervisor.stdout is not None
    try:
        with contextlib.suppress(OSError):  # it has ended already
            supervisor.stdin.write(json.dumps({"do": "stop"}).encode() + b"\n")
            supervisor.stdin.close()
        supervisor.wait(40)
    finally:
        supervisor.kill()  # its daemons then die by PR_SET_PDEATHSIG
        supervisor.wait()
        supervisor.stdout.close()


def _directory(pid: int) -> Path | None:
    try:
        return Path(os.readlink(f"/proc/{pid}/cwd"))
    except OSError:
        return None  # it has ended


def _answers(address: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(address)) == 0


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
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._slurmd: dict[str, int] = {}

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
        if self._supervisor is not None:
            raise SlurmStartError("this cluster is already running")
        try:
            self._start(time.monotonic() + timeout)
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self, deadline: float) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="private-slurm-", dir=_place()))
        self.folder.chmod(0o755)  # munged insists that nobody else writes to it
        self.env = {"SLURM_CONF": str(self.folder / "slurm.conf")}
        write_configuration(self.folder, self._ports.take, self.node_timeout, self.requeue_delay)
        supervisor = str(Path(__file__).with_name("supervisor.py"))
        self._supervisor = subprocess.Popen(
            [sys.executable, "-I", supervisor, str(self.folder), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in the terminal is for the tests, not for the daemons
        )
        self._start_munged()
        self._start_database(deadline)
        self._spawn("slurmdbd", ["slurmdbd", "-D"])
        self._until(lambda: self._succeeds("sacctmgr", "-n", "list", "user"), deadline, "slurmdbd")
        self.run("sacctmgr", "-i", "add", "cluster", CLUSTER)
        self.run("sacctmgr", "-i", "add", "account", ACCOUNT)
        own = [f"account={ACCOUNT}", f"defaultaccount={ACCOUNT}"]
        self.run("sacctmgr", "-i", "add", "user", "root", *own)
        self._spawn("slurmctld", ["slurmctld", "-D"])
        self._until(lambda: self._succeeds("scontrol", "ping"), deadline, "slurmctld")
        for node in NODES:
            self.start_slurmd(node)
        self._until(lambda: set(self.node_states().values()) == {"idle"}, deadline, "slurmd.gpu1")

    def _start_munged(self) -> None:
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        names = {"key-file": "key", "socket": "socket", "pid-file": "pid"}
        names |= {"seed-file": "seed", "log-file": "log"}
        options = [f"--{option}={self.folder}/munge.{end}" for option, end in names.items()]
        self._spawn("munged", ["munged", "--foreground", *options])

    def _start_database(self, deadline: float) -> None:
        data = self.folder / "mariadb"
        common = [f"--datadir={data}", "--user=root", "--innodb-log-file-size=4M"]
        common += ["--innodb-flush-log-at-trx-commit=0", "--skip-innodb-doublewrite"]
        common += ["--innodb-flush-method=nosync", "--innodb-buffer-pool-size=32M"]
        made = subprocess.run(
            ["mariadb-install-db", "--no-defaults", "--skip-test-db", *common],
            env=self._daemon_env(),
            capture_output=True,
            text=True,
            timeout=60,
        )
        if made.returncode != 0:
            raise SlurmStartError(f"mariadb-install-db failed:\n{made.stdout}{made.stderr}")
        address = self.folder / "mariadb.socket"
        own = ["--no-defaults", "--skip-networking", f"--socket={address}"]
        own += [f"--pid-file={self.folder}/mariadb.pid", "--innodb-lock-wait-timeout=900"]
        self._spawn("mariadbd", ["mariadbd", *own, *common])
        self._until(lambda: _answers(address), deadline, "mariadbd")

    def stop(self) -> None:
        """End every process of the cluster and remove its folder. May be called at any time."""
        supervisor, self._supervisor = self._supervisor, None
        try:
            if supervisor is not None:
                _end(supervisor)
        finally:
            if self.env:
                kill({pid for pid, _ in processes_of(self.folder)})  # none, unless that failed
                shutil.rmtree(self.folder, ignore_errors=True)
            self.env = {}
            self._slurmd.clear()
            self._ports.release()

    def _succeeds(self, *argv: str) -> bool:
        return self.attempt(*argv).returncode == 0

    def _ask(self, **request: object) -> dict[str, object]:
        assert self._supervisor is not None, "the cluster is not running"
        assert self._supervisor.stdin is not None and self._supervisor.stdout is not None
        self._supervisor.stdin.write(json.dumps(request).encode() + b"\n")
        self._supervisor.stdin.flush()
        line = self._supervisor.stdout.readline()
        if not line:
            raise SlurmStartError("the supervisor of the private cluster has ended")
        answer: dict[str, object] = json.loads(line)
        if "error" in answer:
            raise SlurmStartError(str(answer["error"]))
        return answer

    def _daemon_env(self) -> dict[str, str]:
        return {
            "PATH": PATH,
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "TMPDIR": str(self.folder / "tmp"),
            "MYSQL_UNIX_PORT": str(self.folder / "mariadb.socket"),  # slurmdbd.conf cannot say it
            **self.env,
        }

    def _spawn(self, name: str, argv: list[str], cwd: Path | None = None) -> int:
        program = shutil.which(argv[0], path=PATH)
        assert program is not None
        log = str(self.folder / f"{name}.log")
        argv = [program, *argv[1:]]
        pid = self._ask(
            do="spawn",
            name=name,
            argv=argv,
            env=self._daemon_env(),
            log=log,
            cwd=str(cwd or self.folder),
        )["pid"]
        assert isinstance(pid, int)
        return pid

    def _until(self, ready: Callable[[], bool], deadline: float, name: str) -> None:
        """Wait for a daemon; raise with its log when it, or any other, ends or when time is up."""
        while not ready():
            if ended := self._ask(do="exited"):
                name, code = next(iter(ended.items()))
                raise SlurmStartError(f"{name} ended with code {code}:\n{self.log_tail(name)}")
            if time.monotonic() > deadline:
                raise SlurmStartError(f"{name} did not get ready:\n{self.log_tail(name)}")
            time.sleep(0.05)

    def log_tail(self, name: str, lines: int = 25) -> str:
        """The last lines a daemon wrote: munged, mariadbd, slurmdbd, slurmctld, slurmd.gpu1…"""
        try:
            text = (self.folder / f"{name}.log").read_text(errors="replace")
        except OSError as error:
            return f"(no log: {error})"
        return "\n".join(text.splitlines()[-lines:])

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
        default = (
            ["--output=/dev/null"] if not any(o.startswith(("-o", "--ou")) for o in options) else []
        )
        return (
            self.run("sbatch", "--parsable", *default, *options, stdin=script).strip().split(";")[0]
        )

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
        text = self.attempt("squeue", "-h", "-a", "-r", "-t", "all", "-o", "%i|%T", *chosen).stdout
        return dict(line.strip().split("|") for line in text.splitlines())

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

    def expire(self, job: str) -> None:
        """Let a running job reach its time limit now: it ends as TIMEOUT within seconds."""
        self.run("scontrol", "update", f"jobid={job}", "EndTime=now")

    # Nodes.

    def node_states(self) -> dict[str, str]:
        """sinfo's state of each node: {"gpu1": "idle", ...}; "down*" means it does not answer."""
        text = self.run("sinfo", "-h", "-N", "-p", "gpu", "-o", "%N|%t")
        return dict(line.strip().split("|") for line in text.splitlines())

    def start_slurmd(self, node: str) -> None:
        """Start the daemon of a node (again)."""
        self._slurmd[node] = self._spawn(
            f"slurmd.{node}", ["slurmd", "-D", "-N", node], self._spool(node)
        )

    def kill_slurmd(self, node: str, report: bool = True) -> None:
        """Lose a node as in a power cut: its daemon, its steps and the processes of its jobs.

        The controller is told (node DOWN: its jobs become NODE_FAIL and are requeued at once), as
        a site's health check does; without `report` it finds out by its own pings, in about 30 s.
        """
        kill({self._slurmd.pop(node)})
        steps = {
            pid for pid, _ in processes_of(self.folder) if _directory(pid) == self._spool(node)
        }
        lost = steps | {child for pid in steps for child in descendants(pid)}
        kill(lost)
        self.wait_until(lambda: not lost & set(parents()), what=f"the processes of {node} to end")
        if report:
            self.run("scontrol", "update", f"nodename={node}", "state=down", "reason=power cut")

    def _spool(self, node: str) -> Path:
        """Where the slurmd of a node runs, and with it every slurmstepd it starts."""
        return self.folder / f"spool.{node}"
