"""Data before any job needs it: one line for what was done, one message for what cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.data import get as getting
from harness.errors import UserError
from tests.preflight.support import saved_dataset
from tests.verbs.test_common import command

CHAT = [{"role": "user", "content": "Hé?"}, {"role": "assistant", "content": "Ja"}]


@pytest.fixture
def here(here: Path) -> Path:
    (here / "site.yaml").write_text(yaml.safe_dump({"benchmarks_dir": "it's b"}))
    return here


def test_the_list_tells_what_is_prepared_and_writes_nothing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("prepare", "--list") == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "generated" in lines["arithmetic"]
    assert " 1319 items  -  " in lines["gsm8k"] and " MIT " in lines["gsm8k"]
    assert not (here / "it's b").exists()
    assert command("prepare", "arithmetic") == 0
    capsys.readouterr()
    assert command("prepare", "--list") == 0
    assert any("arithmetic" in line and "prepared" in line
               for line in capsys.readouterr().out.splitlines())  # fmt: skip


def test_without_names_the_list_is_shown_and_it_is_a_mistake(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("prepare") == 2
    out, err = capsys.readouterr()
    assert "gsm8k" in out
    assert err == "error: name the benchmarks to prepare\n"


def test_what_is_prepared_is_named_with_its_file_and_not_made_again(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = here / "it's b" / "arithmetic.jsonl"
    assert command("prepare", "arithmetic") == 0
    assert capsys.readouterr().out == f"arithmetic: {file}\n"
    made = file.stat().st_mtime_ns
    assert command("prepare", "arithmetic:4") == 0
    assert file.stat().st_mtime_ns == made
    assert command("prepare", "arithmetic", "--force") == 0
    assert file.stat().st_mtime_ns != made


def test_one_wrong_name_prepares_none(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("prepare", "arithmetic", "gsm9k") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "prepare: unknown benchmark 'gsm9k'; did you mean 'gsm8k'?" in err
    assert not (here / "it's b").exists()


def test_source_files_are_taken_from_a_folder_and_their_absence_is_told(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("prepare", "gsm8k", "--from", str(here)) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: gsm8k: ") and "does not exist" in err


def test_a_benchmark_of_ones_own_is_prepared_and_known_from_then_on(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.benchmarks.registry import BENCHMARKS

    file = here / "it's b" / "own-sums.jsonl"
    (here / "items.jsonl").write_text('{"question": "2 + 3?", "expected_answer": 5}\n')
    definition = {"name": "own-sums", "data": "items.jsonl", "grader": "math"}
    (here / "mine.yaml").write_text(yaml.safe_dump(definition))
    try:
        assert command("prepare", "mine.yaml") == 0
        assert capsys.readouterr().out == f"mine.yaml: {file}\n"
        assert command("prepare", "--list") == 0
        assert "own-sums" in capsys.readouterr().out
        (here / "mine.yaml").write_text("data: items.jsonl\ngrader: maths\n")
        assert command("prepare", "mine.yaml") == 2
        assert "mine.yaml:2: grader" in capsys.readouterr().err
    finally:
        BENCHMARKS.pop("own-sums", None)


FACTS = {"rows": {"train": 1234, "test": 5}, "columns": ["messages", "id"], "bytes": 2_500_000}


def test_a_download_is_one_line_and_every_choice_reaches_it(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def get(name: str, folder: Path, **how: Any) -> dict[str, Any]:
        how.pop("report")("owner/name at 0123")
        asked.append((name, folder, how))
        return FACTS

    monkeypatch.setattr(getting, "get", get)
    assert command("data", "get", "owner/name", "d é") == 0
    out, err = capsys.readouterr()
    assert out == "d é: train: 1,234 rows, test: 5 rows; columns messages, id; 2.5 MB\n"
    assert err == "owner/name at 0123\n"
    given = ("--subset", "s", "--split", "test", "--revision", "v1", "--force", "--skip-bad",
             "--as-is", "--json")  # fmt: skip
    assert command("data", "get", "owner/name", "d é", *given) == 0
    assert json.loads(capsys.readouterr().out) == FACTS
    usual = {"subset": None, "split": None, "revision": None, "force": False, "skip_bad": False,
             "as_is": False}  # fmt: skip
    named = {"subset": "s", "split": "test", "revision": "v1", "force": True, "skip_bad": True,
             "as_is": True}  # fmt: skip
    assert asked == [("owner/name", Path("d é"), how) for how in (usual, named)]


def test_a_dataset_that_cannot_be_had_is_one_message(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def get(*_: Any, **__: Any) -> None:
        raise UserError.at("owner/name", "no such dataset", "cure")

    monkeypatch.setattr(getting, "get", get)
    assert command("data", "get", "owner/name", "d") == 2
    assert capsys.readouterr() == ("", "error: owner/name: no such dataset\ncure\n")


def test_chats_are_converted_and_bad_rows_are_named_or_left_out_and_counted(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("datasets", reason="datasets is not installed")
    rows = [json.dumps({"messages": CHAT}), '{"x": 1}', json.dumps({"messages": CHAT})]
    (here / "chats é.jsonl").write_text("\n".join(rows), encoding="utf-8")
    assert command("data", "convert", "chats é.jsonl", "d") == 2
    err = capsys.readouterr().err
    assert "1 of 3 rows are bad" in err and "chats é.jsonl:2" in err
    assert not (here / "d").exists()
    assert command("data", "convert", "chats é.jsonl", "d", "--skip-bad") == 0
    out, err = capsys.readouterr()
    assert out == "d: 2 rows, 1 bad rows left out\n  kept: messages 2\n"
    assert err.startswith("left out: chats é.jsonl:2")
    assert command("data", "convert", "chats é.jsonl", "d", "--skip-bad", "--force", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["rows"], found["bad"], len(found["examples"])) == (2, 1, 1)


def test_a_dataset_that_cannot_be_trained_on_is_told_by_the_exit_code(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved_dataset(here / "good")
    saved_dataset(here / "bad", columns=("text",))
    assert command("data", "inspect", "good") == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{here / 'good'}: 10 rows; columns: messages\n")
    assert out.endswith("0 errors, 0 warnings\n")
    assert command("data", "inspect", "bad", "--json") == 2
    (found, _) = json.loads(capsys.readouterr().out)["findings"]
    assert (found["level"], found["place"]) == ("error", "train.dataset_name")
    assert command("data", "inspect", "good", "--max-length", "7") == 2
    assert "--max-length" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--list", "gsm8k"], "--list shows all of them"),
        (["--list", "--from", "x"], "--list shows all of them"),
        (["arithmetic", "--from", "x"], "--from: none of these is made from a publisher's files"),
        (["own.yaml", "--from", "x"], "--from: none of these is made from a publisher's files"),
        (["gsm8k:99999999999", "--from", "x"], "repeats are 1 to 1024"),
        (["lm-eval.../x"], "unknown benchmark"),
        (["x" * 5000], "unknown benchmark"),
    ],
    ids=range(7),
)
def test_options_of_prepare_that_do_not_go_together_are_one_line_more_or_less(
    here: Path, capsys: pytest.CaptureFixture[str], argv: list[str], words: str
) -> None:
    assert command("prepare", *argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and words in err
    assert len(err.splitlines()) <= 2


def test_a_wrong_source_is_the_users_mistake(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "gsm8k_test.jsonl").write_text('{"question": "Q"}\n')
    assert command("prepare", "gsm8k", "--from", ".") == 2
    assert capsys.readouterr().err == (
        "error: gsm8k_test.jsonl:1: no row of gsm8k: no field 'answer'\n"
    )


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--seed", "-1"], "'--seed': a whole number from 0 to"),
        (["--split", ""], "--split: dataset_split: it is empty"),
        (["--model", ""], "--model: model_name: it is empty"),
        (["--seed", str(2**40)], "'--seed': a whole number from 0 to"),
        (["--template", "x" * 5000], "--template: "),
        (["--rows", "many"], "'--rows': a whole number of at least 0 is expected (got 'many')"),
        (
            ["--max-length", "7"],
            "'--max-length': a whole number of at least 8 is expected (got '7')",
        ),
        (["--rows", "1_000"], "'--rows': a whole number"),
    ],
    ids=range(8),
)
def test_a_wrong_word_of_inspect_is_told_by_its_option(
    here: Path, capsys: pytest.CaptureFixture[str], argv: list[str], words: str
) -> None:
    saved_dataset(here / "d")
    assert command("data", "inspect", "d", *argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and words in err
