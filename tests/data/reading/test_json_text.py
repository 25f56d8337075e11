"""JSON that is read piece by piece gives what reading it at once gives."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from harness.data.reading import json_text
from harness.data.reading.json_text import JsonText, Repeated

VALUES: list[Any] = [{"a": 'é\\"]🙂', "b": [1, 2.5, -3e7, None]}, "x" * 40, 1234567, [], {}, True]


@pytest.mark.parametrize("size", range(1, 12))
def test_an_array_is_the_same_wherever_it_is_cut(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_text, "_CHUNK", size)
    for text in (json.dumps(VALUES), json.dumps(VALUES, indent=2, ensure_ascii=False)):
        assert list(JsonText(io.StringIO(text)).items()) == VALUES
    wrapped = JsonText(io.StringIO(json.dumps({"v": 1, "data": VALUES, "end": "x"})))
    found = {
        n: list(wrapped.items()) if n == "data" else wrapped.value() for n in wrapped.members()
    }
    assert found == {"v": 1, "data": VALUES, "end": "x"}
    assert wrapped.peek() == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[{"a": 1} {"a": 2}]', "',' or ']' is expected, found '{'"),
        ('[{"a": 1}, {"a"', "Expecting|expected|Unterminated"),
        ('[{"a": 1},', "found the end"),
        ('[{"a": tru}]', "Expecting value"),
        ("[" * 1_000_000, "nested too deeply|found the end|Expecting value"),
    ],
    ids=["comma", "torn", "open", "word", "deep"],
)
def test_what_is_no_json_is_told(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        list(JsonText(io.StringIO(text)).items())


def test_a_name_that_stands_twice_is_told() -> None:
    with pytest.raises(Repeated, match="the field 'a' twice"):
        JsonText(io.StringIO('{"a": 1, "a": 2}')).value()
