"""The chat template before training or serving: there, valid, and with marks of what is trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.chats.template import own_template
from harness.preflight.rows.template import check_own_template, check_template
from tests.preflight.support import MARKED, TEMPLATES, model


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "cannot be read"),
        ("{% if %}", "not valid Jinja"),
        ("{{ messages }}", "no {% generation %}"),
    ],
)
def test_a_wrong_template_is_refused(tmp_path: Path, text: str | None, expected: str) -> None:
    path = tmp_path / "t.jinja"
    if text is not None:
        path.write_text(text)
    (found,) = check_template(str(path), assistant_only_loss=True)
    assert expected in found.message


def test_a_marked_template_passes(tmp_path: Path) -> None:
    path = tmp_path / "t.jinja"
    path.write_text(MARKED)
    assert check_template(str(path), assistant_only_loss=True) == []


def test_a_models_own_template_must_have_markers_or_another_be_named(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    assert "no chat template" in check_template(None, True, folder)[0].message
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    assert "no {% generation %} markers" in check_template(None, True, folder)[0].message
    assert check_template(None, False, folder) == []
    (folder / "chat_template.jinja").write_text(MARKED)
    assert check_template(None, True, folder) == []


def test_a_model_without_a_template_is_not_served(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    (found,) = check_own_template(folder)
    assert (found.level, "--chat-template" in found.cure) == ("error", True)
    named = [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
    assert check_own_template(folder) == []
    assert own_template(folder) == "d"


def test_invalid_jinja_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "it's a template é.jinja"
    path.write_text("{{ messages }}\n{% for m in %}\n")
    (found,) = check_template(str(path), assistant_only_loss=False)
    assert (found.level, found.place) == ("error", f"{path}:2")
    assert found.message.startswith("not valid Jinja: ")


def test_a_file_that_is_no_text_is_an_error_and_the_shipped_ones_are_named(tmp_path: Path) -> None:
    binary, folder = tmp_path / "t.jinja", tmp_path / "folder.jinja"
    binary.write_bytes(b"\xff\xfe")
    folder.mkdir()
    for path in (binary, folder):
        (found,) = check_template(str(path), assistant_only_loss=False)
        assert (found.level, found.place) == ("error", "train.chat_template_path")
        assert found.message.startswith(f"{path}: cannot be read: ")
        assert found.cure.startswith("shipped: ") and "qwen3.jinja" in found.cure


def test_marks_are_asked_for_only_where_answers_alone_are_trained(tmp_path: Path) -> None:
    path = tmp_path / "t.jinja"
    path.write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    assert check_template(str(path), assistant_only_loss=False) == []
    (found,) = check_template(str(path), assistant_only_loss=True)
    assert (found.level, found.place) == ("error", "train.chat_template_path")
    assert "templates/chat/" in found.cure


def test_a_named_template_counts_and_not_the_models_own(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (tmp_path / "t.jinja").write_text(MARKED)
    assert check_template(str(tmp_path / "t.jinja"), True, folder) == []


def test_without_a_template_and_without_a_model_here_nothing_is_known(tmp_path: Path) -> None:
    assert check_template(None, assistant_only_loss=True) == []
    (found,) = check_template(None, True, tmp_path / "absent")
    assert "chat_template_path" in found.cure and "qwen3.jinja" in found.cure


def test_the_shipped_templates_pass_whatever_is_trained() -> None:
    for path in TEMPLATES.glob("*.jinja"):
        for answers_only in (True, False):
            assert check_template(str(path), answers_only) == [], path.name
