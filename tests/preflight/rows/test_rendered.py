"""Data as people bring it: what `check` says of it is what the tokens show that are trained.

From a YAML by the command line to findings, and from the same arguments to the tokenised rows.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("trl", reason="needs the extra `train`")

from datasets import Dataset, Features, Json, List, Value

from harness.chats.tokenizing import answer
from harness.cli import main
from harness.compute.train.arguments import parse
from harness.compute.train.rows import tokenise
from harness.errors import UserError
from harness.preflight.rows import tokens
from tests.chats.test_tokenizer import of_its_own_class
from tests.preflight.support import TEMPLATES, model, write_weights

TOOL = {"type": "function", "function": {"name": "add", "parameters": {"properties": {"a": {}}}}}
CALL = {"function": {"name": "add", "arguments": '{"a": 1}'}}


def chat(answer: Any, question: Any = "How much is 2 + 3?", **fields: Any) -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": question},
        {"role": "assistant", "content": answer, **fields},
    ]


class Here:
    """A folder with a model, a dataset and a spec."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
        self.folder, self._patch, self._capsys = folder, monkeypatch, capsys
        self.train: dict[str, Any] = {
            "model_name": str(model(folder / "model")), "dataset_name": str(folder / "data"),
            "chat_template_path": str(TEMPLATES / "qwen3.jinja"), "max_length": 1024,
            "max_steps": 2, "assistant_only_loss": True, "use_cpu": True, "cpu_processes": 1, "bf16": False,
        }  # fmt: skip

    def data(self, rows: list[dict[str, Any]], features: Any = None) -> Dataset:
        dataset = Dataset.from_list(rows, features=features)
        dataset.save_to_disk(self.folder / "data")
        return dataset

    def check(self, **train: Any) -> dict[str, list[str]]:
        """Messages by level, by the command line."""
        spec = self.folder / "sft.yaml"
        spec.write_text(yaml.safe_dump({"train": {**self.train, **train}}))
        self._patch.setattr(sys, "argv", ["harness", "check", str(spec), "--json",
                                          "--set-site", "scheduler=local"])  # fmt: skip
        self._capsys.readouterr()
        with contextlib.suppress(SystemExit):
            main()
        found: dict[str, list[str]] = {"error": [], "warning": [], "note": []}
        for finding in json.loads(self._capsys.readouterr().out):
            found[finding["level"]].append(finding["message"])
        return found

    def trained(self, **train: Any) -> list[str]:
        """The trained text of each row, by the process that tokenises."""
        given = {**self.train, **train}
        names = ("model_name", "dataset_name", "chat_template_path", "max_length", "use_cpu", "bf16",
                 "assistant_only_loss", "trust_remote_code", "packing")  # fmt: skip
        argv = [w for n in names if n in given for w in (f"--{n}", str(given[n]))]
        out = str(self.folder / "out")
        script, config = parse([*argv, "--output_dir", out, "--report_to", "none"])
        tokenizer = tokenise.load_tokenizer(script, config)
        tokenise.make(script, config)
        from datasets import load_from_disk

        rows = load_from_disk(str(tokenise.place(script, config, tokenizer).rows))
        assert set(rows.column_names) == {"input_ids", "labels"}
        self.texts = [tokenizer.decode(row["input_ids"]) for row in rows]
        return [tokenizer.decode([i for i in row["labels"] if i >= 0]) for row in rows]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Here:
    monkeypatch.setattr(tokens, "ask", answer)  # without a process of its own
    return Here(tmp_path, monkeypatch, capsys)


FIVE = "<think>\n\n</think>\n\nfive<|im_end|>"
CHATML = str(TEMPLATES / "chatml.jinja")


def test_the_text_of_parts_is_trained(here: Here) -> None:
    parts = [[{"type": "text", "text": text}] for text in ("five", "How much?")]
    here.data([{"messages": chat(*parts)}] * 4)
    found = here.check()
    assert found["error"] == found["warning"] == []
    assert here.trained() == [FIVE] * 4
    assert "How much?" in here.texts[0]


def test_parts_that_are_no_text_are_an_error(here: Here) -> None:
    part = {"type": "image_url", "text": None, "image_url": "cat.png"}
    text = {"type": "text", "text": "look", "image_url": None}
    here.data([{"messages": chat([text], [text])}] * 3 + [{"messages": chat([text], [text, part])}])
    (found,) = here.check()["error"]
    assert "number 3" in found and "'image_url', which is no text" in found
    with pytest.raises(UserError, match=r"row 3: .*'image_url'"):
        here.trained()


@pytest.mark.parametrize(
    "beside",
    [
        {"input_ids": [1, 2, 3], "labels": [1, 2, 3]},
        {"conversations": [{"from": "human", "value": "old"}]},
        {"prompt": "old", "prompt_id": "7"},
        {"prompt": "old", "completion": "older"},
    ],
    ids=lambda beside: "+".join(beside),
)
def test_messages_are_trained_whatever_stands_beside_them(here: Here, beside: Any) -> None:
    here.data([{**beside, "messages": chat("five")}] * 4)
    found = here.check()
    assert found["error"] == []
    (said,) = [n for n in found["note"] if "left out" in n]
    assert said.endswith("left out: " + ", ".join(beside))
    assert here.trained() == [FIVE] * 4


def test_fields_that_are_never_rendered_are_counted(here: Here) -> None:
    thinking = {"messages": chat("five", reasoning_content="2 and 3")}
    rows: list[dict[str, Any]] = [thinking] * 3 + [{"messages": chat("five")}]
    here.data([{**row, "functions": "[]" if i else ""} for i, row in enumerate(rows)])
    functions, thought = here.check(chat_template_path=CHATML)["warning"]
    assert "'reasoning_content' is never rendered: 3 rows (number 0, 1, 2)" in thought
    assert "column functions is not trained: 3 rows (number 1, 2, 3)" in functions
    assert len(here.check()["warning"]) == 1  # qwen3.jinja trains the thinking
    assert here.trained()[0].startswith("<think>\n2 and 3\n</think>")


def test_a_turn_of_weight_0_is_in_the_text_and_not_trained(here: Here) -> None:
    turns = [*chat("wrong", weight=0), *chat("five", weight=1)]
    here.data([{"messages": turns}] * 3)
    found = here.check(chat_template_path=CHATML)
    assert found["error"] == found["warning"] == []
    assert here.trained(chat_template_path=CHATML) == ["five<|im_end|>"] * 3
    assert "wrong" in here.texts[0]
    (error, *_) = here.check(chat_template_path=CHATML, assistant_only_loss=False)["error"]
    assert "weight: 0 is honoured only with assistant_only_loss" in error


def test_nulls_that_arrow_added_to_tools_are_not_trained(here: Here) -> None:
    other = {"type": "function", "function": {"name": "where", "parameters": {
        "properties": {"city": {"type": "string"}}}}}  # fmt: skip
    one = {"type": "function", "function": {"name": "add", "parameters": {
        "properties": {"a": {"type": "number"}}}}}  # fmt: skip
    here.data([{"messages": chat("five"), "tools": [tool]} for tool in (one, other)])
    assert here.check()["error"] == []
    here.trained()
    assert "null" not in "".join(here.texts)
    assert '"properties": {"a": {"type": "number"}}' in here.texts[0]


def test_json_features_are_read(here: Here) -> None:
    tool = {**TOOL, "default": None}
    turns = Features({"role": Value("string"), "content": Value("string")})
    kind = Features({"messages": List(turns), "tools": List(Json())})
    here.data([{"messages": chat("five"), "tools": [tool]}] * 3, kind)
    assert here.check()["error"] == []
    assert here.trained() == [FIVE] * 3
    assert '"default": null' in here.texts[0]  # somebody wrote it


def test_messages_that_are_json_are_read(here: Here) -> None:
    rows = [{"messages": chat("five")}] * 3 + [{"messages": chat(" ")}]
    here.data(rows, Features({"messages": List(Json())}))
    found = here.check()
    assert found["error"] == []
    assert "1 row (number 3) with an empty answer" in found["warning"][0]
    assert here.trained()[:3] == [FIVE] * 3


def test_null_template_arguments_are_none(here: Here) -> None:
    given = {"enable_thinking": True}
    rows = [{"messages": chat("five"), "chat_template_kwargs": given if i else None}
            for i in range(4)]  # fmt: skip
    here.data(rows)
    assert here.check()["error"] == []
    assert here.trained() == [FIVE] * 4


@pytest.mark.parametrize("format", ["numpy", "columns"])
def test_the_format_that_a_set_was_saved_with_is_no_matter(here: Here, format: str) -> None:
    dataset = Dataset.from_list([{"messages": chat("five"), "id": i} for i in range(4)])
    kept = (
        dataset.with_format("numpy") if format == "numpy" else dataset.with_format(columns=["id"])
    )
    kept.save_to_disk(here.folder / "data")
    assert here.check()["error"] == []
    assert here.trained() == [FIVE] * 4


@pytest.mark.long
def test_one_rare_row_is_named_before_the_queue(here: Here) -> None:
    rows = [{"messages": chat(f"It is {i}.", tool_calls=None)} for i in range(6000)]
    rows[4321] = {"messages": chat(None, tool_calls=[CALL])}
    turn = {"role": Value("string"), "content": Value("string"), "tool_calls": List(
        {"function": {"name": Value("string"), "arguments": Value("string")}})}  # fmt: skip
    here.data(rows, Features({"messages": List(turn)}))
    found = here.check(chat_template_path=CHATML)
    assert len(found["error"]) == 1
    assert "(number 4321)" in found["error"][0]
    assert here.check()["error"] == []  # qwen3.jinja renders it


def test_a_template_without_a_system_role_takes_data_without_system_turns(here: Here) -> None:
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('who?') }}{% endif %}"
    path = here.folder / "plain.jinja"
    path.write_text(refusing + Path(CHATML).read_text())
    here.data([{"messages": chat("five")}] * 3)
    assert here.check(chat_template_path=str(path))["error"] == []
    system = [{"role": "system", "content": "Be brief."}]
    here.folder = here.folder / "with"
    here.folder.mkdir()
    here.data([{"messages": system + chat("five")}, {"messages": chat("five")}])
    here.train["dataset_name"] = str(here.folder / "data")
    error = here.check(chat_template_path=str(path))["error"][0]
    assert "1 row (number 0) have a system turn, and the template refuses it: who?" in error


def test_text_that_a_template_adds_is_said(here: Here) -> None:
    path = here.folder / "own.jinja"
    own = (
        "{% if messages[0].role != 'system' %}<|im_start|>system\nI am Ada.<|im_end|>\n{% endif %}"
    )
    path.write_text(own + Path(CHATML).read_text())
    here.data([{"messages": chat("five")}] * 3)
    (warning,) = here.check(chat_template_path=str(path))["warning"]
    assert "each of the 3 rows without a system turn: 'I am Ada.'" in warning
    assert here.check(chat_template_path=CHATML)["warning"] == []


def test_tokens_beyond_the_embedding_are_an_error(here: Here) -> None:
    folder = Path(here.train["model_name"])
    write_weights(folder / "model.safetensors", {"model.embed_tokens.weight": (300, 8)})
    here.data([{"messages": chat("five <tool_call>")}] * 3)
    (error,) = [e for e in here.check()["error"] if "embedding" in e]
    assert "'<tool_call>'" in error and "has 300 rows" in error


def test_a_tokenizer_of_its_own_class_is_loaded_alike(here: Here) -> None:
    of_its_own_class(Path(here.train["model_name"]))
    here.data([{"messages": chat("five")}] * 3)
    assert here.check(trust_remote_code=True)["error"] == []
    assert here.trained(trust_remote_code=True) == [FIVE] * 3
