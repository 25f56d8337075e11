"""From files that people have to a model that was trained on them, by the commands of a user."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.chats.tokenizer import TokenizerSource, load_tokenizer
from harness.chats.tokenizing import answer
from harness.preflight.rows import tokens
from tests.support import ROOT
from tests.verbs.test_common import command

pytest.importorskip("datasets", reason="datasets is not installed")

from datasets import load_from_disk


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    site = {"runs_dir": "runs", "benchmarks_dir": "b", "scheduler": "local"}
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(site))
    return tmp_path


def hermes(number: int) -> dict[str, Any]:
    turns = [
        {"from": "human", "value": f"What is {number} + 1?", "weight": None},
        {"from": "gpt", "value": f"It is {number + 1}.", "weight": None},
    ]
    return {"system_prompt": "" if number % 2 else "Be brief.", "conversations": turns, "source": 7}


def exported(folder: Path) -> Path:
    """A folder as `hf download` leaves it: two kinds of rows, one of them twice."""
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Chats\n")
    (folder / ".gitattributes").write_text("*.jsonl text")
    rows = [*map(hermes, range(20)), hermes(3)]
    rows += [{"instruction": "Add.", "input": f"{i} 2", "output": str(i + 2)} for i in range(10)]
    for part in range(2):
        name = f"train-{part:05}-of-00002.jsonl"
        lines = (json.dumps(row) + "\n" for row in rows[part::2])
        (folder / "data" / name).write_text("".join(lines))
    return folder


def spec(data: str, template: str = "qwen3.jinja", **changes: Any) -> None:
    train = {
        "model_name": "model", "dataset_name": data, "use_cpu": True, "cpu_processes": 1,
        "bf16": False, "gradient_checkpointing": False, "max_length": 128, "max_steps": 2,
        "save_steps": 2, "warmup_steps": 1, "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 1, "logging_steps": 1,
        "chat_template_path": str(ROOT / "templates" / "chat" / template), **changes,
    }  # fmt: skip
    Path("sft.yaml").write_text(yaml.safe_dump({"name": "own", "train": train}))


def test_a_dry_run_tells_what_would_be_and_writes_nothing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported(here / "got")
    assert command("data", "convert", "got", "d", "--dry-run") == 0
    out = capsys.readouterr().out
    assert out.startswith("d: would hold 31 rows\n  from: got/data/train-00000-of-00002.jsonl 16, ")
    assert "\n  merged: input -> instruction 10, system_prompt -> first turn 10\n" in out
    assert "\n  dropped: source 21\n  files that are no rows: README.md\nfirst row: {" in out
    assert command("data", "convert", "got", "d", "--dry-run", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["rows"], found["dry_run"], found["dropped"]) == (31, True, {"source": 21})
    assert found["first"]["messages"][0] == {"role": "system", "content": "Be brief."}
    assert not (here / "d").exists()


def prepared(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`parted`, by the commands, and a spec that trains on it."""
    from tests.tiny_model import make_tiny_model

    make_tiny_model(here / "model")
    exported(here / "got")
    assert command("data", "convert", "got", "all") == 0
    capsys.readouterr()
    assert command("data", "dedup", "all", "once", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["exact"], found["kept"], len(found["removed"])) == (1, {"all": 30}, 1)
    assert command("data", "split", "once", "parted", "--test", "10%", "--dry-run") == 0
    told = "parted: would hold train 27, test 3 rows; 30 prompts, none in two splits\n"
    assert capsys.readouterr().out == told
    assert command("data", "split", "once", "parted", "--test", "10%") == 0
    assert {n: len(r) for n, r in load_from_disk("parted").items()} == {"train": 27, "test": 3}
    spec("parted")
    capsys.readouterr()


@pytest.mark.long
def test_a_downloaded_folder_becomes_splits_without_repeats_that_check_takes(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared(here, capsys)
    assert command("check", "sft.yaml") == 0
    assert "0 errors, 0 warnings" in capsys.readouterr().out


@pytest.mark.slow
def test_from_a_downloaded_folder_to_a_trained_model(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared(here, capsys)
    assert command("submit", "sft.yaml", "--wait") == 0
    state = json.loads((here / "runs/own/latest/train/state.json").read_text())
    assert (state["state"], state["step"]) == ("complete", 2)


TOOL = {"type": "function", "function": {"name": "add", "parameters": {
    "type": "object", "properties": {"a": {"type": "number"}}}}}  # fmt: skip
ASKED = {"role": "user", "content": "Add one."}
CALLED = {"role": "assistant", "content": None, "tool_calls": [
    {"type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}]}  # fmt: skip
WITH_TOOLS: list[dict[str, Any]] = [
    {"messages": [ASKED, {"role": "assistant", "content": "Two."}], "tools": [TOOL]},
    {"messages": [ASKED, CALLED, {"role": "tool", "content": "2"},
                  {"role": "assistant", "content": "Two.", "reasoning_content": "It is 2."}],
     "tools": [{**TOOL, "function": {"name": "where", "parameters": {"city": {}}}}]},
    {"conversations": [{"role": "user", "content": "2 + 2?"},
                       {"role": "assistant", "content": "4."}]},
    {"system": "Be brief.", "tools": json.dumps([TOOL]), "conversations": [
        {"from": "human", "value": "2 + 2?"}, {"from": "gpt", "value": "4."}]},
]  # fmt: skip
"""Shapes as people export them: tools, calls, thinking, roles in `conversations`, tools as text."""


def converted_with_tools(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.tiny_model import make_tiny_model

    make_tiny_model(here / "model")
    lines = [json.dumps(row) + "\n" for row in WITH_TOOLS * 3]
    (here / "exported.jsonl").write_text("".join(lines))
    assert command("data", "convert", "exported.jsonl", "chats") == 0
    told = capsys.readouterr().out
    assert "reasoning_content (of turns) 3" in told and "tool_calls (of turns) 3" in told
    spec("chats", max_length=1024)


def test_converted_tools_calls_and_thinking_pass_check(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "ask", answer)  # without a process of its own
    converted_with_tools(here, capsys)
    assert command("check", "sft.yaml") == 0
    out = capsys.readouterr()
    assert "0 errors, 0 warnings" in out.out + out.err


@pytest.mark.slow
def test_converted_tools_calls_and_thinking_are_trained(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    converted_with_tools(here, capsys)
    assert command("submit", "sft.yaml", "--wait", "--poll", "1") == 0
    (rows,) = (here / "runs/.tokenised").glob("*/rows")
    tokenizer = load_tokenizer(TokenizerSource(model="model"))
    texts = [tokenizer.decode(row["input_ids"]) for row in load_from_disk(str(rows))]
    trained = "".join(texts)
    for part in ('"name": "add"', '"a": 1', "<think>\nIt is 2.", "Be brief.", '"city": {}'):
        assert part in trained, part
    assert "null" not in trained and "None" not in trained


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["split", "d", "e"], "say how many rows to hold out: --test 0.05, or --test 500"),
        (["split", "d", "e", "--test", "1.5"], "--test: rows (500) or a share between 0 and 1"),
        (["split", "d", "e", "--test", "5"], "d: no such folder"),
        (["dedup", "d", "e"], "d: no such folder"),
        (["dedup", "d", "e", "--near", "7"], "'--near': a number from 0.3 to 1 is expected"),
        (["convert", "d", "e"], "d: no such file or folder"),
    ],
    ids=range(6),
)
def test_a_mistake_is_one_message_and_exit_code_2(
    here: Path, capsys: pytest.CaptureFixture[str], argv: list[str], words: str
) -> None:
    assert command("data", *argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and words in err and "Traceback" not in err


@pytest.mark.parametrize("verb", ["convert", "dedup", "split"])
def test_help_has_an_example_that_can_be_copied(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("data", verb, "--help") == 0
    assert f"python -m harness data {verb} " in capsys.readouterr().out


def test_two_columns_that_could_be_the_answer_are_chosen_by_name(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "a.jsonl").write_text('{"question": "Q", "solution": "so", "answer": "A"}\n')
    assert command("data", "convert", "a.jsonl", "d") == 2
    told = "a.jsonl:1: answer and solution: each could be the text to train; choose by --answer"
    assert told in capsys.readouterr().err
    assert command("data", "convert", "a.jsonl", "d", "--answer", "solution") == 0
    assert load_from_disk("d")[0]["messages"][1]["content"] == "so"
    assert "dropped: answer 1" in capsys.readouterr().out
    assert command("data", "convert", "a.jsonl", "e", "--ask", "querry") == 2
    assert "it has no field 'querry'" in capsys.readouterr().err
