"""Replies of all kinds: an answer, or a fault in the server's own words; never anything else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.compute.evaluate.endpoint.replies import Answer, Fault, Kind, read


def completion(content: Any, finish: Any = "stop", **message: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": content, **message}
    return {"choices": [{"index": 0, "message": said, "finish_reason": finish}]}


def answer(value: Any) -> Answer:
    return read(200, value if isinstance(value, bytes) else json.dumps(value).encode())


def fault(value: Any, status: int = 200, **more: Any) -> Fault:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    with pytest.raises(Fault) as caught:
        read(status, body, **more)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a", "a"),
        ("", ""),
        (None, ""),
        ([], ""),
        ([{"type": "text", "text": "a"}, {"type": "output_text", "text": "b"}, "c"], "abc"),
        ("half \ud83d pair", "half \ufffd pair"),
        ("whole \U0001f642", "whole \U0001f642"),
        ("\x00", "\x00"),
    ],
)
def test_content_is_text_or_nothing_or_parts_that_are_joined(content: Any, text: str) -> None:
    assert answer(completion(content)).text == text


@pytest.mark.parametrize("content", [42, 1.5, True, {"answer": 3}, [{"type": "image_url"}], [7]])
def test_content_that_is_no_text_is_a_fault_of_this_request(content: Any) -> None:
    found = fault(completion(content))
    assert found.kind is Kind.REFUSED
    assert "is no text" in str(found)


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_what_a_parser_kept_apart_keeps_its_name(name: str) -> None:
    found = answer(completion(None, **{name: "hm"}))
    assert (found.text, found.reasoning) == ("", {name: "hm"})


def test_thought_in_parts_is_kept_apart_as_well() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "a"},
    ]
    found = answer(completion(parts))
    assert (found.text, found.reasoning) == ("a", {"reasoning": "hm"})


def test_a_refusal_of_the_model_is_its_answer() -> None:
    assert answer(completion(None, refusal="I will not.")).text == "I will not."


def test_invalid_utf8_costs_the_character_alone() -> None:
    assert answer(b'{"choices": [{"message": {"content": "a\xffb"}}]}').text == "a\ufffdb"


@pytest.mark.parametrize(
    ("usage", "told"),
    [(None, None), ({}, None), ([1], None), ({"completion_tokens": 0}, 0),
     ({"completion_tokens": "20"}, None), ({"completion_tokens": True}, None),
     ({"completion_tokens": -1}, None), ({"completion_tokens": 1.5}, None)],
)  # fmt: skip
def test_tokens_that_are_no_number_are_unknown(usage: Any, told: int | None) -> None:
    assert answer(completion("a") | {"usage": usage}).completion_tokens == told


@pytest.mark.parametrize(
    ("reason", "told"),
    [("stop", "stop"), (None, None), ({"type": "length"}, "length"), (5, None), ("a\nb", "a b")],
)
def test_a_finish_reason_is_a_word_or_nothing(reason: Any, told: str | None) -> None:
    assert answer(completion("a", reason)).finish_reason == told


@pytest.mark.parametrize(
    "value",
    [{}, [], 7, None, "text", {"choices": []}, {"choices": None}, {"choices": {"0": 1}},
     {"choices": [None]}, {"choices": [{}]}, {"choices": [{"message": None}]},
     {"choices": [{"message": "a"}]}, {"detail": "Not Found"}],
)  # fmt: skip
def test_what_is_no_completion_is_quoted(value: Any) -> None:
    found = fault(value)
    assert found.kind is Kind.REFUSED
    assert str(found).startswith("it answers, but not as a chat completions endpoint does: ")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "its reply is empty"),
        (b" \r\n", "its reply is empty"),
        (b"<html>\n<h1>Bad gateway</h1>", "its reply is no JSON: <html> <h1>Bad gateway</h1>"),
        (b'{"choices": [{"mess', 'its reply is no JSON: {"choices": [{"mess'),
        (b"[" * 100_000, "its reply is "),
        (b"\xff\xfe\x00", "its reply is no JSON"),
    ],
)
def test_what_is_no_json_is_asked_again(body: bytes, told: str) -> None:
    found = fault(body)
    assert found.kind is Kind.BROKEN
    assert told in str(found)


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        ({"message": "restarting", "code": 503}, Kind.BROKEN, "HTTP 503: restarting"),
        ({"message": "restarting", "code": "503"}, Kind.BROKEN, "HTTP 503: restarting"),
        ({"message": "slower", "status": 429}, Kind.BUSY, "HTTP 429: slower"),
        ({"message": "slower", "type": "rate_limit_exceeded"}, Kind.BUSY, "HTTP 429: slower"),
        ({"message": "odd"}, Kind.BROKEN, "HTTP 500: odd"),
        ("odd", Kind.BROKEN, "HTTP 500: odd"),
        ({"message": "no", "code": 400}, Kind.REFUSED, "HTTP 400: no"),
        ({"message": "who?", "code": 401}, Kind.HOPELESS, "the key is refused (HTTP 401: who?)"),
    ],
)
def test_an_error_inside_a_200_is_what_its_status_would_be(
    error: Any, kind: Kind, told: str
) -> None:
    for value in ({"error": error}, {"error": error, "choices": []}):
        found = fault(value)
        assert (found.kind, str(found)) == (kind, told)
    routed = completion("") | {}
    routed["choices"][0]["error"] = error
    assert str(fault(routed)) == told


def test_no_error_is_no_error() -> None:
    assert answer(completion("a") | {"error": None}).text == "a"


def test_the_older_form_of_vllm_is_an_error_too() -> None:
    found = fault({"object": "error", "message": "too long", "code": 400})
    assert (found.kind, str(found)) == (Kind.REFUSED, "HTTP 400: too long")


@pytest.mark.parametrize(
    ("status", "body", "kind", "told"),
    [
        (400, {"error": {"message": "too\nlong"}}, Kind.REFUSED, "HTTP 400: too long"),
        (422, {"detail": [{"loc": ["body", "seed"], "msg": "Extra"}]}, Kind.REFUSED,
         "HTTP 422: body.seed: Extra"),
        (401, {"error": "expired"}, Kind.HOPELESS, "the key is refused (HTTP 401: expired)"),
        (403, {"message": "no"}, Kind.SUSPECT,
         "the key is not allowed to use this model (HTTP 403: no)"),
        (404, {"detail": "Not Found"}, Kind.HOPELESS,
         "no such model or address (HTTP 404: Not Found)"),
        (429, {"error": {"message": "slow"}}, Kind.BUSY, "HTTP 429: slow"),
        (429, {"error": {"message": "pay", "code": "insufficient_quota"}}, Kind.HOPELESS,
         "what may be spent is used up (HTTP 429: pay)"),
        (500, b"oh\x00 no", Kind.BROKEN, "HTTP 500: oh\ufffd no"),
        (502, b"", Kind.BROKEN, "HTTP 502"),
        (204, b"", Kind.BROKEN, "HTTP 204: its reply is empty"),
        (101, b"", Kind.BROKEN, "HTTP 101"),
    ],
)  # fmt: skip
def test_a_status_says_whether_asking_again_may_help(
    status: int, body: Any, kind: Kind, told: str
) -> None:
    found = fault(body, status)
    assert (found.kind, str(found)) == (kind, told)


def test_a_503_that_says_how_long_is_waited_for() -> None:
    assert fault({}, 503).kind is Kind.BROKEN
    busy = fault({}, 503, wait_s=2.0)
    assert (busy.kind, busy.wait_s) == (Kind.BUSY, 2.0)


def test_a_redirect_is_told_with_where_it_leads() -> None:
    found = fault(b"", 307, leads_to="https://h/v1")
    assert found.kind is Kind.SUSPECT
    assert str(found) == "HTTP 307: it redirects to https://h/v1: give that address"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["choices", "message", "content", "error", "code", "usage", "type", "text",
                         "reasoning", "finish_reason", "detail", "object", "thinking"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(value=JSON, status=st.sampled_from([200, 200, 200, 204, 302, 400, 403, 429, 503, 599]))
def test_any_json_is_an_answer_or_a_fault(value: Any, status: int) -> None:
    for wrapped in (value, completion(value), {"choices": [value]}, {"error": value}):
        told = ""
        try:
            found = read(status, json.dumps(wrapped).encode())
        except Fault as error:
            told = str(error)
        else:
            found.text.encode()
        assert told.isprintable()


@settings(max_examples=100, deadline=None)
@given(body=st.binary(max_size=60), status=st.integers(100, 599))
def test_any_bytes_are_an_answer_or_a_fault(body: bytes, status: int) -> None:
    with pytest.raises(Fault):
        read(status, body)
