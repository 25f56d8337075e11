"""Files in every shape that people have, and every way in which their rows are bad."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("datasets", reason="datasets is not installed")

from datasets import Dataset, load_from_disk

from harness.data.convert import Outcome, convert
from harness.errors import UserError

CHAT = [{"role": "user", "content": "Hé?"}, {"role": "assistant", "content": "Ja 🙂"}]


def run(source: Path, target: Path, **options: Any) -> Outcome:
    given = {"skip_bad": False, "force": False} | options
    return convert([source], target, report=lambda text: None, **given)


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), "utf-8")
    return path


@pytest.mark.parametrize(
    "row",
    [
        {"messages": CHAT, "id": 7},
        {"conversations": [{"from": "human", "value": "Hé?"}, {"from": "gpt", "value": "Ja 🙂"}]},
        {"prompt": "Hé?", "completion": "Ja 🙂"},
        {"prompt": CHAT[:1], "completion": CHAT[1:]},
        {"instruction": "Hé?", "input": "", "output": "Ja 🙂"},
    ],
    ids=["messages", "sharegpt", "texts", "turns", "alpaca"],
)
def test_each_shape_becomes_the_same_chat(row: dict[str, Any], tmp_path: Path) -> None:
    outcome = run(write(tmp_path / "rows.jsonl", row), tmp_path / "out")
    assert (outcome.rows, outcome.bad) == (1, 0)
    assert load_from_disk(str(tmp_path / "out"))[0]["messages"] == CHAT


def test_every_kind_of_file(tmp_path: Path) -> None:
    rows = [{"prompt": f"q{i}", "completion": f"a{i}\n,\"'"} for i in range(3)]
    Dataset.from_list(rows).to_parquet(tmp_path / "rows.parquet")
    Dataset.from_list(rows).to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    write(tmp_path / "lines.json", *rows)
    with gzip.open(tmp_path / "rows.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    crlf = "\ufeff" + "\r\n".join([json.dumps(rows[0]), "", *map(json.dumps, rows[1:])])
    (tmp_path / "windows.jsonl").write_bytes(crlf.encode())
    found = []
    for path in sorted(tmp_path.glob("*.*")):
        assert run(path, tmp_path / f"out-{path.name}").rows == 3, path
        found.append(load_from_disk(str(tmp_path / f"out-{path.name}")).to_list())
    assert len(found) == 6
    assert all(chats == found[0] for chats in found)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"messages": []}, "messages is empty; a list of turns"),
        ({"messages": "hi"}, "messages is str"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "unknown role 'wizard'; known: system"),
        ({"messages": CHAT[:1]}, "no assistant turn"),
        ({"messages": [CHAT[0], {"role": "assistant", "content": None}]}, "content of a assistant turn is missing"),
        ({"messages": [CHAT[0], {"role": "assistant", "content": " "}]}, r"turn 1 \(assistant\) is empty"),
        ({"conversations": [{"from": "narrator", "value": "x"}]}, "unknown from 'narrator'"),
        ({"prompt": 3, "completion": "x"}, "prompt is int; text is expected"),
        ({"text": "plain"}, "its fields are text; expected are `messages`"),
        ({}, "its fields are none"),
        ([1], "it is list; an object is expected"),
        ({"instruction": "a", "input": 5, "output": "b"}, "input is int; text is expected"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named_with_its_line_and_nothing_is_written(
    row: Any, words: str, tmp_path: Path
) -> None:
    source = write(tmp_path / "rows.jsonl", {"messages": CHAT}, row)
    with pytest.raises(UserError, match=rf"(?s)1 of 2 rows are bad.*rows\.jsonl:2: .*{words}"):
        run(source, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rows.jsonl"]
    kept = run(source, tmp_path / "out", skip_bad=True)
    assert (kept.rows, kept.bad) == (1, 1)
    assert len(load_from_disk(str(tmp_path / "out"))) == 1


def test_a_torn_line_is_a_bad_row(tmp_path: Path) -> None:
    source = write(tmp_path / "rows.jsonl", {"messages": CHAT})
    source.write_text(source.read_text() + '{"messages": [')
    with pytest.raises(UserError, match=r"rows\.jsonl:2: not JSON"):
        run(source, tmp_path / "out")


def test_only_the_first_bad_rows_are_shown_and_all_are_counted(tmp_path: Path) -> None:
    source = write(tmp_path / "rows.jsonl", {"messages": CHAT}, *[{"x": 1}] * 25)
    with pytest.raises(UserError, match=r"(?s)25 of 26 rows.*:11: .*and 15 more"):
        run(source, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.jsonl", None, "no such file"),
        ("empty.jsonl", b"", "no row in it"),
        ("rows.xml", b"<x/>", "unknown kind of file; known: .jsonl"),
        ("bytes.jsonl", b"\xff\xfe\x00", r"bytes\.jsonl: cannot be read: it is not UTF-8"),
        ("not.parquet", b"PAR0", "cannot be read"),
        ("torn.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 500, mtime=0)[:40], "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_taken(
    name: str, content: bytes | None, words: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words):
        run(tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_replaced_only_when_asked(tmp_path: Path) -> None:
    source = write(tmp_path / "rows.jsonl", {"messages": CHAT})
    run(source, tmp_path / "out")
    with pytest.raises(UserError, match="exists already"):
        run(source, tmp_path / "out")
    assert run(source, tmp_path / "out", force=True).rows == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"prompt": "\xff", "completion": "x"}', "not UTF-8: invalid start byte"),
        (b'{"prompt": "\\ud800", "completion": "x"}', "half of a surrogate pair"),
        (b'{"\\ud800": 1}', r"its fields are \\ud800;"),
        (b"[" * 100_000, "nested too deeply"),
    ],
    ids=["byte", "surrogate", "surrogate-field", "deep"],
)
def test_a_line_that_no_text_holds_is_a_bad_row_and_can_be_skipped(
    line: bytes, words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "rows.jsonl", {"messages": CHAT})
    source.write_bytes(source.read_bytes() + line + b"\n")
    with pytest.raises(UserError, match=rf"rows\.jsonl:2: .*{words}") as caught:
        run(source, tmp_path / "out")
    str(caught.value).encode()
    assert run(source, tmp_path / "out", skip_bad=True).bad == 1
    assert capfd.readouterr().err == ""  # no bar


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_is_no_dataset_is_never_replaced(tmp_path: Path, kind: str) -> None:
    source, target = write(tmp_path / "rows.jsonl", {"messages": CHAT}), tmp_path / "precious"
    real = tmp_path / "real" if kind == "link" else target
    if kind == "file":
        target.write_text("thesis")
    else:
        real.mkdir()
        (real / "thesis.txt").write_text("x")
    if kind == "link":
        target.symlink_to(real)
    with pytest.raises(UserError, match=r"precious: (holds no saved dataset|is no folder)"):
        run(source, target, force=True)
    assert target.read_text() == "thesis" if kind == "file" else (real / "thesis.txt").is_file()


CALL = {"type": "function", "function": {"name": "add", "arguments": {"a": 1, "b": None}}}
OTHER = {"type": "function", "function": {"name": "find", "arguments": '{"city": "Ulm"}'}}


def test_tools_calls_and_thinking_come_back_as_they_were(tmp_path: Path) -> None:
    def row(call: dict[str, Any], tool: dict[str, Any]) -> dict[str, Any]:
        answer = {"role": "assistant", "content": "3", "reasoning_content": "one and two"}
        turns = [CHAT[0], {"role": "assistant", "content": None, "tool_calls": [call]},
                 {"role": "tool", "content": "3"}, answer]  # fmt: skip
        return {"messages": turns, "tools": [tool]}

    tools = [{"name": "add", "parameters": {"a": None}}, {"name": "find", "strict": True}]
    rows = [row(CALL, tools[0]), row(OTHER, tools[1]), {"messages": CHAT}]
    outcome = run(write(tmp_path / "rows.jsonl", *rows), tmp_path / "out")
    assert outcome.tally.kept == {"messages": 3, "tools": 2, "tool_calls (of turns)": 2,
                                  "reasoning_content (of turns)": 2}  # fmt: skip
    made = load_from_disk(str(tmp_path / "out")).to_list()
    assert [row["tools"] for row in made] == [tools[:1], tools[1:], None]
    calls = [row["messages"][1]["tool_calls"] for row in made]
    assert calls == [[CALL], [OTHER], None]
    kept = {name: value for name, value in made[0]["messages"][3].items() if value is not None}
    assert kept == rows[0]["messages"][3]
    # and once more, from the saved set and from parquet
    again = run(tmp_path / "out", tmp_path / "again")
    assert again.rows == 3
    assert load_from_disk(str(tmp_path / "again")).to_list() == made
    load_from_disk(str(tmp_path / "out")).to_parquet(tmp_path / "rows.parquet")
    run(tmp_path / "rows.parquet", tmp_path / "third")
    assert load_from_disk(str(tmp_path / "third")).to_list() == made


def test_splits_and_shapes_that_alternate_end_in_one_set_of_columns(tmp_path: Path) -> None:
    shapes = [{"messages": CHAT}, {"query": "Hé?", "response": "Ja 🙂", "tools": '[{"name": "a"}]'}]
    (tmp_path / "got").mkdir()
    write(tmp_path / "got" / "train.jsonl", *shapes * 2)
    (tmp_path / "got" / "test.json").write_text(json.dumps({"data": shapes[:1]}))
    outcome = run(tmp_path / "got", tmp_path / "out")
    assert outcome.splits == {"train": 4, "test": 1}
    made = load_from_disk(str(tmp_path / "out"))
    assert made["train"].features == made["test"].features
    assert [row["messages"] for row in made["train"].to_list()] == [CHAT] * 4


def test_a_set_saved_with_another_format_is_read_as_it_is(tmp_path: Path) -> None:
    Dataset.from_list([{"prompt": "q", "completion": "a", "n": 1}]).with_format(
        "numpy", columns=["n"]
    ).save_to_disk(tmp_path / "d")
    assert run(tmp_path / "d", tmp_path / "out").rows == 1


def test_a_run_that_breaks_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.data.writing._narrow", broken)
    source = write(tmp_path / "rows.jsonl", {"messages": CHAT})
    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["rows.jsonl"]


def test_fields_without_end_are_counted_in_bounds(tmp_path: Path) -> None:
    rows = [{"prompt": "q", "completion": "a", f"field{i}": 1} for i in range(600)]
    outcome = run(write(tmp_path / "rows.jsonl", *rows), tmp_path / "out")
    assert len(outcome.tally.dropped) == 501
    assert outcome.tally.dropped["others"] == 100
    (line,) = [line for line in outcome.tally.lines() if line.startswith("dropped: others 100, ")]
    assert line.endswith(", and 471 more")
