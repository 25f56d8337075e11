"""Ports that two servers on one node cannot both take.

A block of ports is derived from the Slurm job, below the range from which the kernel hands out
ports to clients (an outgoing connection could otherwise sit on a port of ours). Probing a port
and releasing it is itself a race, so a port is first claimed: each claim is an abstract Unix
socket with the port's number, which the kernel gives to one process on the node at a time and
takes back when that process dies, however it dies. Only then the port is tried by binding, for
the sake of programs that are not ours.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ServerError

BLOCK = 32
LOWEST = 10_240
USUAL_EPHEMERAL = 32_768
RANGE_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")


@dataclass(frozen=True)
class Ports:
    """The ports of one server."""

    http: int
    torch: int
    """MASTER_PORT, or SGLang's --nccl-port."""
    internal: int
    """First of the ports that the engine may use among its own processes."""

    @classmethod
    def of_block(cls, base: int, http: int | None = None) -> Ports:
        """The block's first port serves HTTP (unless `http` is given), the second torch."""
        return cls(http=http or base, torch=base + 1, internal=base + 2)


def ephemeral_start(text: str) -> int:
    """First port that the kernel gives to clients, from the text of ip_local_port_range.

    Where that leaves no room for servers (some sites open the whole range), the usual start:
    binding and retrying then have to do.
    """
    low = int(text.split()[0])
    return low if low >= LOWEST + 16 * BLOCK else USUAL_EPHEMERAL


def block_bases(environ: Mapping[str, str], ceiling: int) -> Iterator[int]:
    """All blocks once, beginning with the job's own; outside Slurm with the process's.

    SLURM_JOB_ID differs between the tasks of an array, so tasks of one node begin apart.
    """
    count = (ceiling - LOWEST) // BLOCK
    job = environ.get("SLURM_JOB_ID", "")
    task = environ.get("SLURM_ARRAY_TASK_ID", "")
    start = (int(job) if job.isdigit() else os.getpid()) + (int(task) if task.isdigit() else 0)
    for step in range(count):
        yield LOWEST + BLOCK * ((start + step) % count)


def is_free(port: int) -> bool:
    """Whether nothing listens on the port, on any address. SO_REUSEADDR only forgives remains of
    closed connections, as servers do; SO_REUSEPORT (which vLLM sets) would let two listen."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def _claim(port: int, claims: ExitStack) -> bool:
    """Claim the port on this node until `claims` closes, if nobody has and it is free."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        claim.bind(f"\0harness-port-{port}")
    except OSError as error:
        claim.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    claims.callback(claim.close)
    return is_free(port)


@contextmanager
def reserve(
    preferred: int | None = None,
    *,
    avoid: Collection[int] = (),
    environ: Mapping[str, str] | None = None,
) -> Iterator[Ports]:
    """Hold a block of ports, and `preferred` for HTTP where it is free, while the context lasts.

    `avoid` names HTTP ports and block bases that failed before. Raises ServerError when no block
    of the node is free.
    """
    ceiling = ephemeral_start(RANGE_FILE.read_text())
    with ExitStack() as held:
        http = None
        if preferred is not None and preferred not in avoid:
            claims = ExitStack()
            if _claim(preferred, claims):
                http = preferred
                held.push(claims)
            else:
                claims.close()
        for base in block_bases(os.environ if environ is None else environ, ceiling):
            block = range(base, base + BLOCK)
            if base in avoid or (http in block):
                continue
            claims = ExitStack()
            if all(_claim(port, claims) for port in block):
                held.push(claims)
                yield Ports.of_block(base, http)
                return
            claims.close()
    raise ServerError(f"no free block of {BLOCK} ports between {LOWEST} and {ceiling} on this node")
