"""One completion from an endpoint: what goes wrong is asked again where that may help.

The client is aiohttp: its pool costs the same whatever the number of connections, and a reply's
bytes are read here, whatever they are.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from harness.compute.evaluate.endpoint import refusals
from harness.compute.evaluate.endpoint.patience import Endurance, Patience, retry_after_s
from harness.compute.evaluate.endpoint.replies import Answer, Fault, Kind, read
from harness.config.endpoint import RENAMED
from harness.processes.proxies import proxy_for

if TYPE_CHECKING:
    import aiohttp

MAX_BYTES = 32 << 20
"""Of a reply: some thirty times the longest answers of today's models."""
NO_KEY = "none"
"""Sent where an endpoint needs no key."""
_CONNECT_S = 30.0
_KEPT_ALIVE_S = 4.0
"""uvicorn, under vLLM and SGLang, closes idle connections after 5 s."""
_LOWERED_AT_MOST = 8
"""How often max_tokens of one request is lowered."""


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible server."""

    base_url: str
    api_key: str = field(repr=False)
    model: str
    proxied: bool = True
    """Take proxies from the environment; not for a server of this task's own."""

    def scrubbed(self, text: str) -> str:
        """A text of the endpoint's without the key."""
        return text if self.api_key == NO_KEY else text.replace(self.api_key, "***")


@dataclass(frozen=True)
class Limits:
    """How an endpoint is asked."""

    connections: int
    timeout_s: float
    """For one reply, its body included; and for an endpoint that only asks to wait."""
    retries: int
    """How often a request goes out again after it broke."""


class ChatClient:
    """Asks one endpoint; used with `async with`, by as many tasks as there are connections."""

    def __init__(
        self, endpoint: Endpoint, limits: Limits, *, body_field: str, say: Callable[[str], None]
    ) -> None:
        """`body_field` is the spec's field that changes requests; `say` prints a line of the log."""
        self.endpoint, self._limits = endpoint, limits
        self._body_field = body_field
        self._say = say
        self._shared = Endurance(limits.timeout_s, say)
        self._url = f"{endpoint.base_url}/chat/completions"
        self._proxy = proxy_for(self._url) if endpoint.proxied else None
        self._session: aiohttp.ClientSession | None = None
        self._has_lowered = False

    async def __aenter__(self) -> ChatClient:
        import aiohttp
        import httpx

        # The same certificates as our other requests trust; only https needs them read.
        ssl = httpx.create_ssl_context() if self._url.startswith("https:") else True
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._limits.connections, keepalive_timeout=_KEPT_ALIVE_S, ssl=ssl
            ),
            timeout=aiohttp.ClientTimeout(total=self._limits.timeout_s, sock_connect=_CONNECT_S),
            headers={"Authorization": f"Bearer {self.endpoint.api_key}"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._session is not None
        await self._session.close()

    async def ask(self, messages: Sequence[Mapping[str, str]], fields: Mapping[str, Any]) -> Answer:
        """The completion of a conversation; `fields` are those beside model and messages.

        Raises Fault when there is none, however often it is asked.
        """
        fields, patience = dict(fields), Patience(self._limits.retries, self._shared)
        lowered = 0
        while True:
            try:
                answer = await self._once(messages, fields)
                self._shared.answered()
                return replace(answer, lowered_to=fields[_limit(fields)] if lowered else None)
            except Fault as fault:
                if lowered < _LOWERED_AT_MOST and (less := _less(fault, fields, lowered)):
                    self._tell_lowered(fields, less)
                    fields[_limit(fields)] = less
                    lowered += 1
                    continue
                wait = patience.wait_s(fault)
                if wait is None:
                    raise self._explained(fault, fields, patience.tries) from None
                if fault.kind is Kind.BUSY:
                    self._shared.tell(fault)
                await asyncio.sleep(wait)

    def _tell_lowered(self, fields: Mapping[str, Any], less: int) -> None:
        if not self._has_lowered:
            self._has_lowered = True
            self._say(f"a request with {_limit(fields)} {fields[_limit(fields)]} does not fit the "
                      f"endpoint's context: asked again with {less}, and others likewise")  # fmt: skip

    def _explained(self, fault: Fault, fields: Mapping[str, Any], tries: int) -> Fault:
        """The same with how often it was asked, and its cure."""
        text, kind, limit = str(fault).rstrip("."), fault.kind, self._limits.timeout_s
        if kind is Kind.BUSY and fault.wait_s and fault.wait_s > limit:
            text += f"; it says to wait {fault.wait_s:.0f} s, more than the {limit:.0f} s given it"
        elif kind is Kind.BUSY:
            text += f"; it has answered nobody for {limit:.0f} s"
        elif tries:
            text += f" (asked {tries + 1} times)"
        elif kind is Kind.REFUSED and refusals.is_about_length(fault.said):
            text += "; raise the endpoint's context, or ask for shorter answers"
        elif kind is Kind.REFUSED and (name := refusals.parameter_in(fault.said, fields)):
            kind = Kind.SUSPECT
            text += f"; {refusals.cure(name, fields, self._body_field)}"
        return Fault(kind, self.endpoint.scrubbed(text), said=fault.said, wait_s=fault.wait_s)

    async def _once(
        self, messages: Sequence[Mapping[str, str]], fields: Mapping[str, Any]
    ) -> Answer:
        import aiohttp

        assert self._session is not None
        asked = {"model": self.endpoint.model, "messages": list(messages), **fields}
        began = False
        try:
            async with self._session.post(
                self._url, json=asked, proxy=self._proxy, allow_redirects=False
            ) as reply:
                began = True
                body = await _bounded(reply)
                wait_s = retry_after_s(reply.headers)
                return read(reply.status, body, wait_s, reply.headers.get("Location", ""))
        except asyncio.TimeoutError as error:
            if isinstance(error, aiohttp.ServerTimeoutError) and not began:
                raise Fault(Kind.BROKEN, f"no connection within {_CONNECT_S:g} s") from None
            told = "it sends, but its answer does not end" if began else "no answer"
            raise Fault(Kind.BROKEN, f"{told} within {self._limits.timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError, zlib.error, EOFError) as error:
            told = "its answer was cut off" if began else "no answer"
            raise Fault(Kind.BROKEN, f"{told}: {_named(error)}") from None


def _named(error: Exception) -> str:
    name = type(error).__name__
    return f"{name}: {error}" if str(error) else name


def _limit(fields: Mapping[str, Any]) -> str:
    return RENAMED if RENAMED in fields else "max_tokens"


def _less(fault: Fault, fields: Mapping[str, Any], lowered: int) -> int | None:
    """max_tokens with which a request that was refused for its length may fit; None: none would."""
    asked = fields.get(_limit(fields))
    if fault.kind not in (Kind.REFUSED, Kind.BROKEN) or not isinstance(asked, int):
        return None
    if not refusals.is_about_length(fault.said):
        return None
    there = refusals.room(fault.said, asked)
    if there is not None and not lowered:
        return there
    # What was told did not do, or nothing was: vLLM counts long prompts only up to where they fit.
    return 0 if there == 0 else min(asked // 2, there or asked)


async def _bounded(reply: aiohttp.ClientResponse) -> bytes:
    """A reply's body. Raises Fault where it does not end within MAX_BYTES."""
    parts, size = [], 0
    async for part in reply.content.iter_any():
        size += len(part)
        if size > MAX_BYTES:
            reply.close()
            raise Fault(Kind.REFUSED, f"its reply is longer than {MAX_BYTES >> 20} MiB")
        parts.append(part)
    return b"".join(parts)
