"""A chat template by its text: is it one, does it mark answers, where a model has its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.chats.template import marks_answers, own_template, syntax_problem
from harness.errors import ResultError
from harness.preflight.rows.template import check_own_template, check_template
from tests.preflight.support import TEMPLATES


@pytest.mark.parametrize("file", sorted(TEMPLATES.glob("*.jinja")), ids=lambda file: file.stem)
def test_our_own_templates_are_right_and_mark_answers(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert syntax_problem(text) is None
    assert marks_answers(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain text: é 中",
        "{% for m in messages %}{% if m.x %}{% continue %}{% endif %}{% break %}{% endfor %}",
        "{%- generation -%}{{ m.content }}{%- endgeneration -%}",
        "{{ raise_exception('never run here') }}{{ tools | tojson }}{{ strftime_now('%Y') }}",
    ],
)
def test_what_transformers_takes_is_taken(text: str) -> None:
    assert syntax_problem(text) is None


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a\nb\n{% for %}", 3, "Expected an expression"),
        ("{% if a %}\n{{ b }}", 2, "Unexpected end of template"),
        ("\n{% generation %}x", 2, "Unexpected end of template"),
        ("{% nonsense %}", 1, "unknown tag 'nonsense'"),
        ("{% endgeneration %}", 1, "unknown tag 'endgeneration'"),
        ("{{ a", 1, "unexpected end of template"),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, line: int, message: str) -> None:
    problem = syntax_problem(text)
    assert problem is not None
    assert problem.lineno == line
    assert message in str(problem.message)


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("{% generation %}x{% endgeneration %}", True),
        ("{%-generation-%}x{%- endgeneration %}", True),
        ("{%-\n generation\n-%}x", True),
        ("{% endgeneration %}", False),
        ("{{ generation }}", False),
        ("{% if add_generation_prompt %}x{% endif %}", False),
        ("", False),
    ],
)
def test_only_a_generation_block_marks_answers(text: str, marked: bool) -> None:
    assert marks_answers(text) is marked


def tokenizer_config(folder: Path, template: Any) -> Path:
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    return folder


def test_a_models_own_file_comes_before_its_tokenizers_field(tmp_path: Path) -> None:
    assert own_template(tmp_path) is None
    tokenizer_config(tmp_path, "of the field")
    assert own_template(tmp_path) == "of the field"
    (tmp_path / "chat_template.jinja").write_text("of the file é", encoding="utf-8")
    assert own_template(tmp_path) == "of the file é"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ([{"name": "rag", "template": "r"}, {"name": "default", "template": "d"}], "d"),
        ([{"name": "rag", "template": "r"}], None),
        ([{}], None),
        ([], None),
        (None, None),
        ({"default": "d"}, None),
    ],
)
def test_of_several_templates_the_default_counts(
    tmp_path: Path, template: Any, expected: str | None
) -> None:
    assert own_template(tokenizer_config(tmp_path, template)) == expected


def test_a_damaged_tokenizer_config_is_an_error_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(ResultError, match=r"tokenizer_config\.json: cannot be read as JSON"):
        own_template(tmp_path)


@pytest.mark.parametrize("text", ["[]", "null", "5"])
def test_a_tokenizer_config_that_is_no_mapping_is_an_error_with_its_file(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "tokenizer_config.json").write_text(text)
    with pytest.raises(ResultError, match=r"tokenizer_config\.json: a mapping is expected"):
        own_template(tmp_path)
    tokenizer_config(tmp_path, ["default", {"name": "default", "template": "d"}])
    assert own_template(tmp_path) == "d"


def test_a_template_in_another_encoding_is_an_error_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_bytes(b"caf\xe9")
    with pytest.raises(ResultError, match=r"chat_template\.jinja: cannot be read: it is not UTF-8"):
        own_template(tmp_path)
    (found,) = check_own_template(tmp_path)
    assert (found.level, found.place) == ("error", "MODEL")
    (found,) = check_template(None, True, tmp_path)
    assert (found.level, found.place) == ("error", "train.chat_template_path")
