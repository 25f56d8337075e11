"""Start an inference server inside a job, prove it ready, watch it, always stop it.

    with serve(request) as server:
        ...  # requests to server.base_url with server.api_key and model=server.model
        server.raise_if_dead()

Between us and the server stands a small supervisor (supervisor.py). However this process ends
(return, exception, SIGTERM, kill -9), it stops the server and everything the server started.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from harness.compute.serve import ports as port_blocks
from harness.compute.serve.engines import FOREIGN_VARIABLES, command, engine_of, environment
from harness.compute.serve.ports import Ports
from harness.compute.serve.proof import REQUEST_S, Adapter, Proof, client
from harness.compute.serve.ready import PortTaken, Probe, health_url, wait_until_ready
from harness.compute.serve.request import Engine, ServeRequest
from harness.config.engines import ENGINES, EngineKind
from harness.config.serve import url_host
from harness.errors import ServerError, UserError
from harness.package import needs
from harness.processes.supervised import SupervisedProcess
from harness.runs.models import adapters

_NO_SUCH_PROGRAM = 127  # of `env` and of bash
BIND_ATTEMPTS = 4
BIND_FAILURE = re.compile(
    r"address already in use|EADDRINUSE|errno:? ?98\b|port \S+ is (already )?(in use|used)"
    r"|is not available in \d+ seconds",
    re.IGNORECASE,
)


@dataclass
class RunningServer:
    """A server that has proved ready."""

    base_url: str
    """`http://<host>:<port>/v1`."""
    api_key: str = field(repr=False)
    model: str
    """The `model` of requests to this server."""
    authenticated: bool
    """Whether the server refuses requests without the key."""
    start_seconds: float
    """From the start of the process to the first answer."""
    log_path: Path
    _process: SupervisedProcess = field(repr=False)
    adapters: Mapping[str, str] = field(default_factory=dict)
    """LoRA adapters beside the model: name -> the `model` of a request to it."""
    _unhealthy: str | None = field(default=None, repr=False)

    def take_start_seconds(self) -> float:
        """How long it took to start; 0 from the second time on, so that it is counted once."""
        taken, self.start_seconds = self.start_seconds, 0.0
        return taken

    @property
    def pid(self) -> int:
        """The server's own process (in the session that it leads)."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether the process runs. Says nothing of its health: see `watch`."""
        return self._process.alive()

    def raise_if_dead(self) -> None:
        """Raise ServerError, with the end of the log, if the server ended or `watch` gave it up."""
        reason = self._unhealthy
        if not self.alive():
            reason = "the server ended while it was in use"
        if reason is not None:
            raise ServerError(with_tail(reason, self._process), self.log_path)

    def raise_if_sick(self) -> None:
        """The same, also when /health does not answer 200 now: for use after failed requests."""
        self.raise_if_dead()
        try:
            with client(None) as http:
                code = http.get(health_url(self.base_url)).status_code
            if code == 200:
                return
            reason = f"requests fail and /health answers {code}"
        except httpx.HTTPError as error:
            reason = f"requests fail and /health does not answer ({error or type(error).__name__})"
        raise ServerError(with_tail(reason, self._process), self.log_path)


def with_tail(reason: str, process: SupervisedProcess) -> str:
    """The reason, then the server's last 30 lines."""
    return f"{reason}; its last lines:\n{process.tail()}"


@contextmanager
def serve(request: ServeRequest) -> Iterator[RunningServer]:
    """Run the requested server while the context lasts, ready from its first line on.

    Where the port turns out to be taken, tries again with another block of ports. Raises UserError
    for a setting the engine does not have; ServerError when the server ends or is not ready within
    `ready_timeout_s`, with the last 30 lines of its log.
    """
    engine = engine_of(request)
    preferred = request.preferred_port or ENGINES[request.engine].port
    avoid: set[int] = set()
    with ExitStack() as running:
        for attempt in range(1, BIND_ATTEMPTS + 1):
            with ExitStack() as starting:
                ports = starting.enter_context(port_blocks.reserve(preferred, avoid=avoid))
                try:
                    server = starting.enter_context(_started(request, engine, ports))
                except PortTaken as error:
                    if attempt == BIND_ATTEMPTS:
                        raise
                    print(f"{request.engine}: {error}; trying other ports", flush=True)
                    avoid |= {ports.http, ports.torch - 1}
                    continue
                running.push(starting.pop_all())
            break
        yield server


@contextmanager
def _started(request: ServeRequest, engine: Engine, ports: Ports) -> Iterator[RunningServer]:
    """One attempt on given ports; raises PortTaken where another may succeed."""
    kind = ENGINES[request.engine]
    api_key = request.api_key or secrets.token_urlsafe(32)
    argv = request.wrap(command(request, ports))
    beside = _adapters(request, engine)
    environ = {name: text for name, text in os.environ.items() if name not in FOREIGN_VARIABLES}
    environ |= environment(request, ports, api_key)
    began = time.monotonic()
    with ExitStack() as stack:
        process = SupervisedProcess(
            argv,
            environ,
            request.log_path,
            marker=secrets.token_hex(8),
            secrets=[api_key],
        )
        stack.callback(process.stop)
        base_url = f"http://{url_host(request.client_host)}:{ports.http}/v1"
        proof = Proof(
            base_url=base_url,
            api_key=api_key,
            kind=kind,
            model=engine.model_name(request),
            folder=request.model,
            adapters=beside,
            request_s=request.ready_timeout_s,
        )
        probe = Probe(process=process, port=ports.http, proof=proof, body=request.probe_body)
        name = f"{request.engine} (process {process.pid}, {base_url}, log {request.log_path})"
        print(f"{name}: starting {request.model}", flush=True)
        for adapter in beside:
            if not adapter.identity:
                print(f"{name}: adapter {adapter.name} is zero: it changes nothing", flush=True)
        try:
            wait_until_ready(probe, request.ready_timeout_s, name)
        except UserError:
            raise
        except ServerError as error:
            raise _explained(error, process, kind) from error
        seconds = time.monotonic() - began
        print(f"{name}: ready after {seconds:.1f} s", flush=True)
        yield RunningServer(
            base_url=base_url,
            api_key=api_key,
            model=proof.model,
            authenticated=kind.checks_key,
            start_seconds=seconds,
            log_path=request.log_path,
            _process=process,
            adapters={adapter.name: adapter.asked_as for adapter in beside},
        )


def _adapters(request: ServeRequest, engine: Engine) -> list[Adapter]:
    """What each adapter is to be proved by. Raises ResultError for one that cannot be read."""
    return [
        Adapter(
            name=name,
            folder=folder,
            asked_as=engine.adapter_name(request, name),
            identity=""
            if adapters.changes_nothing(Path(folder))
            else adapters.identity(Path(folder)),
        )
        for name, folder in request.lora_adapters.items()
    ]


def _explained(error: ServerError, process: SupervisedProcess, engine: EngineKind) -> ServerError:
    """The same with the log's end, once all is written; PortTaken if the log says so."""
    ended = not process.alive()
    process.stop()
    taken = isinstance(error, PortTaken) or (ended and BIND_FAILURE.search(process.output()))
    code = "" if process.exit_code is None or not ended else f" (exit code {process.exit_code})"
    kind = PortTaken if taken else ServerError
    text = with_tail(f"{error}{code}", process)
    if ended and process.exit_code == _NO_SUCH_PROGRAM:
        text += (
            f"\nThe engine is not in this environment: {needs(engine.extra or engine.name)}, or "
            f"say in site.yaml where it is: environments.{engine.name}"
        )
    return kind(text, process.log_path)


@contextmanager
def watch(
    server: RunningServer,
    on_failure: Callable[[ServerError], None],
    *,
    interval_s: float = 5.0,
    hang_s: float = 30.0,
) -> Iterator[None]:
    """Look after a running server from a thread while the context lasts.

    When its process ends, or /health does not answer 200 for `hang_s` seconds, the server counts
    as dead (`raise_if_dead` raises) and `on_failure` is called, once, in the watching thread.
    """
    over = threading.Event()
    thread = threading.Thread(
        target=_look_after, args=(server, on_failure, interval_s, hang_s, over), daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=REQUEST_S + interval_s)


def _look_after(
    server: RunningServer,
    on_failure: Callable[[ServerError], None],
    interval_s: float,
    hang_s: float,
    over: threading.Event,
) -> None:
    deadline = time.monotonic() + hang_s
    with client(None) as http:
        while not over.wait(max(min(interval_s, deadline - time.monotonic()), 0)):
            # One slow answer is enough, so a request may take all the time there is.
            left = max(deadline - time.monotonic(), 0.1)
            with suppress(httpx.HTTPError):
                if http.get(health_url(server.base_url), timeout=left).status_code == 200:
                    deadline = time.monotonic() + hang_s
            if time.monotonic() >= deadline and not over.is_set():
                server._unhealthy = f"/health has not answered for {hang_s:g} s"
            try:
                server.raise_if_dead()
            except ServerError as error:
                if not over.is_set():
                    on_failure(error)
                return
