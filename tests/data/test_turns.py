"""One turn in anybody's form: what it says, thinks and calls."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.data.tally import BadRow, Note
from harness.data.turns import to_turns

CALL = {"type": "function", "function": {"name": "add", "arguments": {"a": 1, "b": None}}}


def turns(turn: Any) -> tuple[list[dict[str, Any]], set[Note]]:
    notes: set[Note] = set()
    return to_turns(turn, notes), notes


@pytest.mark.parametrize(
    ("turn", "calls"),
    [
        ({"role": "assistant", "content": None, "tool_calls": [CALL]}, [CALL]),
        ({"role": "assistant", "content": None, "tool_calls": json.dumps([CALL])}, [CALL]),
        ({"from": "function_call", "value": '{"name": "add", "arguments": {"a": 1, "b": null}}'}, [CALL]),
        ({"from": "function_call", "value": '[{"name": "add", "arguments": "{}"}]'},
         [{"type": "function", "function": {"name": "add", "arguments": "{}"}}]),
        ({"role": "assistant", "content": "", "function_call": {"name": "add", "arguments": "{}"}},
         [{"type": "function", "function": {"name": "add", "arguments": "{}"}}]),
        ({"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1}}]},
         [{"id": "t1", "type": "function", "function": {"name": "add", "arguments": {"a": 1}}}]),
    ],
    ids=["openai", "openai-text", "sharegpt", "sharegpt-list", "openai-old", "anthropic"],
)  # fmt: skip
def test_calls_of_every_form_become_tool_calls_with_their_arguments_as_they_are(
    turn: Any, calls: list[Any]
) -> None:
    (made,), notes = turns(turn)
    assert (made["role"], made["tool_calls"]) == ("assistant", calls)
    assert ("kept", "tool_calls (of turns)") in notes


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking"])
def test_thinking_is_kept_whatever_it_is_called(field: str) -> None:
    (made,), _ = turns({"role": "assistant", "content": "5", field: "two and three"})
    assert made == {"role": "assistant", "content": "5", "reasoning_content": "two and three"}
    parts = [{"type": "thinking", "thinking": "two and three"}, {"type": "text", "text": "5"}]
    assert turns({"role": "assistant", "content": parts})[0] == [made]


def test_parts_of_text_are_one_text_and_results_of_tools_are_turns() -> None:
    parts = [{"type": "text", "text": "Look: "}, "here", {"text": "."}]
    (made,), notes = turns({"role": "user", "content": parts})
    assert made["content"] == "Look: here."
    assert ("merged", "parts of contents -> text") in notes
    result = {
        "type": "tool_result",
        "tool_use_id": "t1",
        "content": [{"type": "text", "text": "3"}],
    }
    made_of, _ = turns({"role": "user", "content": [result, {"type": "text", "text": "And?"}]})
    tool = {"role": "tool", "content": "3", "tool_call_id": "t1"}
    assert made_of == [tool, {"role": "user", "content": "And?"}]
    assert turns({"role": "user", "content": [result]})[0] == [tool]


def test_a_result_that_is_an_object_is_its_json() -> None:
    (made,), _ = turns({"from": "observation", "value": {"sum": 3}})
    assert made == {"role": "tool", "content": '{"sum": 3}'}


def test_names_ids_and_weights_stay() -> None:
    given = {"role": "tool", "content": "3", "name": "add", "tool_call_id": "t1"}
    assert turns(given)[0] == [given]
    (made,), _ = turns({"from": "gpt", "value": "A", "weight": 0})
    assert made["weight"] == 0.0
    (made,), _ = turns({"from": "gpt", "value": "A", "weight": None})
    assert "weight" not in made


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        ({"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}, "a part of type 'image_url'"),
        ({"role": "assistant", "content": "", "tool_calls": [1]}, "a call in tool_calls is int"),
        ({"role": "assistant", "content": "", "tool_calls": [{"function": {"arguments": "{}"}}]}, "names no function"),
        ({"role": "assistant", "content": "", "tool_calls": "add(1)"}, "a text that is no JSON"),
        ({"role": "user", "content": "", "tool_calls": [CALL]}, "only the assistant's may"),
        ({"from": "function_call", "value": "add(1)"}, "function_call is a text that is no JSON"),
        ({"role": "user", "from": "gpt", "content": "x"}, "role and from, which differ"),
        ({"role": "user", "content": "x", "value": "y"}, "content and value, which differ"),
        ({"role": "assistant", "content": "x", "reasoning": "a", "thinking": "b"}, "two kinds of reasoning"),
        ({"role": "assistant", "content": "x", "reasoning": ["a"]}, "the reasoning of a turn is list"),
        ({"role": "assistant", "content": 5}, "the content of a assistant turn is int"),
        ({"role": "assistant", "content": "x", "weight": "0"}, "the weight of a turn is str"),
    ],
)  # fmt: skip
def test_what_cannot_be_placed_is_told(turn: Any, words: str) -> None:
    with pytest.raises(BadRow) as caught:
        turns(turn)
    assert words in str(caught.value)
