"""What a job needs of a benchmark, made once: items, sentence data, expected outputs."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock

from harness.benchmarks.prepare import ground_truth_link, is_prepared, open_items, punkt_folder
from harness.benchmarks.registry import BENCHMARKS
from harness.compute.evaluate import prepare as module
from harness.compute.evaluate.graders.ground_truth import read_index
from harness.compute.evaluate.prepare import prepare_benchmark, prepare_own, prepare_punkt
from harness.errors import UserError
from tests.support import ROOT

OWN = "data: rows.jsonl\ngrader: math\nprompt: '{problem}'\n"


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """What a test registers is not known to the next."""
    known = dict(BENCHMARKS)
    yield
    BENCHMARKS.clear()
    BENCHMARKS.update(known)


def own(folder: Path, count: int = 3) -> Path:
    rows = [{"problem": f"{n} + 1? ü \u2028", "expected_answer": n + 1} for n in range(count)]
    folder.mkdir(exist_ok=True)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "plus.yaml").write_text(OWN)
    return folder / "plus.yaml"


def test_a_benchmark_that_is_prepared_is_left_alone_unless_forced(tmp_path: Path) -> None:
    data = tmp_path / "it's ü" / "data"
    items = prepare_benchmark("arithmetic", data)
    assert items == data / "arithmetic.jsonl"
    made = items.stat().st_mtime_ns
    assert prepare_benchmark("arithmetic", data) == items
    assert items.stat().st_mtime_ns == made
    prepare_benchmark("arithmetic", data, force=True)
    assert items.stat().st_mtime_ns > made
    assert len(open_items(data, "arithmetic")) == 200


def test_a_task_of_lm_eval_has_its_data_elsewhere_and_the_way_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        prepare_benchmark("lm-eval.arc_easy", tmp_path / "data")
    assert str(caught.value).startswith("lm-eval.arc_easy: lm-eval keeps its data in the Hub's")
    assert "`--limit 1`, where there is internet" in str(caught.value)
    assert not (tmp_path / "data").exists()


def test_a_source_that_is_not_there_is_told_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^gsm8k: .*/gsm8k.*jsonl does not exist"):
        prepare_benchmark("gsm8k", tmp_path / "data", tmp_path / "none")
    assert not is_prepared(tmp_path / "data", "gsm8k")


@pytest.mark.parametrize("name", ["arithmetic", "plus"])
def test_a_folder_that_cannot_be_made_is_told_by_its_place(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    data = tmp_path / "file" / "data"
    make = (
        partial(prepare_benchmark, name) if name != "plus" else partial(prepare_own, own(tmp_path))
    )
    with pytest.raises(UserError) as caught:
        make(data)
    assert str(caught.value).startswith(f"{data}: benchmark data cannot be written: ")


def test_the_same_of_ones_own_at_once_is_one_whole_benchmark(tmp_path: Path) -> None:
    definition, data = own(tmp_path / "own", 500), tmp_path / "data"
    data.mkdir()
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(prepare_own(definition, data)))
        for _ in range(4)
    ]
    with FileLock(data / ".plus.lock"):  # whoever prepares it already is waited for
        for thread in threads:
            thread.start()
        threads[0].join(0.2)
        assert found == [] and not (data / "plus.jsonl").exists()
    for thread in threads:
        thread.join()
    assert found == [data / "plus.jsonl"] * 4
    assert len(open_items(data, "plus")) == 500
    assert not [path for path in data.iterdir() if path.suffix == ".tmp"]


def test_the_same_again_writes_no_items_and_a_file_that_was_cut_is_not_the_same(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    items = prepare_own(own(tmp_path / "own"), data)
    made, text = items.stat().st_mtime_ns, items.read_text(encoding="utf-8")
    prepare_own(own(tmp_path / "own"), data)
    assert items.stat().st_mtime_ns == made
    items.write_text(text[:-2], encoding="utf-8")
    with pytest.raises(UserError) as caught:
        prepare_own(own(tmp_path / "own"), data)
    assert str(caught.value) == (
        f"{tmp_path / 'own' / 'plus.yaml'}: plus is prepared in {data} from other data or with "
        "another definition; --force replaces it, and results before do not compare"
    )
    prepare_own(own(tmp_path / "own"), data, force=True)
    assert items.read_text(encoding="utf-8") == text


def test_sentence_data_are_fetched_once_and_appear_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def download(name: str, download_dir: str, **_: object) -> bool:
        asked.append(name)
        english = Path(download_dir) / "tokenizers" / "punkt_tab" / "english"
        english.mkdir(parents=True)
        (english / "ortho_context.tab").write_text("x")
        return True

    monkeypatch.setitem(sys.modules, "nltk", SimpleNamespace(download=download))
    for _ in range(2):
        prepare_punkt(tmp_path)
    assert asked == ["punkt_tab"]
    assert [path.name for path in punkt_folder(tmp_path).iterdir()] == ["ortho_context.tab"]
    assert [path.name for path in punkt_folder(tmp_path).parent.iterdir()] == ["english"]


def no_internet(*_: object, **__: object) -> bool:
    """NLTK's download() where there is none, as it prints even with `quiet`."""
    print("[nltk_data] Error loading punkt_tab: <urlopen error [Errno -2]>")
    return False


@pytest.mark.long
def test_without_nltks_own_page_they_come_out_of_a_wheel_and_its_error_is_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the real NLTK in a process of its own, whose page is where nobody listens."""
    pytest.importorskip("nltk")
    pytest.importorskip("pip")
    with zipfile.ZipFile(tmp_path / "llama_index_core-0.1-py3-none-any.whl", "w") as wheel:
        place = "llama_index/core/_static/nltk_cache/tokenizers/punkt_tab"
        wheel.writestr(f"{place}/german/ortho_context.tab", "y")
        wheel.writestr(f"{place}/english/ortho_context.tab", "x")
        information = "llama_index_core-0.1.dist-info"
        wheel.writestr(
            f"{information}/METADATA",
            "Metadata-Version: 2.1\nName: llama-index-core\nVersion: 0.1\n",
        )
        wheel.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{information}/RECORD", "")
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    data = tmp_path / "data"
    data.mkdir()
    code = (
        "import sys, pathlib, nltk.downloader\n"
        "nltk.downloader._downloader._url = 'http://127.0.0.1:1/index.xml'\n"
        "from harness.compute.evaluate.prepare import prepare_punkt\n"
        "prepare_punkt(pathlib.Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(data)], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path.name for path in punkt_folder(data).iterdir()] == ["ortho_context.tab"]
    assert (punkt_folder(data) / "ortho_context.tab").read_text() == "x"


def test_without_nltk_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nltk", None)
    with pytest.raises(UserError, match=r"pip install 'posttrain-harness\[eval\]'"):
        prepare_punkt(tmp_path)


def test_had_from_nowhere_they_are_missed_with_what_was_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "false")  # no pip either
    monkeypatch.setitem(sys.modules, "nltk", SimpleNamespace(download=no_internet))
    told = "neither from NLTK nor from the package index:\n.*Error loading punkt_tab"
    with pytest.raises(UserError, match=told):
        prepare_punkt(tmp_path)
    assert not punkt_folder(tmp_path).exists()


def test_expected_outputs_lie_behind_a_link_that_is_changed_at_once(tmp_path: Path) -> None:
    pytest.importorskip("evalplus", reason="evalplus is not installed")
    task = {"id": "HumanEval/0", "task_id": "HumanEval/0", "question": "?", "entry_point": "f",
            "prompt": "def f(x):\n", "canonical_solution": "    return x\n", "atol": 0,
            "base_input": [[1]], "plus_input": [[2]]}  # fmt: skip
    items, link = tmp_path / "human-eval.jsonl", ground_truth_link(tmp_path, "human-eval")
    places = []
    for prompt in ("def f(x):\n", "def f( x ):\n"):
        items.write_text(json.dumps(task | {"prompt": prompt}) + "\n")
        module._prepare_ground_truth("human-eval", tmp_path, items)
        assert read_index(link, "humaneval")["HumanEval/0"]["prompt"] == prompt
        places.append(link.resolve())
    assert places[0] != places[1] and places[0].is_dir()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {".human-eval.lock", "ground-truth", link.name, items.name}
