"""One row of a file becomes the turns of one chat, or says why it is none."""

from __future__ import annotations

from typing import Any

import pytest

from harness.data.shapes import to_chat
from harness.data.tally import BadRow, Note
from harness.data.turns import CALLERS, ROLES, SPEAKERS

CHAT = [{"role": "user", "content": "Hé?"}, {"role": "assistant", "content": "Ja 🙂"}]


def to_messages(row: Any) -> list[dict[str, Any]]:
    return to_chat(row).messages


def notes(row: Any) -> set[Note]:
    return to_chat(row).notes


def reason(row: dict[str, Any]) -> str:
    with pytest.raises(BadRow) as caught:
        to_messages(row)
    return str(caught.value)


@pytest.mark.parametrize(
    ("speaker", "role"), [pair for pair in SPEAKERS.items() if pair[0] not in CALLERS]
)
def test_every_speaker_of_a_conversation_has_its_role(speaker: str, role: str) -> None:
    for who, what in (("from", "value"), ("role", "content"), ("role", "value")):
        turns = [{who: speaker.title(), what: "x"}, {who: "gpt", what: "y"}]
        expected = [{"role": role, "content": "x"}, {"role": "assistant", "content": "y"}]
        assert to_messages({"conversations": turns}) == expected
        assert to_messages({"messages": turns}) == expected
    assert role in ROLES


def test_a_person_asks_and_a_model_answers_whatever_they_are_called() -> None:
    for asks, answers in (("human", "gpt"), ("user", "assistant"), ("human", "chatgpt"),
                          ("user", "model"), ("human", "bot")):  # fmt: skip
        said = [{"from": asks, "value": "Hé?"}, {"from": answers, "value": "Ja 🙂"}]
        assert to_messages({"conversations": said}) == CHAT


def test_messages_go_before_the_other_shapes_of_a_row() -> None:
    others = {"prompt": "a", "completion": "b", "instruction": "c", "output": "d"}
    assert to_messages({"messages": CHAT, "conversations": [], **others}) == CHAT
    assert to_messages({"messages": None, **others})[0]["content"] == "a"
    assert to_messages({"instruction": "c", "output": "d"})[0]["content"] == "c"


def test_further_fields_of_row_and_turn_are_left_out() -> None:
    turns = [{**turn, "mood": "x", "note": None, "tool_calls": []} for turn in CHAT]
    row = {"messages": turns, "id": 7, "source": None}
    assert to_messages(row) == CHAT
    assert {text for fate, text in notes(row) if fate == "dropped"} == {"id", "mood (of turns)"}


def test_text_is_kept_to_the_last_blank() -> None:
    text = "  def f():\n\treturn '\u2028'  \n"
    row = {"prompt": text, "completion": text}
    assert [turn["content"] for turn in to_messages(row)] == [text, text]


def test_system_and_tool_may_say_nothing_and_speak_anywhere() -> None:
    said = [("system", ""), ("user", "a"), ("assistant", "b"), ("tool", " "), ("assistant", "c")]
    turns = [{"role": role, "content": text} for role, text in said]
    assert to_messages({"messages": turns}) == turns


def test_a_prompt_of_turns_and_a_completion_of_text_go_together() -> None:
    system = {"role": "system", "content": "Be brief."}
    row = {"prompt": [system, CHAT[0]], "completion": "Ja 🙂"}
    assert to_messages(row) == [system, *CHAT]
    assert (
        reason({"prompt": [], "completion": "x"}) == "prompt is empty; a list of turns is expected"
    )


def test_an_instruction_without_input_is_asked_alone() -> None:
    for nothing in ({}, {"input": None}, {"input": ""}):
        row = {"instruction": "Add.", "output": "5", **nothing}
        assert to_messages(row)[0] == {"role": "user", "content": "Add."}
    assert to_messages({"instruction": "", "input": "2 3", "output": "5"})[0]["content"] == "2 3"


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        ("hello", "a turn is str; {role, content} or {from, value} is expected"),
        (None, "a turn is missing or null; {role, content} or {from, value} is expected"),
        ({"content": "x"}, "unknown role None; known: system, user, assistant, tool"),
        ({"role": ["user"], "content": "x"}, "unknown role ['user']; known: "),
        ({"role": "it's\na", "content": "x"}, 'unknown role "it\'s\\na"; known: '),
        ({"role": "user", "content": [{"type": "text"}]},
         "the content of a user turn has a part of type 'text', not text"),
        ({"role": "user", "content": []}, "turn 1: the content of a user turn is missing or null"),
        ({"role": "user"}, "turn 1: the content of a user turn is missing or null"),
        ({"role": "user", "content": 0}, "the content of a user turn is int; text is expected"),
        ({"role": "user", "content": "\n\t "}, "turn 1 (user) is empty"),
        ({"role": "user", "content": "a\ud800"}, "turn 1 (user) has half of a surrogate pair"),
    ],
)  # fmt: skip
def test_a_turn_that_is_none_is_told_by_what_it_is(turn: Any, words: str) -> None:
    assert words in reason({"messages": [CHAT[1], turn]})


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"messages": CHAT[:1]}, "no assistant turn, so nothing to train on"),
        ({"messages": {}}, "messages is an object; a list of turns is expected"),
        ({"conversations": ""}, "conversations is str; a list of turns is expected"),
        ({"prompt": None, "completion": "x"}, "prompt is missing or null; text is expected"),
        ({"prompt": "x", "completion": ""}, "turn 1 (assistant) is empty"),
        ({"instruction": "x", "output": None}, "output is missing or null; text is expected"),
        ({"instruction": "x"}, "its fields are instruction; expected are `messages`"),
        ({"a b": 1, "ü": 2}, "its fields are a b, ü; expected are `messages`"),
        ({}, "its fields are none; expected are `messages`"),
    ],
)
def test_a_row_that_is_no_chat_says_why(row: dict[str, Any], words: str) -> None:
    assert reason(row).startswith(words)


def test_an_input_belongs_to_its_instruction() -> None:
    turns = to_messages({"instruction": "Add.", "input": "2 3", "output": "5"})
    assert turns[0]["content"] == "Add.\n\n2 3"
    assert to_messages({"input": "2 3", "output": "5"})[0]["content"] == "2 3"
