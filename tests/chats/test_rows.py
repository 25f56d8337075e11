"""Rows as a template sees them."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from harness.chats.rows import RowProblem, plain_rows, ready, why


def plain(kind: pa.DataType, value: Any) -> Any:
    return plain_rows(pa.table({"x": pa.array([value], kind)}))[0]["x"]


def test_what_arrow_added_is_left_out_at_any_depth() -> None:
    inner = pa.struct([("city", pa.string()), ("a", pa.int64())])
    calls = pa.list_(pa.struct([("name", pa.string()), ("arguments", inner)]))
    value = [
        {"name": "add", "arguments": {"a": 1}},
        {"name": "where", "arguments": {"city": "Ulm"}},
    ]
    assert plain(calls, value) == value
    assert plain(calls, None) is None
    assert plain(pa.list_(pa.string()), ["a", None]) == ["a", None]
    assert plain(pa.map_(pa.string(), pa.int64()), [("a", 1)]) == {"a": 1}


def test_json_features_are_decoded_and_keep_their_own_nulls() -> None:
    storage = pa.array([['{"default": null}', None]], pa.list_(pa.string()))
    table = pa.table({"tools": storage.cast(pa.list_(pa.json_()))})
    assert plain_rows(table) == [{"tools": [{"default": None}, None]}]


def chat(content: Any, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content, **fields}]}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("as it is", "as it is"),
        ([{"type": "text", "text": "one "}, {"type": "text", "text": "two"}], "one two"),
        ([{"type": "text", "text": "of text", "image_url": None}], "of text"),
        ([{"text": "without a type"}], "without a type"),
        ([{"type": "input_text", "text": "of a reply"}], "of a reply"),
        (["plain ", "parts"], "plain parts"),
        ([], ""),
    ],
)
def test_parts_of_text_are_joined(content: Any, text: str) -> None:
    assert ready(chat(content))["messages"] == [{"role": "user", "content": text}]


@pytest.mark.parametrize(
    "part",
    [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "image"}, {"image": "x"},
     {"type": "text", "text": {"value": "x"}}, 3],
)  # fmt: skip
def test_a_part_that_is_no_text_is_never_left_out_unsaid(part: Any) -> None:
    with pytest.raises(RowProblem):
        ready(chat([{"type": "text", "text": "look:"}, part]))


def test_nulls_of_a_turn_and_null_arguments_count_as_none() -> None:
    row = chat("x", tool_calls=None) | {"tools": None, "chat_template_kwargs": None}
    assert ready(row) == chat("x")


def test_tools_are_the_same_as_json_and_as_they_are() -> None:
    tools = [{"type": "function", "function": {"name": "add"}}]
    wanted = ready(chat("x") | {"tools": tools})
    assert wanted["tools"] == tools
    assert ready(chat("x") | {"tools": json.dumps(tools)}) == wanted
    assert ready(chat("x") | {"tools": [json.dumps(tools[0])]}) == wanted
    assert ready(chat("x") | {"chat_template_kwargs": '{"a": 1}'})["chat_template_kwargs"] == {
        "a": 1
    }
    with pytest.raises(RowProblem, match="tools are no JSON"):
        ready(chat("x") | {"tools": "[{"})
    with pytest.raises(RowProblem, match="no mapping"):
        ready(chat("x") | {"chat_template_kwargs": "[1]"})


def test_a_problem_is_told_in_our_words_or_in_the_templates() -> None:
    assert why(RowProblem("no messages")) == "no messages"
    assert why(KeyError("x")) == "KeyError: 'x'"
