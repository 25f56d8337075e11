"""What a private cluster needs to know of the machine: programs, ports, room and processes."""

from __future__ import annotations

import os
import random
import shutil
import socket
from pathlib import Path

PACKAGES = "slurm-wlm slurmdbd munge mariadb-server"
INSTALL = f"apt-get install -y --no-install-recommends {PACKAGES}"
PROGRAMS = (
    *("slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd", "mariadb-install-db"),
    *("sbatch", "srun", "squeue", "sacct", "sacctmgr", "scontrol", "scancel", "sinfo"),
)
PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"))


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


def place() -> str:
    """Where the folder goes: memory, if it has room and lets batch scripts run, else /tmp.

    The many fsyncs of MariaDB take 5 s on a disk. Not TMPDIR: a Unix socket's path has 107 bytes.
    """
    try:
        memory = os.statvfs("/dev/shm")
    except OSError:
        return "/tmp"
    room = memory.f_bavail * memory.f_frsize
    return "/dev/shm" if room > 2**29 and not memory.f_flag & os.ST_NOEXEC else "/tmp"


def directory_of(pid: int) -> Path | None:
    """The working directory of a process, None if it has ended."""
    try:
        return Path(os.readlink(f"/proc/{pid}/cwd"))
    except OSError:
        return None


def answers(address: Path) -> bool:
    """Does something listen on this Unix socket?"""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(address)) == 0
