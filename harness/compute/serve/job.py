"""The job of `python -m harness serve`: one server, ready or failed, until it is told to stop."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from harness.compute.serve.launch import server_request
from harness.compute.serve.request import ServeRequest
from harness.compute.serve.server import RunningServer, serve, watch
from harness.config.engines import ENGINES
from harness.config.serve import ServeSpec, is_everywhere, is_loopback, url_host
from harness.config.site import Site
from harness.errors import HarnessError, UserError
from harness.runs.files import utc_now, write_json
from harness.runs.paths import RunPaths
from harness.runs.reader import RunReader

LOOPBACK = "127.0.0.1"


def run(run: RunPaths) -> str:
    """Serve until SIGTERM (cancelled) or USR2 (the time limit is near); returns why it ended.

    Raises ServerError when the server does not become ready, dies or hangs.
    """
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # submitit would requeue on this signal, and a server with a time limit has no work left to do.
    signal.signal(signal.SIGUSR2, lambda *_: over.set())
    facts = RunReader(run)
    assert facts.served is not None, "a job of `serve` has its spec"
    _note(run, "starting")
    try:
        request = own_request(run, facts.served, facts.site)
        with serve(request) as server, watch(server, on_failure=print):
            _note(run, "ready", **_address(server, request))
            while not over.wait(1):
                server.raise_if_dead()
    except HarnessError as error:
        _note(run, "failed", reason=str(error))
        raise
    except SystemExit:
        _note(run, "stopped", reason="cancelled")
        raise
    _note(run, "stopped", reason="its time limit was near")
    return "stopped"


def own_request(run: RunPaths, spec: ServeSpec, site: Site) -> ServeRequest:
    """What is asked of the server. Raises UserError when its key cannot be read."""
    adapters = list(spec.lora_adapters.values())
    template = [spec.chat_template] if spec.chat_template else []
    return server_request(
        spec.server,
        site,
        Path(spec.model),
        mounts=[str(run.root), *adapters, *template],
        served_name=spec.served_name,
        chat_template=spec.chat_template,
        lora_adapters=spec.lora_adapters,
        host=spec.host or host_for(spec.server.engine, os.environ.get("SLURM_SUBMIT_HOST")),
        api_key=_key(spec),
        log_path=run.serve_log,
    )


def _key(spec: ServeSpec) -> str | None:
    if spec.key_file is None:
        return None
    try:
        key = Path(spec.key_file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UserError(
            f"the server's key cannot be read on {socket.gethostname()}: {error}\n"
            "The job must see the folder that `serve` wrote it to: set XDG_STATE_HOME to one on a "
            "file system that every node sees"
        ) from None
    if len(key) < 16:
        raise UserError.at(spec.key_file, "holds no key")
    return key


def host_for(engine: str, submit_host: str | None) -> str:
    """The address to listen on: loopback, unless the clients are on another host.

    Then the address by which this node reaches the host that submitted; a server without a key
    stays on loopback. Raises UserError when that host's name cannot be resolved here.
    """
    here = socket.gethostname()
    short = here.partition(".")[0]
    if not submit_host or not ENGINES[engine].checks_key or submit_host.partition(".")[0] == short:
        return LOOPBACK
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((submit_host, 9))  # sends nothing: the kernel only picks the address
            return str(probe.getsockname()[0])
    except OSError as error:
        raise UserError(
            f"{here} cannot find the host that submitted, {submit_host}: {error}\n"
            "Name the address to listen on with --host"
        ) from None


def _address(server: RunningServer, request: ServeRequest) -> dict[str, Any]:
    node = socket.gethostname()
    url = server.base_url
    if is_everywhere(request.host):
        url = url.replace(url_host(request.client_host), node, 1)
    return {
        "base_url": url,
        "node": node,
        "host": request.host,
        "loopback": is_loopback(request.host),
        "model": server.model,
        "adapters": dict(server.adapters),
        "authenticated": server.authenticated,
        "start_seconds": round(server.start_seconds, 1),
    }


def _note(run: RunPaths, state: str, **facts: Any) -> None:
    job = os.environ.get("SLURM_JOB_ID", "")
    write_json(run.serve_state, {"state": state, "time": utc_now(), "job_id": job, **facts})
