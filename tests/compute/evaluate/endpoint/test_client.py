"""One completion from a server that is odd: an answer, or a fault that says why there is none."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import time
from typing import Any

import pytest

from harness.compute.evaluate.endpoint import client as client_module
from harness.compute.evaluate.endpoint import patience
from harness.compute.evaluate.endpoint.client import ChatClient, Endpoint, Limits
from harness.compute.evaluate.endpoint.replies import Answer, Fault, Kind
from tests.compute.evaluate.odd_server import (
    OddServer,
    Reply,
    Rule,
    completion,
    fine,
    odd_server,
    refusal,
)

pytest.importorskip("aiohttp", reason="needs the extra `eval`")

KEY = "sk-a-secret-key"
FIELDS = {"temperature": 0.6, "max_tokens": 64, "seed": 7}


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_S", 0.02)


async def _ask(server: OddServer, requests: int, said: list[str], **limits: Any) -> list[Any]:
    given = {"connections": 8, "timeout_s": 30.0, "retries": 1} | limits
    endpoint = Endpoint(server.base_url, KEY, server.model)
    messages = [{"role": "user", "content": "half \ud83d pair"}]
    async with ChatClient(
        endpoint, Limits(**given), body_field="evaluation.body", say=said.append
    ) as client:
        calls = [client.ask(messages, FIELDS) for _ in range(requests)]
        return await asyncio.gather(*calls, return_exceptions=True)


def ask(
    server: OddServer, requests: int = 1, said: list[str] | None = None, **limits: Any
) -> list[Any]:
    return asyncio.run(_ask(server, requests, [] if said is None else said, **limits))


def one(rule: Rule, **limits: Any) -> Any:
    with odd_server(rule) as server:
        (found,) = ask(server, **limits)
    assert KEY not in str(found)
    return found


def always(body: Any, **reply: Any) -> Rule:
    return lambda number, asked: Reply(body, **reply)


def once(reply: Reply) -> Rule:
    """This one first, then all is well."""
    return lambda number, asked: reply if number == 0 else fine(number, asked)


def test_what_is_sent_is_model_messages_and_the_fields() -> None:
    with odd_server(fine) as server:
        (found,) = ask(server)
    assert found == Answer("So it is \\boxed{0}.", "stop", {}, 10, 20)
    assert server.asked == [
        {"model": "m", "messages": [{"role": "user", "content": "half \ud83d pair"}], **FIELDS}
    ]
    head, headers = server.seen[0]
    assert head == "POST /v1/chat/completions HTTP/1.1"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["content-type"] == "application/json"


BROKEN = {
    "503": Reply({"error": {"message": "busy"}}, 503),
    "error in a 200": Reply({"error": {"message": "worker restarts", "code": 503}}),
    "empty": Reply(b""),
    "html": Reply(b"<html>Bad gateway</html>"),
    "cut json": Reply(b'{"choices": [{"message": {"content": "So'),
    "cut by the connection": Reply(None, raw=b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"),
    "no http": Reply(None, raw=b"\x00\x01\x02 what?\r\n\r\n"),
    "closed": Reply(None, raw=b""),
    "no status": Reply(None, raw=b"HTTP/1.1 OK\r\n\r\n"),
    "bad length": Reply(None, raw=b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}"),
    "bad chunks": Reply(None, raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "no gzip": Reply(b"{}", headers={"Content-Encoding": "gzip"}),
    "long header": Reply(None, raw=b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_broke_is_asked_again(name: str) -> None:
    found = one(once(BROKEN[name]))
    assert isinstance(found, Answer), found


@pytest.mark.parametrize("name", BROKEN)
def test_what_stays_broken_is_a_fault(name: str) -> None:
    found = one(lambda number, asked: BROKEN[name], retries=0)
    assert isinstance(found, Fault)
    assert found.kind is Kind.BROKEN


def test_how_often_it_was_asked_is_told() -> None:
    found = one(always({"error": "odd"}, status=500), retries=1)
    assert str(found) == "HTTP 500: odd (asked 2 times)"


def test_nobody_there_is_a_fault() -> None:
    with odd_server(fine) as server:
        pass
    (found,) = ask(server, retries=0)
    assert str(found).startswith("no answer: ClientConnectorError")


def test_a_compressed_answer_is_read() -> None:
    body = gzip.compress(json.dumps(completion("packed")).encode())
    assert one(always(body, headers={"Content-Encoding": "gzip"})).text == "packed"


@pytest.mark.long
def test_silence_and_a_body_that_never_ends_are_given_up() -> None:
    began = time.monotonic()
    silent = one(lambda number, asked: Reply({}, wait_s=2.0), retries=0, timeout_s=0.3)
    assert str(silent) == "no answer within 0.3 s"
    dripping = one(always(b"{", drip_s=2.0), retries=0, timeout_s=0.3)
    assert str(dripping) == "it sends, but its answer does not end within 0.3 s"
    assert time.monotonic() - began < 6


@pytest.mark.long
def test_a_huge_body_is_not_taken_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MAX_BYTES", 1 << 20)
    huge = json.dumps(completion("x" * (2 << 20))).encode()
    for reply in (Reply(huge), Reply(gzip.compress(huge), headers={"Content-Encoding": "gzip"})):
        found = one(lambda number, asked, reply=reply: reply)
        assert str(found) == "its reply is longer than 1 MiB"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_and_tells_where_it_leads(status: int) -> None:
    with odd_server(fine) as other:
        rule = always(b"", status=status, headers={"Location": other.base_url})
        found = one(rule)
    assert str(found) == f"HTTP {status}: it redirects to {other.base_url}: give that address"
    assert other.seen == []  # the key stays here


def test_a_key_in_an_errors_text_is_blanked_and_no_key_is_none() -> None:
    found = one(always({"error": {"message": f"Incorrect API key: {KEY}"}}, status=401))
    assert str(found) == "the key is refused (HTTP 401: Incorrect API key: ***)"
    endpoint = Endpoint("http://h/v1", "none", "m")
    assert endpoint.scrubbed("there is none") == "there is none"
    assert KEY not in repr(Endpoint("http://h/v1", KEY, "m"))


@pytest.mark.long
@pytest.mark.parametrize("header", ["Retry-After", "retry-after-ms"])
def test_a_rate_limit_costs_no_tries_and_a_line_says_why_it_takes_longer(header: str) -> None:
    """Two requests in 0.2 s, twelve at once, and one try for what is broken."""
    said: list[str] = []
    times: list[float] = []

    def rule(number: int, asked: Any) -> Reply:
        now = time.monotonic()
        if sum(now - t < 0.2 for t in times) >= 2:
            wait = {"Retry-After": "0.2", "retry-after-ms": "200"}[header]
            return Reply({"error": {"message": "slower"}}, 429, {header: wait})
        times.append(now)
        return fine(number, asked)

    with odd_server(rule) as server:
        found = ask(server, 12, said, connections=12, retries=1)
    assert all(isinstance(each, Answer) for each in found)
    assert said == ["this takes longer: the endpoint wants to be asked later (HTTP 429: slower)"]


@pytest.mark.long
def test_waiting_ends_when_nobody_is_answered_any_more() -> None:
    busy = Reply({"error": "later"}, 429, {"Retry-After": "0.1"})
    began = time.monotonic()
    found = one(lambda number, asked: busy, timeout_s=1.0)
    assert str(found) == "HTTP 429: later; it has answered nobody for 1 s"
    assert 0.8 <= time.monotonic() - began < 5
    long = Reply({"error": "later"}, 429, {"Retry-After": "3600"})
    found = one(lambda number, asked: long, timeout_s=1.0)
    assert "it says to wait 3600 s, more than the 1 s given it" in str(found)


def context(size: int, prompt: int, told: bool = True) -> Rule:
    def rule(number: int, asked: dict[str, Any]) -> Reply:
        wanted = asked["max_tokens"]
        if prompt + wanted <= size:
            return Reply(completion("short", "length"))
        numbers = f" of {size} tokens: {prompt} in the messages" if told else ""
        return refusal(f"over the maximum context length{numbers}")

    return rule


@pytest.mark.parametrize(("told", "lowered"), [(True, 60), (False, 32)])
def test_what_does_not_fit_is_asked_again_with_less(told: bool, lowered: int) -> None:
    said: list[str] = []
    with odd_server(context(100, 40, told)) as server:
        found = ask(server, 2, said)
    assert {each.lowered_to for each in found} == {lowered}
    assert {each.finish_reason for each in found} == {"length"}
    assert {body["max_tokens"] for body in server.asked} == {64, lowered}
    assert len(said) == 1 and f"asked again with {lowered}" in said[0]


def test_a_count_that_moves_is_not_followed_token_by_token() -> None:
    """vLLM counts a long prompt only up to where it fits no more."""

    def rule(number: int, asked: dict[str, Any]) -> Reply:
        wanted = asked["max_tokens"]
        if wanted <= 10:
            return Reply(completion("short"))
        return refusal(f"maximum context length is 100 tokens: you requested {wanted} output tokens "
                       f"and your prompt contains at least {101 - wanted} input tokens, for a total "
                       f"of at least 101 tokens.")  # fmt: skip

    with odd_server(rule) as server:
        (found,) = ask(server)
    assert found.lowered_to == 7
    assert [body["max_tokens"] for body in server.asked] == [64, 63, 31, 15, 7]


def test_a_prompt_that_leaves_no_room_is_told_with_its_cure() -> None:
    with odd_server(context(100, 120)) as server:
        (found,) = ask(server)
    assert len(server.asked) == 1
    assert "120 in the messages; raise the endpoint's context" in str(found)
    with odd_server(lambda n, asked: refusal("maximum context length is 8192 tokens")) as server:
        (found,) = ask(server)
    assert len(server.asked) < 9


def test_a_parameter_that_is_not_taken_is_told_with_its_cure() -> None:
    def rule(number: int, asked: dict[str, Any]) -> Reply:
        return refusal("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")

    found = one(rule)
    assert found.kind is Kind.SUSPECT
    assert str(found) == (
        "HTTP 400: Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead; to "
        "ask without it: evaluation.body: {max_tokens: null, max_completion_tokens: 64}"
    )


def test_many_requests_share_as_many_connections_as_are_given() -> None:
    with odd_server(fine) as server:
        found = ask(server, 100, connections=4)
    texts = {each.text for each in found}
    assert texts == {f"So it is \\boxed{{{n}}}." for n in itertools.islice(itertools.count(), 100)}


def test_a_proxy_leads_to_a_server_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    with odd_server(fine) as proxy:
        monkeypatch.setenv("http_proxy", proxy.base_url.removesuffix("/v1"))
        monkeypatch.setenv("no_proxy", "")
        elsewhere = OddServer(base_url="http://model.invalid:8000/v1")
        (found,) = ask(elsewhere)
        assert isinstance(found, Answer)
        assert proxy.seen[0][0] == "POST http://model.invalid:8000/v1/chat/completions HTTP/1.1"
        with odd_server(fine) as here:
            ask(here)
    assert len(proxy.seen) == len(here.seen) == 1
