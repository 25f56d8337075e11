"""templates/chat/chatml.jinja against the template that SmolLM2 itself ships, which puts a system
turn of its own before a conversation without one: ours adds no text.

HARNESS_SMOLLM2 names a folder made by `python -m harness.data.demo model DIR`.
"""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT

TEMPLATE = ROOT / "templates" / "chat" / "chatml.jinja"

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "What is 2 + 2?"}
ASSISTANT = {"role": "assistant", "content": "It is\n 4.  "}
OWN = (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, "
    "trained by Hugging Face<|im_end|>\n"
)
AGAIN = {"role": "user", "content": " And 3 + 3?\n"}
CONVERSATIONS = {
    "without a system turn": [USER],
    "with a system turn": [SYSTEM, USER],
    "with an answer": [USER, ASSISTANT],
    "two turns": [SYSTEM, USER, ASSISTANT, AGAIN, {"role": "assistant", "content": "6"}],
    "assistant first": [ASSISTANT, USER],
    "empty content": [{"role": "user", "content": ""}, {"role": "assistant", "content": ""}],
    "hostile content": [{"role": "user", "content": "{{ x }} {% y %} <b> & 'q' \"é\" 漢\t"}],
}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    folder = os.environ.get("HARNESS_SMOLLM2")
    if not folder or not Path(folder).is_dir():
        pytest.skip("HARNESS_SMOLLM2 names no folder with SmolLM2-135M-Instruct")
    transformers = pytest.importorskip("transformers")
    return transformers.AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("generation_prompt", [False, True])
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_renders_token_for_token_what_smollm2_renders(
    tokenizer: Any, name: str, generation_prompt: bool
) -> None:
    messages = CONVERSATIONS[name]
    ours, theirs = (
        tokenizer.apply_chat_template(
            messages,
            chat_template=template,
            tokenize=False,
            add_generation_prompt=generation_prompt,
        )
        for template in (TEMPLATE.read_text(), None)
    )
    if messages[0]["role"] != "system":
        assert theirs.startswith(OWN)
        theirs = theirs.removeprefix(OWN)
    assert ours == theirs
    assert tokenizer(ours)["input_ids"] == tokenizer(theirs)["input_ids"]


def test_marks_exactly_the_answers_and_their_end_tokens_for_training(tokenizer: Any) -> None:
    encoded = tokenizer.apply_chat_template(
        CONVERSATIONS["two turns"],
        chat_template=TEMPLATE.read_text(),
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    marked = [
        token
        for token, kept in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True)
        if kept
    ]
    assert tokenizer.decode(marked) == "It is\n 4.  <|im_end|>6<|im_end|>"


def test_generation_prompt_is_a_prefix_of_the_answered_conversation(tokenizer: Any) -> None:
    template = TEMPLATE.read_text()
    asked = tokenizer.apply_chat_template(
        [USER], chat_template=template, tokenize=False, add_generation_prompt=True
    )
    answered = tokenizer.apply_chat_template(
        [USER, ASSISTANT], chat_template=template, tokenize=False
    )
    assert answered.startswith(asked)
