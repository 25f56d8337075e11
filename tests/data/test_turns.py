"""One row of a file becomes the turns of one chat, or says why it is none."""

from __future__ import annotations

from typing import Any

import pytest

from harness.data.turns import ROLES, SPEAKERS, BadRow, to_messages

CHAT = [{"role": "user", "content": "Hé?"}, {"role": "assistant", "content": "Ja 🙂"}]


def reason(row: dict[str, Any]) -> str:
    with pytest.raises(BadRow) as caught:
        to_messages(row)
    return str(caught.value)


@pytest.mark.parametrize(("speaker", "role"), SPEAKERS.items())
def test_every_speaker_of_a_conversation_has_its_role(speaker: str, role: str) -> None:
    value = {"from": speaker, "value": "x"}
    turns = to_messages({"conversations": [value, {"from": "gpt", "value": "y"}]})
    assert turns == [{"role": role, "content": "x"}, {"role": "assistant", "content": "y"}]
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
    turns = [{**turn, "weight": 1, "name": "x", "tool_calls": []} for turn in CHAT]
    assert to_messages({"messages": turns, "id": 7, "source": None}) == CHAT


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
        ("hello", "a turn is str; {role, content} is expected"),
        (None, "a turn is missing or null; {role, content} is expected"),
        ({"content": "x"}, "unknown role None; known: system, user, assistant, tool"),
        ({"role": ["user"], "content": "x"}, "unknown role ['user']; known: "),
        ({"role": "it's\na", "content": "x"}, 'unknown role "it\'s\\na"; known: '),
        ({"role": "user", "content": [{"type": "text"}]},
         "the content of a user turn is list; text is expected"),
        ({"role": "user", "content": []}, "the content of a user turn is empty; text is expected"),
        ({"role": "user"}, "the content of a user turn is missing or null; text is expected"),
        ({"role": "user", "content": 0}, "the content of a user turn is int; text is expected"),
        ({"role": "user", "content": "\n\t "}, "turn 1 (user) is empty"),
        ({"role": "user", "content": "a\ud800"}, "turn 1 (user) has half of a surrogate pair"),
    ],
)  # fmt: skip
def test_a_turn_that_is_none_is_told_by_what_it_is(turn: Any, words: str) -> None:
    assert words in reason({"messages": [CHAT[1], turn]})


def test_a_speaker_is_not_a_role_and_a_role_not_a_speaker() -> None:
    assert "unknown role 'human'" in reason({"messages": [{"role": "human", "content": "x"}]})
    told = reason({"conversations": [{"from": None, "value": "x"}]})
    assert told.startswith("unknown from None; known: human, user, gpt")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"messages": CHAT[:1]}, "no assistant turn, so nothing to train on"),
        ({"messages": {}}, "messages is dict; a list of turns is expected"),
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
    with pytest.raises(BadRow, match="tool_calls"):
        to_messages(
            {"messages": [CHAT[0], {"role": "assistant", "content": "", "tool_calls": [1]}]}
        )
