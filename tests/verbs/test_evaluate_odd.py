"""`eval` of a server that is odd: every answer is graded, or the table says why there is none."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.compute.evaluate.odd_server import Reply, completion, fine, odd_server, refusal
from tests.verbs.in_process import User, user

pytest.importorskip("aiohttp", reason="needs the extra `eval`")
pytest.importorskip("math_verify", reason="needs the extra `eval`")
pytestmark = pytest.mark.long
__all__ = ["user"]


def rows(user: User, benchmark: str = "arithmetic") -> list[dict[str, Any]]:
    text = user.latest.cell("base", benchmark).output().read_text()
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_contents_that_a_reasoning_parser_kept_are_told_and_kept(user: User, name: str) -> None:
    def rule(number: int, asked: Any) -> Reply:
        if number % 5 < 2:
            return Reply(completion(None, **{name: f"Surely \\boxed{{{number}}}."}))
        return fine(number, asked)

    with odd_server(rule) as server:
        done = user.evaluate(server.base_url, max_items=10)
    assert done.code == 0
    told = "4 of 10 answers have no content: a reasoning parser kept their text"
    assert f"note: base x arithmetic: {told}" in done.out
    task = user.task()
    assert told in task["facts"]["warnings"]
    assert task["facts"]["answers"][0]["thought"] == 4
    assert sum(row.get(name, "").startswith("Surely") for row in rows(user)) == 4
    with odd_server(rule) as server:
        done = user.evaluate(server.base_url, max_items=10, gates__max_thought_share=0.3)
    assert done.code == 1
    assert f"base x arithmetic: invalid: {told}" in done.out


@pytest.mark.parametrize(
    ("finish", "content", "told"),
    [
        ("length", "cut", "2 of 8 answers were cut at max_tokens"),
        ("stop", "", "2 of 8 answers are empty"),
        ("abort", "half", "2 of 8 answers were aborted (finish_reason abort)"),
        ("content_filter", "", "2 of 8 answers were aborted (finish_reason content_filter)"),
    ],
)
def test_an_answer_that_is_none_is_never_ok_without_a_word(
    user: User, finish: str, content: str, told: str
) -> None:
    def rule(number: int, asked: Any) -> Reply:
        if number % 4 == 0:
            return Reply(completion(f"{content}{number}" if content else "", finish))
        return fine(number, asked)

    with odd_server(rule) as server:
        done = user.evaluate(server.base_url, gates__max_aborted_share=0.5)
    assert done.code == 0
    assert f"note: base x arithmetic: {told}" in done.out


def test_contents_in_parts_are_joined_and_graded(user: User) -> None:
    def rule(number: int, asked: Any) -> Reply:
        parts = [
            {"type": "text", "text": "So it is "},
            {"type": "text", "text": f"\\boxed{{{number}}}."},
        ]
        return Reply(completion(parts))

    with odd_server(rule) as server:
        done = user.evaluate(server.base_url)
    assert "1 cells: 1 ok" in done.out
    assert sorted(row["predicted_answer"] for row in rows(user)) == [str(n) for n in range(8)]


REPLIES = {
    "a number": Reply(completion(42)),
    "no message": Reply({"choices": [{"message": None}]}),
    "no choices": Reply({"choices": []}),
    "cut": Reply(b'{"choices": [{"message": {"content": "So'),
    "html": Reply(b"<html>502 Bad Gateway</html>"),
    "empty": Reply(b""),
    "a redirect": Reply(b"", 302, {"Location": "https://elsewhere.invalid/v1"}),
    "no http": Reply(None, raw=b"\x00\xff\r\n\r\n"),
    "half a pair": Reply({"error": {"message": "oh \ud83d", "code": 400}}, 400),
    "never ends": Reply(b"{", drip_s=3.0),
}


@pytest.mark.parametrize("name", REPLIES)
def test_whatever_one_request_gets_is_told_and_costs_no_other(
    user: User, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.compute.evaluate.endpoint.patience.FIRST_S", 0.01)
    monkeypatch.setattr("harness.compute.evaluate.answers.generate.RETRIES", 1)

    def rule(number: int, asked: dict[str, Any]) -> Reply:
        return REPLIES[name] if asked["seed"] == 3 else fine(number, asked)

    limits = {"gates__max_error_share": 0.5, "request_timeout_minutes": 0.01}
    with odd_server(rule) as server:
        done = user.evaluate(server.base_url, **limits)
    assert done.code == 0, done.text
    assert "note: base x arithmetic: 1 of 8 requests failed, e.g. " in done.out
    assert "Traceback" not in done.text
    assert sum("error" in row for row in rows(user)) == 1


def test_invalid_utf8_and_half_a_pair_in_an_answer_are_an_answer(user: User) -> None:
    def rule(number: int, asked: dict[str, Any]) -> Reply:
        text = f"\ud83d So it is \\boxed{{{number}}}."
        whole = json.dumps(completion(text)).encode()
        return Reply(whole.replace(b"So", b"S\xff") if number % 2 else whole)

    with odd_server(rule) as server:
        done = user.evaluate(server.base_url)
    assert "1 cells: 1 ok" in done.out
    assert sorted(row["predicted_answer"] for row in rows(user)) == [str(n) for n in range(8)]


def test_a_gateways_error_inside_a_200_is_asked_again_and_told_in_its_words(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.compute.evaluate.endpoint.patience.FIRST_S", 0.01)
    error = {"error": {"message": "upstream worker is restarting, try again", "code": 503}}

    def rule(number: int, asked: Any) -> Reply:
        return Reply(error) if number % 4 == 0 else fine(number, asked)

    with odd_server(rule) as server:
        done = user.evaluate(server.base_url)
        assert len(server.asked) > 8
    assert "1 cells: 1 ok" in done.out and "failed" not in done.out
    with odd_server(lambda number, asked: Reply(error)) as server:
        done = user.evaluate(server.base_url)
    assert done.code == 1
    assert "8 of 8 requests failed, e.g. HTTP 503: upstream worker is restarting" in done.out


@pytest.mark.parametrize("date", [False, True])
def test_a_rate_limit_only_takes_longer_and_a_line_says_why(user: User, date: bool) -> None:
    """Twenty requests a second, asked by 64 at a time."""
    times: list[float] = []

    def rule(number: int, asked: Any) -> Reply:
        now = time.monotonic()
        if sum(now - each < 1.0 for each in times) >= 20:
            head = {"Retry-After": "1"}
            if date:
                head = {"Retry-After": "Fri, 02 Jan 2026 12:00:01 GMT",
                        "Date": "Fri, 02 Jan 2026 12:00:00 GMT"}  # fmt: skip
            return Reply({"error": {"message": "20 requests a second at most"}}, 429, head)
        times.append(now)
        return fine(number, asked)

    with odd_server(rule) as server:
        done = user.evaluate(server.base_url, max_items=40)
    assert "1 cells: 1 ok" in done.out and "requests failed" not in done.out
    assert len(rows(user)) == 40
    assert "this takes longer: the endpoint wants to be asked later (HTTP 429: 20 requests a " in (
        user.log()
    )


def test_a_parameter_that_is_refused_by_name_is_left_out_or_renamed(user: User) -> None:
    def rule(number: int, asked: dict[str, Any]) -> Reply:
        if "max_tokens" in asked or asked.get("max_completion_tokens") != 512:
            return refusal(
                "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            )
        return fine(number, asked)

    with odd_server(rule) as server:
        done = user.evaluate(server.base_url, concurrency=1)
        assert len(server.asked) == 3
        assert done.code == 1
        cure = "evaluation.body: {max_tokens: null, max_completion_tokens: 4096}"
        assert cure in done.out
        assert cure in user.task()["reason"]
        body = "{max_tokens: null, max_completion_tokens: 512}"
        done = user.evaluate(server.base_url, body=body)
    assert "1 cells: 1 ok" in done.out
    assert user.task()["facts"]["body"] == {"max_tokens": None, "max_completion_tokens": 512}


def test_a_refused_key_ends_it_at_once_and_the_cell_says_so(user: User) -> None:
    def rule(number: int, asked: Any) -> Reply:
        return fine(number, asked) if number < 4 else refusal("token expired", 401)

    with odd_server(rule) as server:
        done = user.evaluate(server.base_url, max_items=200, concurrency=2)
        assert len(server.asked) < 10
    assert done.code == 1
    told = "base x arithmetic: failed: arithmetic: the key is refused (HTTP 401: token expired)"
    assert told in done.out
    assert user.task()["state"] == "failed"


@pytest.mark.parametrize("route", ["", "/chat/completions", "/completions", "/chat/completions/"])
def test_an_address_with_a_route_is_taken_as_what_is_meant(user: User, route: str) -> None:
    with odd_server(fine) as server:
        done = user.evaluate(f"{server.base_url}{route}", max_items=2)
    assert "1 cells: 1 ok" in done.out


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://h:99999/v1", " http://h:99999/v1"),
        ("http://[::1/v1", " http://[::1/v1"),
        ("http://h/v1?key=hunter2", ""),
        ("http://me:hunter2@h/v1", ""),
    ],
)
def test_an_address_that_is_none_is_the_users_mistake(user: User, address: str, shown: str) -> None:
    done = user.evaluate(address)
    assert done.code == 2
    assert f"--server-address{shown}: http://host/v1 or https://host/v1 is expected" in done.err
    assert "hunter2" not in done.err
    assert not (user.folder / "runs").exists()


def test_a_body_may_not_decide_what_is_asked(user: User) -> None:
    for body in ("{messages: []}", "{model: x}", "{n: 2}", "{stream: true}"):
        done = user.evaluate("http://127.0.0.1:9/v1", body=body)
        assert done.code == 2
        assert "evaluation.body." in done.err and "is set by the harness" in done.err


def test_a_resumed_file_with_a_damaged_line_keeps_all_that_can_be_read(user: User) -> None:
    with odd_server(lambda n, asked: Reply(b"", 500) if n > 8 else fine(n, asked)) as server:
        user.monkeypatch.setattr("harness.compute.evaluate.answers.generate.RETRIES", 0)
        done = user.evaluate(server.base_url, max_items=40, concurrency=1)
    assert "20 requests in a row failed" in done.out
    partial = user.latest.cell("base", "arithmetic").partial()
    lines = partial.read_bytes().splitlines(keepends=True)
    lines[3] = b"\x00" * 512 + b"\n"
    partial.write_bytes(b"".join(lines))
    before = partial.read_bytes()
    with odd_server(fine) as server:
        spec = Path(user.latest.spec)
        spec.write_text(spec.read_text().replace(user_address(spec), server.base_url))
        done = user.run("retry", "--wait", "--poll=0.5")
        assert len(server.asked) == 40 - 8
    assert "1 cells: 1 ok" in done.out, done.text
    assert "1 lines of partial-rs0.jsonl are damaged" in user.log()
    assert len(rows(user)) == 40 and before.count(b"\n") == 29


def user_address(spec: Path) -> str:
    (line,) = [line for line in spec.read_text().splitlines() if "address:" in line]
    return line.partition("address: ")[2].strip()
