"""`serve` as a job on a real Slurm, and here without it: ready, key, stop, nothing left."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest
import yaml

from tests.support import ROOT

from .cluster import PrivateSlurm

pytest.importorskip("transformers", reason="builds the tiny checkpoint")

FAKE = ROOT / "tests" / "compute" / "serve" / "fake_server.py"
READY_S = 90.0


class Served:
    """A folder with a tiny model and a site whose `vllm` is the fake server, and the verb on it."""

    def __init__(self, folder: Path, slurm: PrivateSlurm) -> None:
        from tests.tiny_model import make_tiny_model

        self.folder, self.slurm = folder, slurm
        self.model = make_tiny_model(folder / "model", chat_template="{{ messages }}")
        programs = folder / "bin"
        programs.mkdir()
        (programs / "vllm").write_text(
            f'#!/bin/bash\nOPTIONS=${{FAKE_OPTIONS:-null}}\n[[ $OPTIONS == null ]] && OPTIONS="{{}}"\n'
            f'exec {sys.executable} {FAKE} "$OPTIONS" vllm "$@"\n'
        )
        (programs / "vllm").chmod(0o755)
        site = {
            "scheduler": "slurm", "runs_dir": str(folder / "runs"),
            "slurm": {"partition": "gpu", "cpus_per_gpu": 1},
            "environments": {"vllm": {"activate": [f"export PATH={programs}:$PATH"]}},
        }  # fmt: skip
        (folder / "site.yaml").write_text(yaml.safe_dump(site))

    def start(self, *argv: str, **variables: str) -> subprocess.Popen[str]:
        env = self.slurm.process_env() | {"XDG_STATE_HOME": str(self.folder / "state")} | variables
        return subprocess.Popen(
            # A suite that runs in the background ignores ctrl-C, and so would its children.
            ["env", "--default-signal=INT", sys.executable, "-m", "harness", *argv,
             "--site", str(self.folder / "site.yaml")],
            cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip

    def serve(self, *argv: str, **variables: str) -> subprocess.Popen[str]:
        return self.start("serve", str(self.model), "--json", *argv, **variables)

    def keys(self) -> list[Path]:
        return list((self.folder / "state").rglob("*.key"))

    def servers(self) -> list[str]:
        found = []
        for process in psutil.process_iter(["cmdline"]):
            line = " ".join(process.info["cmdline"] or [])
            if str(self.model) in line and ("fake_server" in line or "transformers serve" in line):
                found.append(line)
        return found


def ready(process: subprocess.Popen[str]) -> dict[str, str]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()
    return dict(json.loads(line))


def soon(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)


@pytest.fixture
def served(tmp_path: Path, slurm: PrivateSlurm) -> Served:
    return Served(tmp_path, slurm)


ENGINE = ("--engine", "vllm", "--tensor-parallel", "1")


@pytest.mark.parametrize("how", [(), ("--local", "--gpus", "0")])
def test_a_served_model_wants_its_key_and_ctrl_c_ends_it(
    served: Served, how: tuple[str, ...]
) -> None:
    process = served.serve(*ENGINE, *how)
    try:
        state = ready(process)
        key_file = Path(state["key_file"])
        assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
        run = Path(state["run"])
        assert run not in key_file.parents
        key = key_file.read_text().strip()
        url = f"{state['base_url']}/models"
        assert httpx.get(url, trust_env=False).status_code == 401
        allowed = httpx.get(url, headers={"Authorization": f"Bearer {key}"}, trust_env=False)
        assert allowed.json()["data"][0]["id"] == state["model"]
        assert not [p for p in run.rglob("*") if p.is_file() and key.encode() in p.read_bytes()]
        lines = [" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"])]
        assert not any(key in line for line in lines)
        assert served.servers()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert "has stopped" in errors
        soon(lambda: not served.servers())
        assert served.keys() == []
    finally:
        process.kill()
        process.wait()


def test_a_detached_server_is_known_to_status_and_ended_by_cancel(served: Served) -> None:
    process = served.serve(*ENGINE, "--detach")
    state = ready(process)
    process.communicate(timeout=60)
    assert process.returncode == 0
    shown, _ = served.start("status").communicate(timeout=60)
    assert f"server: ready: {state['base_url']}" in shown
    served.start("cancel").communicate(timeout=60)
    soon(lambda: not served.servers())
    assert served.keys() == []


def test_a_server_that_dies_at_its_start_fails_with_its_log_and_leaves_nothing(
    served: Served,
) -> None:
    process = served.serve(*ENGINE, FAKE_OPTIONS=json.dumps({"print_and_die": "no such kernel"}))
    out, errors = process.communicate(timeout=READY_S)
    assert process.returncode == 1
    assert out == ""
    assert "ended before it was ready (exit code 3)" in errors
    assert "no such kernel" in errors
    assert "Traceback" not in errors
    assert served.keys() == []
    assert not served.servers()


def test_a_submission_that_is_refused_leaves_neither_key_nor_folder(served: Served) -> None:
    process = served.serve(*ENGINE, "--no-check", "--set-site", "slurm.partition=none")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "partition" in errors
    assert served.keys() == []
    assert not list((served.folder / "runs").rglob("manifest.json"))


def test_sizes_that_do_not_divide_are_found_before_anything_queues(served: Served) -> None:
    process = served.serve("--engine", "vllm")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "2 attention heads are not divisible by 8" in errors
    assert not (served.folder / "runs").exists()
    assert served.keys() == []
