"""Driving `ns`: its successes, and each of its silent failures as a failure of ours.

`ns` itself is not here: fake_ns.py behaves like it (see there). The server is a thread that speaks
the chat completions protocol.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.compute.evaluate.evaluators import nemo_skills
from harness.config.backends import NemoSkillsSpec
from harness.config.evaluation import EvaluationSpec, Sampling
from harness.errors import EvaluationError, ServerError
from harness.runs.metrics import read_metrics
from tests.compute.evaluate.chat_server import chat_server

pytestmark = pytest.mark.long

pytest.importorskip("aiohttp", reason="needs the extra `eval`")
FAKE = str(Path(__file__).with_name("fake_ns.py"))
ITEMS = 5


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "sums"
    folder.mkdir(parents=True)
    rows = [{"problem": f"{i} + 1?", "expected_answer": i + 1} for i in range(ITEMS)]
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "data"


def spec(data: Path, **options: Any) -> EvaluationSpec:
    ns = NemoSkillsSpec(data_dir=str(data), **options)
    sampling = Sampling(temperature=0.25, max_tokens=99)
    return EvaluationSpec(benchmarks=("nemo-skills.sums",), nemo_skills=ns, sampling=sampling)


def in_its_environment(argv: list[str]) -> list[str]:
    own = {"ns": [sys.executable, FAKE], "python": [sys.executable]}
    return [*own[argv[0]], *argv[1:]]


def add_one(question: str) -> str:
    return str(int(question.split()[0]) + 1) if not question.startswith("3") else "none"


def run(data: Path, out: Path, evaluation: EvaluationSpec | None = None, repeats: int = 1) -> Any:
    with chat_server(add_one) as server:
        found = nemo_skills.evaluate(
            "sums", repeats, out, server, evaluation or spec(data), wrap=in_its_environment  # type: ignore[arg-type]
        )  # fmt: skip
    return found, server


def test_a_benchmark_is_asked_through_our_server_and_comes_back_in_the_schema(
    data: Path, tmp_path: Path
) -> None:
    found, server = run(data, tmp_path / "out")
    assert found.metrics["nemo-skills.sums"]["pass@1"]["symbolic_correct"] == 80.0
    assert found.items == ITEMS
    assert [row["generation"] for row in found.samples[0]] == ["1", "2", "3", "none", "5"]
    assert {body["temperature"] for body in server.asked} == {0.25}
    assert {body["max_tokens"] for body in server.asked} == {99}
    assert {body["model"] for body in server.asked} == {server.model}
    everything = "".join(p.read_text() for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert server.api_key not in everything + found.facts["command"]


@pytest.mark.parametrize("commit", ["0b012df", None])
def test_the_installed_version_and_its_commit_are_told(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commit: str | None
) -> None:
    info = tmp_path / "nemo_skills-0.7.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nemo_skills\nVersion: 0.7.0\n")
    if commit:
        told = {"url": "u", "vcs_info": {"vcs": "git", "commit_id": commit}}
        (info / "direct_url.json").write_text(json.dumps(told))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found, _ = run(data, tmp_path / "out")
    assert found.facts["versions"] == {
        "nemo-skills": "0.7.0", **({"nemo-skills commit": commit} if commit else {})
    }  # fmt: skip
    assert found.facts["items_in_data"] == ITEMS


def test_an_unknown_version_is_not_made_up(data: Path, tmp_path: Path) -> None:
    assert run(data, tmp_path / "out")[0].facts["versions"] == {}


def test_repeats_are_files_of_their_own_and_what_is_done_is_not_asked_again(
    data: Path, tmp_path: Path
) -> None:
    first, server = run(data, tmp_path / "out", repeats=3)
    assert len(first.samples) == 3
    assert len(server.asked) == 3 * ITEMS
    again, server = run(data, tmp_path / "out", repeats=3)
    assert again.metrics == first.metrics
    assert server.asked == []


def test_only_the_first_items(data: Path, tmp_path: Path) -> None:
    few = spec(data).model_copy(update={"max_items": 2})
    found, server = run(data, tmp_path / "out", few)
    assert (found.items, len(server.asked)) == (2, 2)


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("no-done", r"output\.jsonl\.done is not there"),
        ("short", r"4 answers for 5 items"),
        ("entries", r"counts 4 entries, and there are 5 items"),
        ("no-metrics", r"left no metrics"),
        ("crash", r"exit code 1.*something went wrong inside ns"),
    ],
)
def test_each_failure_is_one_whatever_the_exit_code_says(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, message: str
) -> None:
    monkeypatch.setenv("FAKE_NS", mode)
    with pytest.raises(EvaluationError, match=f"(?s){message}"):
        run(data, tmp_path / "out")


def test_an_endless_wait_ends_with_everything_it_started(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_NS", "hang")
    began = time.monotonic()
    with pytest.raises(
        EvaluationError, match=r"(?s)still running after 3 s.*Waiting for the server"
    ):
        run(data, tmp_path / "out", spec(data, timeout_hours=3 / 3600))
    assert time.monotonic() - began < 60
    left = [p for p in psutil.process_iter(["cmdline"]) if FAKE in (p.info["cmdline"] or [])]
    assert left == []


def test_a_dead_server_ends_it_at_once(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_NS", "hang")
    with chat_server(add_one) as server:
        server.dead = True
        with pytest.raises(ServerError, match="it died"):
            nemo_skills.evaluate(
                "sums", 1, tmp_path / "out", server, spec(data), wrap=in_its_environment  # type: ignore[arg-type]
            )  # fmt: skip


def test_data_that_is_not_prepared_is_told(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"(?s)exit code 1.*does not exist locally"):
        run(tmp_path, tmp_path / "out", spec(tmp_path / "nowhere"))


def test_prepared_data_must_be_there_afterwards(tmp_path: Path) -> None:
    """A stand-in for the installed package: a folder from which `nemo_skills` is found."""
    package = tmp_path / "site" / "nemo_skills"
    (package / "dataset" / "sums").mkdir(parents=True)
    (package / "__init__.py").write_text("")

    def there(argv: list[str]) -> list[str]:
        if argv[0] == "ns":
            return in_its_environment(argv)
        return ["env", f"PYTHONPATH={package.parent}", sys.executable, *argv[1:]]

    with pytest.raises(EvaluationError, match=r"ended, but the installed nemo_skills has no"):
        nemo_skills.prepare_data("sums", tmp_path, there)
    (package / "dataset" / "sums" / "test.jsonl").write_text('{"problem": "1 + 1?"}\n' * 3)
    assert nemo_skills.prepare_data("sums", tmp_path, there) == 3


def test_options_and_overrides_reach_ns_in_its_own_words(data: Path) -> None:
    options = NemoSkillsSpec(
        chunks=4,
        options={"with_sandbox": True, "split": "val", "exclusive": False},
        overrides=("++prompt_config=generic/math", "++inference.temperature=0.0"),
    )
    argv = nemo_skills.eval_command(
        "aime24", 4, Path("/out"), model="m", address="http://127.0.0.1:1/v1", engine="sglang",
        concurrency=8, sampling=Sampling(), options=options,
    )  # fmt: skip
    assert "--benchmarks=aime24:4" in argv
    assert "--server_type=sglang" in argv
    assert {"--num_chunks=4", "--with_sandbox", "--split=val"} <= set(argv)
    assert not any("exclusive" in word for word in argv)
    # Hydra takes the last: the user's override wins.
    assert argv.index("++inference.temperature=0.0") > argv.index("++inference.temperature=0.6")


def test_the_recorded_tree_is_read(shared: Path) -> None:
    tree = shared / "nemo_skills_eval_tree" / "checkpoint-1500"
    recorded = read_metrics(tree / "eval-results" / "gsm8k" / "metrics.json")
    found = nemo_skills.read_results(tree, "gsm8k", 120)
    assert found == {"nemo-skills.gsm8k": recorded["gsm8k"]}
    assert any(
        name.startswith("nemo-skills.mmlu-") for name in nemo_skills.read_results(tree, "mmlu", 120)
    )
    names = [path.name for path in nemo_skills.output_files(tree, "gsm8k", 2)]
    assert names == ["output-rs0.jsonl", "output-rs1.jsonl"]
    assert all(path.is_file() for path in nemo_skills.output_files(tree, "gsm8k", 2))


@pytest.mark.parametrize(
    "bad",
    [
        {"overrides": ("temperature 0",)},
        {"overrides": ("++max_samples=5",)},
        {"overrides": ("++a=1\nrm",)},
        {"options": {"--split": "x"}},
        {"options": {"output_dir": "/x"}},
    ],
)
def test_what_ns_could_not_take_is_refused_with_the_spec(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"override|set by the harness|long name"):
        NemoSkillsSpec(**bad)
