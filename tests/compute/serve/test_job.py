"""The job that only serves: where it listens, with which key, and what it leaves in its state."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.compute.serve import job
from harness.compute.serve.server import RunningServer
from harness.config.serve import ServeSpec
from harness.config.site import Site
from harness.errors import UserError
from harness.runs.files import read_json
from harness.runs.paths import RunPaths
from tests.support import ROOT

FAKE = Path(__file__).with_name("fake_server.py")
KEY = "0123456789abcdef-key"


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    """A run of `serve` whose `vllm` is the fake server."""
    model = tmp_path / "it's the model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    paths = RunPaths(tmp_path / "runs" / "m" / "20260101-000000-aaaa")
    paths.root.mkdir(parents=True)
    (tmp_path / "key").write_text(KEY + "\n")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "vllm").write_text(
        f'#!/bin/bash\nexec "{sys.executable}" "{FAKE}" "$FAKE_OPTIONS" vllm "$@"\n'
    )
    (programs / "vllm").chmod(0o755)
    site = {"environments": {"vllm": {"activate": [f'export PATH="{programs}:$PATH"']}}}
    paths.site.write_text(yaml.safe_dump(site))
    paths.spec.write_text(spec(tmp_path).model_dump_json(exclude_none=True))
    return paths


def spec(folder: Path, **changes: Any) -> ServeSpec:
    given = {
        "name": "m", "model": str(folder / "it's the model"), "served_name": "m@abc",
        "server": {"engine": "vllm", "tensor_parallel": 1}, "key_file": str(folder / "key"),
    }  # fmt: skip
    return ServeSpec.model_validate(given | changes)


@pytest.fixture
def started(run: RunPaths) -> Iterator[Any]:
    """Starts the job as a process of its own; what still runs is ended."""
    code = (
        "import sys; from pathlib import Path; from harness.compute.serve import job; "
        "from harness.runs.paths import RunPaths; print(job.run(RunPaths(Path(sys.argv[1]))))"
    )
    processes = []

    def start(**options: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(run.root)], cwd=ROOT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "SLURM_JOB_ID": "77", "FAKE_OPTIONS": json.dumps(options)},
        )  # fmt: skip
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def ready(run: RunPaths, process: subprocess.Popen[str]) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while not run.serve_state.is_file() or read_json(run.serve_state)["state"] == "starting":
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.05)
    return dict(read_json(run.serve_state))


def test_its_state_says_where_it_is_and_near_the_time_limit_that_it_has_stopped(
    run: RunPaths, started: Any
) -> None:
    process = started()
    state = ready(run, process)
    assert (state["state"], state["job_id"], state["model"]) == ("ready", "77", "m@abc")
    assert (state["loopback"], state["authenticated"]) == (True, True)
    assert state["base_url"].startswith("http://127.0.0.1:")
    assert KEY not in "".join(p.read_text() for p in run.root.rglob("*") if p.is_file())
    process.send_signal(signal.SIGUSR2)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0 and out.endswith("stopped\n")
    state = read_json(run.serve_state)
    assert (state["state"], state["reason"]) == ("stopped", "its time limit was near")
    assert "base_url" not in state  # nobody shall ask there any more


def test_a_server_that_does_not_start_leaves_failed_with_the_reason(
    run: RunPaths, started: Any
) -> None:
    process = started(print_and_die="no such kernel")
    process.communicate(timeout=60)
    assert process.returncode != 0
    state = read_json(run.serve_state)
    assert state["state"] == "failed"
    assert "ended before it was ready (exit code 3)" in state["reason"]
    assert "no such kernel" in state["reason"]


def test_the_request_is_the_specs_with_its_key_and_its_adapters(
    run: RunPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_SUBMIT_HOST", raising=False)
    container = {"container": "/i.sif", "runtime": "apptainer"}
    site = Site.model_validate({"environments": {"vllm": container}})
    asked = spec(tmp_path, lora_adapters={"a": "/adapters/a"}, chat_template="/t.jinja")
    request = job.own_request(run, asked, site)
    assert (request.served_name, request.api_key, request.host) == ("m@abc", KEY, "127.0.0.1")
    assert (request.lora_adapters, request.chat_template) == ({"a": "/adapters/a"}, "/t.jinja")
    assert request.log_path == run.serve_log
    bound = " ".join(request.wrap([]))
    assert all(f"{p}:{p}" in bound for p in (run.root, "/adapters/a", "/t.jinja", request.model))
    assert KEY not in bound + repr(request)
    assert job.own_request(run, spec(tmp_path, host="0.0.0.0"), Site()).host == "0.0.0.0"
    assert job.own_request(run, spec(tmp_path, key_file=None), Site()).api_key is None


def test_a_key_that_this_node_does_not_see_is_told_with_the_cure(
    run: RunPaths, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        job.own_request(run, spec(tmp_path, key_file=str(tmp_path / "none")), Site())
    assert str(caught.value).startswith(
        f"the server's key cannot be read on {socket.gethostname()}"
    )
    assert "set XDG_STATE_HOME to one on a file system that every node sees" in str(caught.value)


@pytest.mark.parametrize("text", ["", "\n", "short-key\n", " " * 40])
def test_a_file_without_a_whole_key_is_refused(run: RunPaths, tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text)
    with pytest.raises(UserError, match=f"^{tmp_path / 'key'}: holds no key$"):
        job.own_request(run, spec(tmp_path), Site())


HERE = socket.gethostname()


@pytest.mark.parametrize("submit_host", [None, "", HERE, f"{HERE.partition('.')[0]}.cluster.local"])
def test_clients_on_this_host_find_it_on_loopback(submit_host: str | None) -> None:
    assert job.host_for("vllm", submit_host) == "127.0.0.1"


def test_clients_elsewhere_find_it_by_the_way_to_them_and_only_where_it_wants_a_key() -> None:
    assert job.host_for("transformers", "10.255.255.254") == "127.0.0.1"
    assert job.host_for("vllm", "127.0.0.2").startswith("127.0.0.")


def test_a_submitting_host_that_is_not_known_here_is_told_with_the_cure() -> None:
    with pytest.raises(UserError) as caught:
        job.host_for("vllm", "no such host.invalid")
    first, cure = str(caught.value).split("\n")
    assert first.startswith(f"{HERE} cannot find the host that submitted, no such host.invalid: ")
    assert cure == "Name the address to listen on with --host"


@pytest.mark.parametrize(
    ("host", "told", "loopback"),
    [
        ("127.0.0.1", "http://127.0.0.1:81/v1", True),
        ("0.0.0.0", f"http://{HERE}:81/v1", False),
        ("10.0.0.7", "http://10.0.0.7:81/v1", False),
    ],
)
def test_the_address_is_one_that_clients_can_use(
    run: RunPaths, tmp_path: Path, host: str, told: str, loopback: bool
) -> None:
    request = job.own_request(run, spec(tmp_path, host=host), Site())
    process: Any = None
    server = RunningServer(
        f"http://{request.client_host}:81/v1", KEY, "m@abc", True, 1.26, run.serve_log, process
    )
    found = job._address(server, request)
    assert (found["base_url"], found["loopback"]) == (told, loopback)
    assert (found["node"], found["start_seconds"]) == (HERE, 1.3)
    assert KEY not in str(found)
