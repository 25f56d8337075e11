"""Proof that a server is ready: it is ours, healthy, has the right model, and answers.

A 200 from /health alone proves none of these: vLLM gives it while its engine dies on the first
request, and on a shared node the port may be answered by somebody else's server. What proves the
model stands in proof.py.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import psutil

from harness.compute.serve.proof import PATIENCE, NotYet, Proof, client
from harness.errors import ServerError
from harness.processes.supervised import SupervisedProcess

POLL_S = 0.5
PROGRESS_S = 10.0


class PortTaken(ServerError):
    """Another program has the port; another block may do."""


def health_url(base_url: str) -> str:
    """/health lies beside /v1 in all three engines."""
    return base_url.removesuffix("/v1") + "/health"


def listeners(port: int) -> tuple[set[int], bool]:
    """Processes that listen on the port, and whether one is there that we may not identify."""
    found = [
        connection.pid
        for connection in psutil.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
        and connection.laddr
        and connection.laddr.port == port
    ]
    return {pid for pid in found if pid is not None}, None in found


@dataclass
class Probe:
    """The checks, in order; each returns, or raises NotYet (again later) or ServerError (never)."""

    process: SupervisedProcess
    port: int
    proof: Proof
    body: Mapping[str, Any]
    """Further fields of the chat completion."""
    refusals: int = 0

    def listening(self) -> None:
        """The port is open, and by our server alone (vLLM's SO_REUSEPORT would let two share)."""
        pids, unknown = listeners(self.port)
        if not pids and not unknown:
            raise NotYet(f"port {self.port} to open")
        strangers = pids - self.process.tree()
        # A listener we may not identify (a container run setuid) is left to the other checks.
        if strangers or (unknown and pids):
            raise PortTaken(f"port {self.port} is served by another program {strangers or ''}")

    def healthy(self) -> None:
        """/health answers 200."""
        with client(None) as http:
            code = http.get(health_url(self.proof.base_url)).status_code
        if code != 200:
            raise NotYet(f"/health (answers {code})")

    def answers(self) -> None:
        """One short chat completion gives one choice."""
        body = {
            "model": self.proof.model,
            "messages": [{"role": "user", "content": "Say hello."}],
            "max_tokens": 4,
            **self.body,
        }
        with client(self.proof.api_key, self.proof.request_s) as http:
            answer = http.post(f"{self.proof.base_url}/chat/completions", json=body)
        if answer.status_code >= 500:
            self.refusals += 1
            if self.refusals < PATIENCE:
                raise NotYet(f"a chat completion (answers {answer.status_code})")
        if answer.status_code != 200:
            raise ServerError(
                f"a chat completion answers {answer.status_code}: {answer.text[:1000]}"
            )
        try:
            answer.json()["choices"][0]["message"]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise ServerError(f"a chat completion holds no choice: {answer.text[:1000]}") from error


class Waiter:
    """Runs a probe's checks in a thread, so that a request that hangs hides neither the death of
    the server nor the time limit."""

    def __init__(self, probe: Probe) -> None:
        self.waiting_for = "the process"
        self.failure: BaseException | None = None
        self.ready = threading.Event()
        self._given_up = threading.Event()
        checks: list[tuple[str, Callable[[], None]]] = [
            ("its port", probe.listening),
            ("/health", probe.healthy),
            ("the right model", probe.proof.right_model),
            ("a chat completion", probe.answers),
            ("each adapter's own answers", probe.proof.own_answers),
        ]
        threading.Thread(target=self._run, args=(checks,), daemon=True).start()

    def give_up(self) -> None:
        """Let the thread end."""
        self._given_up.set()

    def _run(self, checks: list[tuple[str, Callable[[], None]]]) -> None:
        try:
            while checks and not self._given_up.is_set():
                self.waiting_for, check = checks[0]
                try:
                    check()
                    checks = checks[1:]
                except NotYet as reason:
                    self.waiting_for = str(reason)
                    self._given_up.wait(POLL_S)
                except httpx.TransportError as error:
                    self.waiting_for = f"an answer ({error or type(error).__name__})"
                    self._given_up.wait(POLL_S)
            if not checks:
                self.ready.set()
        except BaseException as error:  # handed to the thread that waits
            self.failure = error


def wait_until_ready(probe: Probe, limit_s: float, name: str) -> None:
    """Return when all checks have passed; a line every ten seconds says what is waited for.

    Raises ServerError at once when the process ends or serves something else, and after `limit_s`
    seconds; PortTaken when the port is another program's.
    """
    began = last = time.monotonic()
    waiter = Waiter(probe)
    try:
        while not waiter.ready.wait(0.1):
            spent = time.monotonic() - began
            if waiter.failure is not None:
                raise waiter.failure
            if not probe.process.alive():
                raise ServerError("the server ended before it was ready")
            if spent > limit_s:
                raise ServerError(
                    f"the server was not ready after {limit_s:g} s; waited for {waiter.waiting_for}"
                )
            if time.monotonic() - last >= PROGRESS_S:
                last = time.monotonic()
                print(
                    f"{name}: {spent:.0f} s of {limit_s:g} s, waiting for {waiter.waiting_for}",
                    flush=True,
                )
    finally:
        waiter.give_up()
