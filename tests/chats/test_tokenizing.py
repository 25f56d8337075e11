"""What the real tokenizer and a template make of a probe and of rows."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="needs the extra `train`")

from harness.chats.tokenizing import Answer, Request, answer
from harness.processes.shell import own_module
from tests.preflight.support import MARKED, TEMPLATES, turn
from tests.tiny_model import make_tiny_tokenizer

CHAT = turn("Q", "five") or []
ROW = {"messages": CHAT}
PROMPT, COMPLETION = {"prompt": CHAT[:1]}, {"completion": CHAT[1:]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_tiny_tokenizer(tmp_path_factory.mktemp("tokenizer") / "of a model"))


def asked(folder: str, *rows: dict[str, Any], **fields: Any) -> Answer:
    return answer(
        Request.model_validate({"model": folder, "template": MARKED, "rows": rows} | fields)
    )


def test_the_probe_tells_what_ends_a_turn_and_what_is_trained(folder: str) -> None:
    found = asked(folder)
    assert found.eos is not None and (found.eos.id, found.eos.text) == (0, "<|endoftext|>")
    assert found.end is not None and (found.end.id, found.end.text) == (2, "<|im_end|>")
    assert found.has_template and found.ends_trained and found.prompt_is_prefix
    assert found.probe_last == ("<|im_end|>",) * 2
    assert found.probe_trained > 4
    assert found.probe_problem == ""
    assert found.rows == ()


def test_an_end_outside_the_markers_is_not_trained(folder: str) -> None:
    template = MARKED.replace("message['content'] + '<|im_end|>' -}}", "message['content'] -}}")
    template = template.replace("{{- '\\n' -}}", "{{- '<|im_end|>\\n' -}}")
    found = asked(folder, template=template)
    assert found.end is not None and found.end.id == 2
    assert not found.ends_trained
    assert len(found.probe_last) == 2 and "<|im_end|>" not in found.probe_last


def test_without_a_template_only_the_tokenizer_answers(folder: str) -> None:
    found = asked(folder, {"prompt": "2 + 3 =", "completion": " 5"}, template=None)
    assert found.eos is not None
    assert (found.has_template, found.end, found.probe_trained) == (False, None, 0)
    assert found.rows[0].problem == ""
    (row,) = asked(folder, ROW, template=None).rows
    assert (row.length, row.trained) == (0, 0)
    assert row.problem.startswith("ValueError: ")


def test_an_eos_token_that_is_unknown_ends_the_look(folder: str) -> None:
    assert asked(folder, ROW, eos_token="</s>") == Answer(eos_unknown=True)
    found = asked(folder, eos_token="<|im_end|>")
    assert found.eos is not None and found.eos.id == 2


def test_a_template_that_raises_is_told_by_its_own_words(folder: str) -> None:
    found = asked(folder, ROW, template="{{ raise_exception('no \"system\" here') }}")
    assert found.probe_problem == 'TemplateError: no "system" here'
    assert found.rows[0].problem == 'TemplateError: no "system" here'


def test_roles_are_rendered_dropped_or_refused(folder: str) -> None:
    template = MARKED.replace(
        "{%- for message in messages -%}",
        "{%- for message in messages if message.role != 'tool' -%}"
        "{%- if message.role == 'gpt' -%}{{ raise_exception('who?') }}{%- endif -%}",
    )
    found = asked(folder, template=template, roles=("critic", "tool", "gpt"))
    assert found.roles == {"critic": "rendered", "tool": "dropped", "gpt": "refused: who?"}


def shown(found: Answer, row: int = 0) -> str:
    """Trained stretches in brackets."""
    return "".join(f"[{text}]" if trained else text for text, trained in found.shown[row])


def test_a_row_is_shown_with_what_is_trained(folder: str) -> None:
    found = asked(folder, ROW, show=1)
    assert shown(found).endswith(
        "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n[five<|im_end|>]\n"
    )
    assert asked(folder, ROW, show=1, masked=False).shown[0][0][1] is True


def test_a_row_is_cut_at_the_end_that_is_asked_for(folder: str) -> None:
    whole = asked(folder, ROW).rows[0]
    assert 0 < whole.trained < whole.length
    start = asked(folder, ROW, show=1, max_length=5)
    assert (start.rows[0].length, start.rows[0].trained) == (whole.length, 0)
    assert shown(start).startswith("<|im_start|>user")
    end = asked(folder, ROW, show=1, max_length=3, keep_end=True)
    assert (end.rows[0].length, end.rows[0].trained) == (whole.length, 2)
    assert shown(end).endswith("<|im_end|>]\n")
    assert asked(folder, ROW, max_length=whole.length, keep_end=True).rows[0] == whole


def test_rows_beyond_the_number_asked_for_are_counted_and_not_shown(folder: str) -> None:
    found = asked(folder, {"messages": None}, ROW, ROW, ROW, show=2)
    assert [row.problem == "" for row in found.rows] == [False, True, True, True]
    assert len(found.shown) == 2


def test_when_time_is_up_the_remaining_rows_are_left_out(folder: str) -> None:
    assert asked(folder, ROW, ROW, seconds=-1).rows == ()


def test_a_prompt_is_never_trained_and_a_plain_completion_gets_its_end(folder: str) -> None:
    assert asked(folder, {**PROMPT, **COMPLETION}).rows == asked(folder, ROW).rows
    plain = {"prompt": "2 + 3 =", "completion": " 5"}
    found = asked(folder, plain, show=1, masked=False, template=None)
    assert shown(found) == "2 + 3 =[ 5<|endoftext|>]"
    ended = {**plain, "completion": " 5<|endoftext|>"}
    assert asked(folder, ended, masked=False, template=None).rows == found.rows


def test_tools_are_taken_as_a_list_or_as_its_json(folder: str) -> None:
    template = (TEMPLATES / "qwen3.jinja").read_text(encoding="utf-8")
    tools = [{"type": "function", "function": {"name": "add", "parameters": {}}}]
    bare, plain, text, none = asked(
        folder, ROW, {**ROW, "tools": tools}, {**ROW, "tools": json.dumps(tools)},
        {**ROW, "tools": []}, template=template,
    ).rows  # fmt: skip
    assert plain == text
    assert plain.length > bare.length
    assert none == bare
    split = {**PROMPT, **COMPLETION, "tools": json.dumps(tools)}
    assert asked(folder, split, template=template).rows == (plain,)


def test_a_row_with_neither_form_is_a_problem_of_its_own(folder: str) -> None:
    bad, good = asked(folder, {"text": "x"}, ROW).rows
    assert bad.problem == "no messages"
    assert good.problem == ""


def test_the_process_of_its_own_answers_with_nothing_else_on_stdout(folder: str) -> None:
    template = MARKED.replace("{%- for", "{#- é 中 \u2028 -#}{%- for", 1)
    request = Request(model=folder, template=template, rows=(ROW,), show=1)
    done = subprocess.run(
        own_module("harness.chats.tokenizing"),
        input=request.model_dump_json(), capture_output=True, text=True, check=True,
        cwd=Path(folder).parent,
    )  # fmt: skip
    assert Answer.model_validate_json(done.stdout) == answer(request)
