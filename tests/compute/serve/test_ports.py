"""Ports: derived from the job, below the ephemeral range, claimed before they are probed."""

from __future__ import annotations

import socket
import subprocess
import sys
from itertools import islice

import pytest

from harness.compute.serve import ports
from tests.support import ROOT


@pytest.mark.parametrize(
    ("text", "start"), [("32768\t60999\n", 32768), ("20000 60999", 20000), ("1024 65535", 32768)]
)
def test_the_ephemeral_range_is_read_as_linux_writes_it(text: str, start: int) -> None:
    assert ports.ephemeral_start(text) == start


def test_blocks_cover_the_range_once_without_overlap() -> None:
    bases = list(ports.block_bases({"SLURM_JOB_ID": "4711"}, 32768))
    assert len(bases) == len(set(bases)) == (32768 - ports.LOWEST) // ports.BLOCK
    assert min(bases) == ports.LOWEST
    assert max(bases) + ports.BLOCK <= 32768


def test_the_tasks_of_an_array_begin_apart() -> None:
    # Slurm gives each task a job id of its own.
    tasks = [{"SLURM_JOB_ID": str(900 + i), "SLURM_ARRAY_TASK_ID": str(i)} for i in range(8)]
    firsts = [next(ports.block_bases(task, 32768)) for task in tasks]
    assert len(set(firsts)) == 8
    assert firsts == [next(ports.block_bases(task, 32768)) for task in tasks]


def test_a_reserved_block_is_nobody_elses_while_it_is_held() -> None:
    job = {"SLURM_JOB_ID": "100"}
    with ports.reserve(environ=job) as first, ports.reserve(environ=job) as second:
        assert abs(first.http - second.http) >= ports.BLOCK
    with ports.reserve(environ=job) as again:
        assert again == first


def test_another_process_cannot_reserve_the_same_block_or_preferred_port() -> None:
    program = (
        "from harness.compute.serve import ports\n"
        "with ports.reserve({preferred}, environ={{'SLURM_JOB_ID': '200'}}) as p: print(p.http)"
    )
    with ports.reserve(environ={"SLURM_JOB_ID": "7"}) as free:
        preferred = free.http
    with ports.reserve(preferred, environ={"SLURM_JOB_ID": "200"}) as mine:
        assert mine.http == preferred
        other = subprocess.run(
            [sys.executable, "-c", program.format(preferred=preferred)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert int(other.stdout) not in range(mine.torch - 1, mine.torch - 1 + ports.BLOCK)
        assert int(other.stdout) != preferred


@pytest.mark.parametrize("offset", [0, 1, ports.BLOCK - 1])
def test_a_block_with_a_busy_port_is_passed_over(offset: int) -> None:
    base = next(islice(ports.block_bases({"SLURM_JOB_ID": "300"}, 32768), 1))
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # vLLM listens with this option, and a probe that set it too would see a free port.
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", base + offset))
        stranger.listen()
        assert not ports.is_free(base + offset)
        with ports.reserve(environ={"SLURM_JOB_ID": "300"}) as found:
            assert found.http != base


def test_ports_that_failed_before_are_avoided() -> None:
    job = {"SLURM_JOB_ID": "400"}
    with ports.reserve(environ=job) as first:
        pass
    with ports.reserve(first.http, avoid={first.http}, environ=job) as second:
        assert second.http != first.http
