"""The template and the rows, by the real tokenizer in a process without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.chats.dataset import read_saved_dataset
from harness.chats.tokenizing import Request, RowTokens, answer
from harness.config.training.train import TrainSpec
from harness.preflight.findings import Finding
from harness.preflight.rows import tokens
from harness.preflight.rows.contents import check_rows
from harness.preflight.rows.tokens import Sample, ask, check_tokens
from tests.preflight.support import TEMPLATES, Row, model, saved_dataset, turn

pytest.importorskip("transformers", reason="needs the extra `train`")

END_OUTSIDE = """{%- for m in messages -%}
{{- '<|im_start|>' + m.role + '\n' -}}
{%- if m.role == 'assistant' -%}
{%- generation -%}{{- m.content -}}{%- endgeneration -%}{{- '<|im_end|>\n' -}}
{%- else -%}{{- m.content + '<|im_end|>\n' -}}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"""


APART = (
    "test_our_templates_pass",
    "test_a_broken_tokenizer_is_an_error_without_a_traceback",
    "test_without_transformers_it_is_said",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model(tmp_path_factory.mktemp("tokens") / "model")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """The same function in this process, but where a test asks for the process without torch."""
    (tmp_path / "2").mkdir()
    if request.node.originalname not in APART:
        monkeypatch.setattr(tokens, "ask", answer)


class Checked:
    def __init__(self, findings: list[Finding]) -> None:
        self.findings = findings

    def at(self, level: str) -> list[str]:
        return [f"{f.place}: {f.message}" for f in self.findings if f.level == level]


def checked(
    folder: Path, tmp_path: Path, template: str | Path, rows: list[Row] | None = None, **train: Any,
) -> Checked:  # fmt: skip
    path = tmp_path / "t.jinja"
    text = template.read_text(encoding="utf-8") if isinstance(template, Path) else template
    path.write_text(text, encoding="utf-8")
    saved_dataset(tmp_path / "d", messages=rows or [turn() for _ in range(8)])
    spec = TrainSpec(
        model_name=str(folder), dataset_name=str(tmp_path / "d"), chat_template_path=str(path),
        **train,
    )  # fmt: skip
    dataset = read_saved_dataset(tmp_path / "d", "train")
    return Checked(check_tokens(spec, str(folder), dataset, check_rows(spec, dataset))[1])


@pytest.mark.long
@pytest.mark.parametrize("name", ["qwen3", "qwen3_nonthinking", "chatml"])
def test_our_templates_pass(folder: Path, tmp_path: Path, name: str) -> None:
    done = checked(folder, tmp_path, TEMPLATES / f"{name}.jinja")
    assert done.at("error") == done.at("warning") == []
    ends, lengths = done.at("note")
    assert "<|im_end|> (2), <|endoftext|> (0)" in ends
    assert "8 of 8 rows sampled" in lengths


def test_an_end_token_outside_the_markers_is_an_error(folder: Path, tmp_path: Path) -> None:
    (found,) = checked(folder, tmp_path, END_OUTSIDE).at("error")
    assert "the stop token is never trained" in found
    assert "'<|im_end|>'" in found
    assert checked(folder, tmp_path / "2", END_OUTSIDE, assistant_only_loss=False).at("error") == []


def test_markers_that_mark_nothing_are_an_error(folder: Path, tmp_path: Path) -> None:
    template = END_OUTSIDE.replace("m.role == 'assistant'", "m.role == 'model'")
    assert checked(folder, tmp_path, template).at("error") == [
        "train.chat_template_path: marks no token of an assistant's turn"
    ]


def test_a_generation_prompt_of_another_form_is_a_warning(folder: Path, tmp_path: Path) -> None:
    text = (TEMPLATES / "chatml.jinja").read_text(encoding="utf-8")
    (found,) = checked(
        folder, tmp_path, text.replace("'<|im_start|>assistant\\n'", "'Answer:'")
    ).at("warning")
    assert "is not how the trained text begins" in found


def test_a_template_that_raises_is_an_error_with_its_words(folder: Path, tmp_path: Path) -> None:
    (found,) = checked(folder, tmp_path, "{{ raise_exception('no system here') }}").at("error")
    assert "no system here" in found


def test_an_eos_token_must_be_in_the_vocabulary_and_agree(folder: Path, tmp_path: Path) -> None:
    template = TEMPLATES / "chatml.jinja"
    (found,) = checked(folder, tmp_path, template, eos_token="</s>").at("error")
    assert found.startswith("train.eos_token: '</s>' is not in the vocabulary")
    done = checked(folder, tmp_path / "2", template, eos_token="<|endoftext|>")
    assert "the template ends a turn with <|im_end|>" in done.at("warning")[0]
    assert "<|im_end|> (2), <|endoftext|> (0)" in done.at("note")[0]


def test_unknown_roles_are_tried_on_the_template(folder: Path, tmp_path: Path) -> None:
    rows: list[Row] = [[{"role": "gpt", "content": "x"}, *(turn() or [])]]
    qwen = checked(folder, tmp_path, TEMPLATES / "qwen3.jinja", rows)
    assert "role 'gpt' are in the data, and the template leaves them out" in qwen.at("warning")[0]
    chatml = checked(folder, tmp_path / "2", TEMPLATES / "chatml.jinja", rows)
    assert chatml.at("warning") == []


def test_rows_without_a_trained_token_are_counted(folder: Path, tmp_path: Path) -> None:
    template = TEMPLATES / "chatml.jinja"
    long = turn("word " * 300)
    (found,) = checked(folder, tmp_path, template, [long] * 4, max_length=64).at("error")
    assert "no sampled row has a trained token within max_length 64" in found
    (found,) = checked(folder, tmp_path / "2", template, [long, *[turn()] * 9], max_length=100).at(
        "warning"
    )
    assert "10.0% of rows" in found


def test_keeping_the_end_keeps_the_answer(folder: Path, tmp_path: Path) -> None:
    rows = [turn("word " * 300)] * 4
    template = TEMPLATES / "chatml.jinja"
    done = checked(folder, tmp_path, template, rows, max_length=64, truncation_mode="keep_end")
    assert done.at("error") == []


def test_a_row_that_the_template_refuses_is_named(folder: Path, tmp_path: Path) -> None:
    refusing = (TEMPLATES / "chatml.jinja").read_text(encoding="utf-8")
    refusing += "{% if messages | length == 6 %}{{ raise_exception('too long') }}{% endif %}"
    rows = [turn(), turn(), [*(turn() or []), *(turn() or []), *(turn() or [])]]
    (found,) = checked(folder, tmp_path, refusing, rows).at("error")
    assert "1 of 3 sampled rows cannot be rendered (number 2): " in found
    assert "too long" in found


@pytest.mark.long
def test_rows_with_empty_contents_are_always_tried(folder: Path, tmp_path: Path) -> None:
    # One in 5000, which the sample of 2000 does not hold: seed 42.
    rows = [turn()] * 4999 + [turn(answer=None)]
    (found,) = checked(folder, tmp_path, TEMPLATES / "chatml.jinja", rows).at("error")
    assert "cannot be rendered (number 4999): " in found
    done = checked(folder, tmp_path / "2", TEMPLATES / "qwen3.jinja", rows)
    assert done.at("error") == []


@pytest.mark.long
def test_a_broken_tokenizer_is_an_error_without_a_traceback(folder: Path, tmp_path: Path) -> None:
    broken = model(tmp_path / "broken")
    (broken / "tokenizer.json").write_text("{")
    (found,) = checked(broken, tmp_path, TEMPLATES / "chatml.jinja").at("error")
    assert found.startswith("train.model_name: the tokenizer of")
    assert "\n" not in found


def test_without_transformers_it_is_said(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "find_spec", lambda name: None)
    (found,) = checked(folder, tmp_path, TEMPLATES / "chatml.jinja").at("warning")
    assert "transformers is not installed" in found


def test_prompt_and_completion_train_the_completion(folder: Path) -> None:
    template = (TEMPLATES / "chatml.jinja").read_text(encoding="utf-8")
    chat = turn()
    assert chat
    rows = ({"prompt": chat[:1], "completion": chat[1:]}, {"messages": chat})
    split, whole = answer(Request(model=str(folder), template=template, rows=rows)).rows
    assert split == whole
    plain = {"prompt": "2 + 3 =", "completion": " 5"}
    (found,) = answer(Request(model=str(folder), masked=False, rows=(plain,))).rows
    assert (found.trained, found.problem) == (found.length - 7, "") or found.trained < found.length


@pytest.mark.long
def test_torch_is_not_imported(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # A torch that cannot be imported stands in the way of any attempt.
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise SystemExit('torch was imported')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    template = (TEMPLATES / "qwen3.jinja").read_text(encoding="utf-8")
    done = ask(Request(model=str(folder), template=template, rows=({"messages": turn()},)))
    assert done.ends_trained and done.rows[0].trained > 0


def test_generation_config_of_the_model_is_what_checkpoints_start_from(
    folder: Path, tmp_path: Path
) -> None:
    other = model(tmp_path / "m")
    (other / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, 7]}))
    done = checked(other, tmp_path, TEMPLATES / "chatml.jinja")
    assert "<|im_end|> (2), <|endoftext|> (0), 7" in done.at("note")[0]


@pytest.mark.parametrize(
    ("share", "length"),
    [(0.0, 1), (0.01, 1), (0.5, 5), (0.51, 6), (0.9, 9), (0.95, 10), (0.99, 10), (1.0, 10)],
)
def test_a_percentile_is_the_nearest_rank(share: float, length: int) -> None:
    rows = {n: RowTokens(length=n) for n in range(10, 0, -1)}
    assert Sample(rows, 10).percentile(share) == length


def test_a_rank_is_not_lost_to_the_binary_form_of_a_share() -> None:
    rows = {n: RowTokens(length=n) for n in range(1, 101)}
    assert [Sample(rows, 100).percentile(n / 100) for n in range(1, 101)] == list(range(1, 101))
