"""What a dataset holds, and what of it a template trains: counted, shown, and never guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.chats.tokenizing import answer
from harness.errors import CommandError, UserError
from harness.preflight.findings import Finding
from harness.preflight.rows import inspect
from harness.preflight.rows.inspect import Inspection, inspect_dataset
from harness.preflight.rows.tokens import Unavailable
from tests.preflight.support import MARKED, Row, model, saved_dataset, turn


def look(
    folder: Path, template: Path | None = None, name: str | None = None, **more: Any
) -> Inspection:
    given: dict[str, Any] = {"max_length": 512, "show": 2, "split": "train", "seed": 1} | more
    return inspect_dataset(folder, template, name, **given)


def messages(seen: Inspection, level: str) -> list[str]:
    return [f.message for f in seen.findings if f.level == level]


def chat(turns: int) -> Row:
    return [{"role": ("user", "assistant")[i % 2], "content": "x"} for i in range(turns)]


def test_without_a_tokenizer_rows_are_counted_and_lengths_are_unknown(tmp_path: Path) -> None:
    rows = [turn(), turn(), chat(4)]
    folder = saved_dataset(tmp_path / "it's data é", messages=rows)
    seen = look(folder)
    assert (seen.folder, seen.rows, seen.columns) == (str(folder), 3, ("messages",))
    assert seen.roles == {"messages": {"user": 4, "assistant": 4}}
    assert seen.turns == {"messages": {2: 2, 4: 1}}
    assert (seen.sampled, seen.percentiles, seen.shown) == (0, {}, ())
    assert (seen.share_cut, seen.share_masked, seen.share_trained) == (None, None, None)
    assert seen.findings == (
        Finding(level="note", place="--model",
                message="lengths and masks need a tokenizer: give --model FOLDER"),
    )  # fmt: skip


def test_rows_longer_than_the_twelfth_length_are_counted_together(tmp_path: Path) -> None:
    rows = [chat(n) for n in range(2, 32, 2)]
    folder = saved_dataset(tmp_path / "d", messages=[*rows, chat(2)])
    turns = look(folder).turns["messages"]
    assert list(turns) == list(range(2, 26, 2))
    assert (turns[2], turns[22], turns[24]) == (2, 1, 4)
    assert sum(turns.values()) == 16


def test_a_dataset_that_is_not_there_is_one_message_with_its_cure(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"absent: no such folder\nOf the Hub: python -m harness data get"
    ):
        look(tmp_path / "absent")


def test_a_relative_folder_is_taken_from_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved_dataset(tmp_path / "d")
    monkeypatch.chdir(tmp_path)
    assert look(Path("d")).folder == str(tmp_path / "d")


def test_bad_rows_and_columns_are_told_without_a_tokenizer_too(tmp_path: Path) -> None:
    bad = saved_dataset(tmp_path / "bad", messages=[turn(), []])
    (found,) = messages(look(bad), "error")
    assert "1 row (number 1) with an empty list of messages" in found
    other = look(saved_dataset(tmp_path / "other", columns=("text",)))
    assert (other.rows, other.roles, other.turns) == (10, {}, {})
    assert "columns are text" in messages(other, "error")[0]


def test_a_template_is_checked_without_a_tokenizer_too(tmp_path: Path) -> None:
    folder = saved_dataset(tmp_path / "d")
    (tmp_path / "t.jinja").write_text("{{ messages }}")
    assert "no {% generation %} markers" in messages(look(folder, tmp_path / "t.jinja"), "error")[0]
    shipped = Path("templates/chat/qwen3.jinja")
    assert messages(look(folder, shipped), "error") == []
    assert "cannot be read" in messages(look(folder, Path("absent.jinja")), "error")[0]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("transformers", reason="needs the extra `train`")
    return model(tmp_path_factory.mktemp("inspect") / "model")


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A good template; the tokenizer is asked in this process, which is faster."""
    monkeypatch.setattr(inspect, "ask", answer)
    path = tmp_path / "t.jinja"
    path.write_text(MARKED)
    return path


def test_what_is_trained_of_a_row_is_shown_and_its_share_told(
    tmp_path: Path, tiny: Path, template: Path
) -> None:
    folder = saved_dataset(tmp_path / "d", messages=[turn() for _ in range(5)])
    seen = look(folder, template, str(tiny))
    assert (seen.sampled, len(seen.shown)) == (5, 2)
    assert {row.number for row in seen.shown} <= set(range(5))
    trained = ["".join(text for text, on in row.spans if on) for row in seen.shown]
    assert trained == ["It is 5.<|im_end|>"] * 2
    assert "What is 2 + 3?" in "".join(text for text, on in seen.shown[0].spans if not on)
    assert list(seen.percentiles) == ["p50", "p90", "p95", "p99", "max"]
    assert len(set(seen.percentiles.values())) == 1
    assert (seen.share_cut, seen.share_masked) == (0.0, 0.0)
    assert seen.share_trained is not None and 0 < seen.share_trained < 0.5
    assert messages(seen, "error") == []


def test_rows_cut_before_their_answer_are_told_as_such(
    tmp_path: Path, tiny: Path, template: Path
) -> None:
    long = turn("What is 2 + 3? " * 200)
    folder = saved_dataset(tmp_path / "d", messages=[turn(), long])
    seen = look(folder, template, str(tiny))
    assert (seen.share_cut, seen.share_masked) == (0.5, 0.5)
    assert seen.percentiles["max"] > 512
    lengthened = look(folder, template, str(tiny), max_length=100_000)
    assert (lengthened.share_cut, lengthened.share_masked) == (0.0, 0.0)


def test_a_wrong_template_is_told_and_no_row_is_shown(
    tmp_path: Path, tiny: Path, template: Path
) -> None:
    template.write_text("{% if %}")
    seen = look(saved_dataset(tmp_path / "d"), template, str(tiny))
    assert "not valid Jinja" in messages(seen, "error")[0]
    assert (seen.rows, seen.sampled, seen.shown) == (10, 0, ())


def test_asked_to_show_none_it_shows_none(tmp_path: Path, tiny: Path, template: Path) -> None:
    seen = look(saved_dataset(tmp_path / "d"), template, str(tiny), show=0)
    assert (seen.sampled, seen.shown) == (10, ())


def test_a_tokenizer_that_cannot_be_asked_is_the_users_matter(
    tmp_path: Path, tiny: Path, template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved_dataset(tmp_path / "d")

    def fails(error: Exception) -> str:
        def ask(request: object) -> None:
            raise error

        monkeypatch.setattr(inspect, "ask", ask)
        with pytest.raises(UserError) as caught:
            look(folder, template, str(tiny))
        return str(caught.value)

    assert fails(Unavailable("transformers is not installed in this Python")) == (
        "--model: transformers is not installed in this Python: "
        "pip install 'posttrain-harness[train]', or transformers alone"
    )
    shown = fails(CommandError(["python"], 1, "", "Traceback …\nValueError: no such token\n"))
    assert shown == f"--model: the tokenizer of {tiny} fails: ValueError: no such token"
    assert fails(CommandError(["python"], None, "", "")).endswith("fails: no answer in time")


def test_plain_prompts_and_completions_are_taken_as_check_takes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect, "ask", answer)
    folder = saved_dataset(tmp_path / "d", columns=("prompt", "completion"))
    seen = look(folder, name=str(model(tmp_path / "m")))
    assert messages(seen, "error") == []
    assert seen.sampled == 10
    assert [trained for _, trained in seen.shown[0].spans] == [False, True]
