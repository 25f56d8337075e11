"""Sources become items on disk, whole and once; what is not prepared or was changed is told."""

from __future__ import annotations

import gzip
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from harness.benchmarks.prepare import (
    facts_file,
    ground_truth_link,
    is_prepared,
    open_items,
    prepare,
    prepared_file,
    punkt_folder,
    sha256,
    write_items,
)
from harness.benchmarks.registry import BENCHMARKS, Benchmark
from harness.errors import EvaluationError, UserError

TINY = Benchmark(name="tiny", summary="s", items=2, grader="math", headline="symbolic_correct")
ITEMS = [{"id": "a", "question": 'it\'s "1"\nor 2? 🙂'}, {"id": "b", "question": "\u2028"}]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, with a space and an umlaut in its name, and a benchmark of two items."""
    monkeypatch.setitem(BENCHMARKS, "tiny", TINY)
    return tmp_path / "bench märks"


def rows(*values: dict[str, Any]) -> bytes:
    return "".join(json.dumps(value) + "\n" for value in values).encode()


def test_what_is_written_is_what_is_read(data: Path) -> None:
    write_items(TINY, ITEMS, data)
    assert is_prepared(data, "tiny")
    items = open_items(data, "tiny")
    assert list(items) == ITEMS
    facts = json.loads(facts_file(data, "tiny").read_text())
    assert (facts["items"], facts["sha256"]) == (2, items.sha256)
    assert facts["sha256"] == sha256(prepared_file(data, "tiny").read_text(encoding="utf-8"))
    assert [item["id"] for item in open_items(data, "tiny", limit=1)] == ["a"]


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([], r"0 items \(0 different\) where 2 are expected"),
        (ITEMS[:1], r"1 items \(1 different\)"),
        ([*ITEMS, {"id": "c"}], r"3 items \(3 different\)"),
        ([ITEMS[0], ITEMS[0]], r"2 items \(1 different\)"),
        ([ITEMS[0], {"question": "no id"}], r"2 items \(1 different\)"),
    ],
)
def test_another_number_of_items_is_refused_and_nothing_is_written(
    data: Path, items: list[dict[str, Any]], words: str
) -> None:
    with pytest.raises(EvaluationError, match=f"tiny: {words}.*: prepare it again"):
        write_items(TINY, items, data)
    assert not prepared_file(data, "tiny").exists()
    write_items(TINY, ITEMS, data)
    with pytest.raises(EvaluationError, match=words):
        write_items(TINY, items, data)
    assert list(open_items(data, "tiny")) == ITEMS  # the old ones stay


def test_a_write_that_fails_leaves_no_facts_of_the_items_before(data: Path) -> None:
    write_items(TINY, ITEMS, data)
    prepared_file(data, "tiny").unlink()
    prepared_file(data, "tiny").mkdir()  # in the way of the new items
    with pytest.raises(OSError, match="tiny"):
        write_items(TINY, ITEMS, data)
    assert not facts_file(data, "tiny").exists()


def test_fewer_items_are_taken_only_of_a_source_that_may_be_partial(data: Path) -> None:
    partial = replace(TINY, partial=True)
    BENCHMARKS["tiny"] = partial  # the fixture takes it out again
    write_items(partial, ITEMS[:1], data)
    assert len(open_items(data, "tiny")) == 1
    for items in ([], [*ITEMS, {"id": "c"}]):
        with pytest.raises(EvaluationError, match="2 are expected"):
            write_items(partial, items, data)


def test_what_is_not_prepared_names_the_command(data: Path) -> None:
    cure = "^tiny is not prepared: python -m harness prepare tiny$"
    with pytest.raises(EvaluationError, match=cure):
        open_items(data, "tiny")
    write_items(TINY, ITEMS, data)
    facts_file(data, "tiny").unlink()  # as when the writer was killed before it was done
    assert not is_prepared(data, "tiny")
    with pytest.raises(EvaluationError, match=cure):
        open_items(data, "tiny")


def test_items_changed_or_cut_since_are_never_taken(data: Path) -> None:
    write_items(TINY, ITEMS, data)
    file = prepared_file(data, "tiny")
    whole = file.read_text(encoding="utf-8")
    for text in (whole.replace("or 2?", "or 3?"), whole + "\n", whole.splitlines()[0] + "\n"):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(EvaluationError, match=r"was changed or cut .* prepare tiny --force"):
            open_items(data, "tiny")
    file.write_text(whole[:-9], encoding="utf-8")
    with pytest.raises(EvaluationError, match=r"tiny\.jsonl: cannot be read: "):
        open_items(data, "tiny")


def test_code_and_sentences_need_more_than_their_items(tmp_path: Path) -> None:
    for name, further in (("mbpp", ground_truth_link), ("ifeval", lambda d, _: punkt_folder(d))):
        prepared_file(tmp_path, name).write_text("")
        facts_file(tmp_path, name).write_text("{}")
        assert not is_prepared(tmp_path, name)
        further(tmp_path, name).mkdir(parents=True)
        assert is_prepared(tmp_path, name)
    assert not is_prepared(tmp_path, "gsm8k")
    assert is_prepared(tmp_path, "nemo-skills.aime24")  # its program keeps its own data


def test_a_generated_benchmark_prepared_by_several_at_once_is_whole(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: prepare("arithmetic", tmp_path / "new" / "data"), range(4)))
    assert {path.name for path in done} == {"arithmetic.jsonl"}
    assert len(open_items(tmp_path / "new" / "data", "arithmetic")) == 200
    assert not list((tmp_path / "new" / "data").glob(".*.tmp"))


def test_who_comes_second_waits_for_the_first(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        with FileLock(tmp_path / ".arithmetic.lock"):
            second = pool.submit(prepare, "arithmetic", tmp_path)
            with pytest.raises(FutureTimeout):
                second.result(timeout=0.2)
            assert not is_prepared(tmp_path, "arithmetic")
        second.result(timeout=20)
    assert is_prepared(tmp_path, "arithmetic")


def test_a_folder_that_cannot_be_written_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"file.*: benchmark data cannot be written: "):
        prepare("arithmetic", tmp_path / "file" / "data")


def test_a_source_that_is_not_in_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "gsm8k_test.jsonl").mkdir()  # a folder of that name is no source
    with pytest.raises(UserError, match=r"^gsm8k: .*gsm8k_test\.jsonl does not exist$"):
        prepare("gsm8k", tmp_path / "out", tmp_path)
    assert not prepared_file(tmp_path / "out", "gsm8k").exists()


def test_a_source_that_is_not_its_publishers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "HumanEvalPlus.jsonl.gz").write_bytes(gzip.compress(b"{}\n"))
    expected = BENCHMARKS["human-eval"].md5
    with pytest.raises(EvaluationError, match=f"human-eval: .* MD5 is 8a8.*, expected {expected}"):
        prepare("human-eval", tmp_path / "out", tmp_path)


def test_no_network_names_the_address_and_the_way_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "*")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens, so a connection is refused at once
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/x"
        monkeypatch.setitem(BENCHMARKS, "tiny", replace(TINY, source=address, file="x.jsonl"))
        with pytest.raises(UserError) as caught:
            prepare("tiny", tmp_path)
    first, second = str(caught.value).split("\n")
    assert first.startswith(f"tiny: {address} cannot be fetched: ")
    assert second.endswith("python -m harness prepare tiny --from FOLDER (holding x.jsonl)")
