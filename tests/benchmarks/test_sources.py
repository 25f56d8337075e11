"""A benchmark's source: rows become items, and what is no such source is told with its file and line."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from harness.benchmarks.prepare import prepare, prepared_file
from harness.benchmarks.registry import BENCHMARKS
from harness.benchmarks.sources import convert
from harness.errors import HarnessError, SourceError, UserError


def rows(*values: dict[str, Any]) -> bytes:
    return "".join(json.dumps(value) + "\n" for value in values).encode()


def refused(folder: Path, name: str, content: bytes, file: str = "") -> str:
    """What `prepare --from` says of a source file with this content; it is the user's to mend."""
    source = folder / "it's ü"
    source.mkdir(exist_ok=True)
    (source / (file or BENCHMARKS[name].file.replace("*", "x"))).write_bytes(content)
    with pytest.raises(HarnessError) as caught:
        prepare(name, folder / "out", source)
    assert caught.value.exit_code == 2
    assert not prepared_file(folder / "out", name).exists()
    told = str(caught.value)
    assert "\n" not in told
    return told.replace(f"{source}/", "")


GSM8K = {"question": "Q", "answer": "#### 5"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "gsm8k_test.jsonl: holds 0 items (0 different) of gsm8k, where 1319 are expected"),
        (rows(GSM8K), "holds 1 items (1 different) of gsm8k, where 1319 are expected: it is cut"),
        (rows(GSM8K) + b"{torn\n", "gsm8k_test.jsonl:2: not JSON: "),
        (b"\n\n<html>\n", "gsm8k_test.jsonl:3: not JSON: "),
        (b'{"question": "caf\xe9"}\n', "gsm8k_test.jsonl:1: not UTF-8 text (byte 18"),
        ("\ufeffx".encode("utf-16"), "gsm8k_test.jsonl:1: not UTF-8 text (byte 1"),
        (b"[1]\n", "gsm8k_test.jsonl:1: an object is expected"),
        (b"null\n", "gsm8k_test.jsonl:1: an object is expected"),
        (b"[" * 100_000, "gsm8k_test.jsonl:1: not JSON that can be read: nested too deeply"),
        (rows({"question": "Q"}), "gsm8k_test.jsonl:1: no row of gsm8k: no field 'answer'"),
        (rows({"answer": "#### 5"}), ":1: no row of gsm8k: no field 'question'"),
        (rows({**GSM8K, "question": 5}), ":1: no row of gsm8k: question is int; text is expected"),
        (rows({**GSM8K, "question": "\ud800"}), "question has half of a surrogate pair"),
        (rows({**GSM8K, "answer": 5}), ":1: no row of gsm8k: "),
        (rows({**GSM8K, "answer": "many"}), ":1: no row of gsm8k: could not convert string"),
        (rows({**GSM8K, "answer": "#### 1e999"}), ":1: no row of gsm8k: a number without end"),
        (rows({**GSM8K, "answer": "#### nan"}), ":1: no row of gsm8k: "),
        (
            b'{"question": "Q", "answer": "#### 5", "x": NaN}\n',
            "not JSON: NaN is no number of JSON",
        ),
    ],
)
def test_what_is_not_gsm8k_is_told_by_line(tmp_path: Path, content: bytes, words: str) -> None:
    assert words in refused(tmp_path, "gsm8k", content)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "P"}, "no field 'key'"),
        ({"key": 1, "prompt": "P"}, "no field 'instruction_id_list'"),
        ({"key": 1, "prompt": None, "instruction_id_list": ["a"], "kwargs": [{}]}, "question is"),
        ({"key": 1, "prompt": "P", "instruction_id_list": ["a"], "kwargs": 5}, "same length"),
    ],
)
def test_what_is_not_ifeval_is_told_by_line(
    tmp_path: Path, row: dict[str, Any], words: str
) -> None:
    told = refused(tmp_path, "ifeval", rows(row))
    assert told.startswith("ifeval_input_data.jsonl:1: no row of ifeval: ")
    assert words in told


def test_a_compressed_source_that_is_cut_damaged_or_none_is_told(tmp_path: Path) -> None:
    file, whole = "HumanEvalPlus.jsonl.gz", gzip.compress(b"{}\n" * 1000)
    assert refused(tmp_path, "human-eval", b"{}\n") == (
        f"{file}: is not compressed by gzip, as {file} is"
    )
    assert refused(tmp_path, "human-eval", b"").startswith(f"{file}: is not compressed by gzip")
    for broken in (whole[:-4], whole[:15], whole[:20] + b"\0\xff" * 4 + whole[28:]):
        assert refused(tmp_path, "human-eval", broken).startswith(f"{file}: is cut or damaged: ")
    assert "the source's MD5 is" in refused(tmp_path, "human-eval", whole)


def test_a_file_of_mmlu_that_is_no_archive_or_holds_no_files_is_told(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("data/test/anatomy_test.csv"), io.BytesIO())
    folder = io.BytesIO()
    with tarfile.open(fileobj=folder, mode="w") as tar:
        info = tarfile.TarInfo("data/test/anatomy_test.csv")
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
    for content, words in (
        (b"", "the archive cannot be read"),
        (b"\0" * 10_240, "no data/test/<subject>_test.csv in the archive"),
        (packed.getvalue()[:40], "the archive cannot be read"),
        (folder.getvalue(), "data/test/anatomy_test.csv in the archive is no file"),
    ):
        assert words in refused(tmp_path, "mmlu", content)


def test_further_files_are_told_by_line_too(tmp_path: Path) -> None:
    question = {"question_id": 1, "category": "writing", "turns": ["A", "B"]}
    for file in ("mt_bench_reference_gpt-4.jsonl", "mt_bench_judge_prompts.jsonl"):
        told = refused(tmp_path, "mt-bench", b"{torn\n", file)
        assert "mt_bench_question.jsonl does not exist" in told
    (tmp_path / "it's ü" / "mt_bench_question.jsonl").write_bytes(rows(question))
    told = refused(tmp_path, "mt-bench", b"\n{torn\n", "mt_bench_reference_gpt-4.jsonl")
    assert told.startswith("mt_bench_reference_gpt-4.jsonl:2: not JSON: ")
    shapes = rows({"question_id": 1, "choices": []})
    (tmp_path / "it's ü" / "mt_bench_judge_prompts.jsonl").write_bytes(rows({"name": "x"}))
    told = refused(tmp_path, "mt-bench", shapes, "mt_bench_reference_gpt-4.jsonl")
    assert told.startswith("mt-bench: not its source files (mt_bench_reference_gpt-4.jsonl, ")
    told = refused(tmp_path, "mt-bench", rows({**question, "turns": "AB"}))
    assert told.endswith("no row of mt-bench: turns is no list of texts")


def test_a_folder_is_asked_for_where_a_file_is_given(tmp_path: Path) -> None:
    file = tmp_path / "gsm8k_test.jsonl"
    file.write_bytes(rows(GSM8K))
    with pytest.raises(UserError, match=r"--from .*: is a file; give the folder that holds gsm8k"):
        prepare("gsm8k", tmp_path / "out", file)


def test_a_wrong_source_is_an_evaluation_that_cannot_be_and_the_users_to_mend() -> None:
    with pytest.raises(SourceError):
        convert(BENCHMARKS["gsm8k"], b"{}")
    assert SourceError.exit_code == 2


def test_gsm8k_answers_are_numbers_and_the_calculators_marks_are_gone() -> None:
    row = {"question": "Q", "answer": "He has <<1+1=2>>2.\n#### 1,234"}
    half = {"question": "R", "answer": "so\n#### 0.5"}
    first, second = convert(BENCHMARKS["gsm8k"], rows(row, half) + b"\n")
    assert first == {"id": "gsm8k/0", "question": "Q", "expected_answer": 1234,
                     "reference_solution": "He has 2.\n"}  # fmt: skip
    assert isinstance(first["expected_answer"], int)
    assert (second["id"], second["expected_answer"]) == ("gsm8k/1", 0.5)


def test_ifeval_and_code_keep_every_field_of_their_source() -> None:
    row = {"key": 12, "prompt": "P", "kwargs": [{}], "instruction_id_list": ["x:y"]}
    (item,) = convert(BENCHMARKS["ifeval"], rows(row))
    assert item == {"id": "ifeval/12", "question": "P", **row}
    code = {"task_id": "HumanEval/0", "prompt": "def f():\n    return 1\n"}
    (item,) = convert(BENCHMARKS["human-eval"], rows(code))
    assert item == {"id": "HumanEval/0", "question": "def f():\n\treturn 1\n", **code}


def test_a_line_separator_inside_a_row_ends_no_row() -> None:
    text = json.dumps({"question": "a\u2028b\x85", "answer": "#### 1"}, ensure_ascii=False)
    (item,) = convert(BENCHMARKS["gsm8k"], text.encode())
    assert item["question"] == "a\u2028b\x85"


def test_every_benchmark_with_rows_of_json_has_a_converter() -> None:
    for benchmark in BENCHMARKS.values():
        if benchmark.source and benchmark.name != "mmlu":
            assert convert(benchmark, b"\n") == [], benchmark.name
