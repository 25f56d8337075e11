"""What a user may put into requests: anything but what decides what is asked, and of whom."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from harness.config.endpoint import Body, merged, token_limit
from tests.config.test_load import GOOD, message

OURS = {"temperature": 0.6, "max_tokens": 4096, "seed": 7}


def refused(body: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Body).validate_python(body)
    return str(caught.value.errors()[0]["msg"])


@pytest.mark.parametrize("name", ["messages", "model", "n", "stream"])
@pytest.mark.parametrize("value", [1, None])
def test_what_decides_results_is_never_the_users(name: str, value: Any, tmp_path: Path) -> None:
    told = f"{name} is set by the harness and cannot be given here"
    assert told in refused({name: value})
    for field in ("evaluation.body", "evaluation.judge.body"):
        text = message(tmp_path, GOOD, f"{field}={json.dumps({name: value})}")
        assert text.startswith(f"--set {field}=") and f"{field}.{name}: {told}" in text


@pytest.mark.parametrize("name", ["temperature", "top_p", "max_tokens", "seed"])
def test_what_has_a_field_of_its_own_can_only_be_left_out(name: str) -> None:
    assert f"`{name}: null`, which leaves it out" in refused({name: 1})
    assert TypeAdapter(Body).validate_python({name: None}) == {name: None}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [float("-inf")]])
def test_numbers_that_json_does_not_have_are_refused(value: Any) -> None:
    assert "not finite" in refused({"x": value})


@pytest.mark.parametrize("value", [0, -1, True, "512", 1.5, [512]])
def test_the_newer_name_of_max_tokens_is_a_number_of_tokens(value: Any) -> None:
    assert "whole number of tokens" in refused({"max_completion_tokens": value})


def test_values_may_be_nested_and_are_json() -> None:
    body = {"chat_template_kwargs": {"enable_thinking": False}, "stop": ["a", None]}
    assert TypeAdapter(Body).validate_python(body) == body
    assert refused({"x": date(2026, 1, 1)})


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        ({}, OURS),
        ({"top_k": 20}, OURS | {"top_k": 20}),
        ({"seed": None}, {"temperature": 0.6, "max_tokens": 4096}),
        ({"max_completion_tokens": 9}, {"temperature": 0.6, "max_completion_tokens": 9, "seed": 7}),
        ({"max_tokens": None, "max_completion_tokens": 9},
         {"temperature": 0.6, "max_completion_tokens": 9, "seed": 7}),
        ({"max_tokens": None}, {"temperature": 0.6, "seed": 7}),
        ({"top_k": None}, OURS),
    ],
)  # fmt: skip
def test_what_is_sent_is_ours_and_the_bodys(body: dict[str, Any], sent: dict[str, Any]) -> None:
    assert merged(OURS, body) == sent


@pytest.mark.parametrize(
    ("body", "limit"),
    [({}, 4096), ({"max_completion_tokens": 9}, 9), ({"max_tokens": None}, None), ({"x": 1}, 4096)],
)
def test_the_length_of_an_answer_is_what_requests_say(
    body: dict[str, Any], limit: int | None
) -> None:
    assert token_limit(4096, body) == limit
