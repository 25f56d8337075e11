"""One array task: cells answered, graded and summed up, or each with the reason why not."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from harness.benchmarks.prepare import prepare
from harness.compute.evaluate import job
from harness.config.site import Site
from harness.errors import CommandError, EvaluationError, ServerError
from harness.plan.facts import RunFacts
from harness.runs.checkpoints import mark_complete
from harness.runs.files import read_json, write_json
from harness.runs.metrics import read_metrics, read_task
from harness.runs.written import note_written

from .chat_server import ChatServer, chat_server, solve
from .run_folder import checkpoint, model, run_folder


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """A job sets a handler for TERM; the tests keep theirs."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def asking(folder: Path, server: ChatServer, **changes: Any) -> RunFacts:
    """A run that asks this server three sums; its data are prepared."""
    prepare("arithmetic", folder / "data")
    external = {"address": server.base_url, "model": server.model, "api_key_env": "OUR_KEY"}
    evaluation = {"benchmarks": ["arithmetic"], "max_items": 3, **changes}
    return run_folder(folder, evaluation, model="m", external=external)


def states(facts: RunFacts, checkpoint: str) -> dict[str, tuple[str, str]]:
    """State and reason of each planned cell."""
    found = {}
    for cell in facts.plan.cells_of(checkpoint):
        record = read_task(facts.run.cell(checkpoint, cell.benchmark))
        assert record is not None
        found[cell.benchmark] = (record.state, record.reason)
    return found


def test_a_checkpoint_that_was_never_made_leaves_every_cell_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = run_folder(tmp_path, {"benchmarks": ["arithmetic", "gsm8k"], "tasks": "one"})
    assert job.run(facts.run, "eval-checkpoint-2", 0) == "missing"
    reason = "training did not complete this checkpoint"
    assert states(facts, "checkpoint-2") == dict.fromkeys(
        ("arithmetic", "gsm8k"), ("missing", reason)
    )
    assert capsys.readouterr().out == f"checkpoint-2: {reason}\n"
    assert not facts.run.checkpoint_metrics("checkpoint-2").exists()


def test_a_checkpoint_that_was_deleted_is_no_missing_one(tmp_path: Path) -> None:
    facts = run_folder(tmp_path, {"benchmarks": ["arithmetic"]})
    made = checkpoint(facts.run, 2)
    note_written(facts.run, made)
    shutil.rmtree(made)
    assert job.run(facts.run, "eval-checkpoint-2", 0) == "missing"
    deleted = {"arithmetic": ("failed", "its checkpoint was deleted")}
    assert states(facts, "checkpoint-2") == deleted


def test_a_damaged_checkpoint_is_told_before_anything_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = run_folder(tmp_path, {"benchmarks": ["arithmetic"]})
    prepare("arithmetic", tmp_path / "data")
    made = checkpoint(facts.run, 2)
    (made / "model.safetensors").write_bytes(b"weightz")
    monkeypatch.setattr(job, "generate_all", None)  # nobody may be asked
    with pytest.raises(EvaluationError, match="is not as training left it: it was"):
        job.run(facts.run, "eval-checkpoint-2", 0)
    state, reason = states(facts, "checkpoint-2")["arithmetic"]
    assert state == "failed"
    assert "is not as training left it" in reason


@pytest.mark.parametrize("whose", ["another's", "gone on from", "replaced", "ours", "nobody's"])
def test_a_checkpoint_of_another_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    facts = run_folder(tmp_path, {"benchmarks": ["arithmetic"]})
    prepare("arithmetic", tmp_path / "data")
    other = "20260202-000000-zzzz"
    made = model(facts.run.checkpoints / "checkpoint-2")
    mark_complete(made, run={"ours": facts.run.run_id, "nobody's": None}.get(whose, other))
    if whose in ("gone on from", "replaced"):
        note_written(facts.run, made)
    if whose == "replaced":  # by the other run, under the same name, since
        (made / "model.safetensors").write_bytes(b"weightz")
        mark_complete(made, run=other)
    monkeypatch.setattr(job, "generate_all", Mock(side_effect=ServerError("served")))
    refused = whose in ("another's", "replaced")
    told = f"was written by run {other}, not by this one" if refused else "served"
    with pytest.raises(EvaluationError if refused else ServerError, match=told):
        job.run(facts.run, "eval-checkpoint-2", 0)
    state, reason = states(facts, "checkpoint-2")["arithmetic"]
    assert (state, told in reason) == ("failed", True)


def test_without_a_judge_every_cell_of_the_task_says_so(tmp_path: Path, shared: Path) -> None:
    external = {"address": "http://127.0.0.1:9/v1", "model": "m"}
    evaluation = {"benchmarks": ["arithmetic", "mt-bench"], "tasks": "one"}
    facts = run_folder(tmp_path, evaluation, model="m", external=external)
    for name in ("arithmetic", "mt-bench"):
        prepare(name, tmp_path / "data", shared)
    with pytest.raises(EvaluationError, match="needs a judge"):
        job.run(facts.run, "eval-base", 0)
    reason = "this benchmark needs a judge: give evaluation.judge in the spec"
    assert states(facts, "base") == dict.fromkeys(("arithmetic", "mt-bench"), ("failed", reason))


def test_a_task_asks_grades_and_sums_up_and_a_second_one_finds_it_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("aiohttp", reason="needs the extra `eval`")
    pytest.importorskip("math_verify", reason="needs the extra `eval`")
    with chat_server(solve) as server:
        monkeypatch.setenv("OUR_KEY", server.api_key)
        facts = asking(tmp_path, server)
        assert job.run(facts.run, "eval-base", 0) == "arithmetic: ok"
        asked = len(server.asked)
        assert job.run(facts.run, "eval-base", 0) == "all cells were done already"
        assert len(server.asked) == asked == 3
    cell = facts.run.cell("base", "arithmetic")
    assert read_json(facts.run.checkpoint_metrics("base")) == read_metrics(cell.metrics)
    record = read_task(cell)
    assert record is not None and record.state == "ok"
    assert record.facts["seconds"]["idle"] >= 0
    assert set(record.facts["gpu_seconds"]) == {"gpus", "start", "generate", "grade", "idle"}


def test_a_server_that_cannot_be_asked_fails_the_cell_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with chat_server(solve) as server:
        monkeypatch.setenv("OUR_KEY", "another")
        facts = asking(tmp_path, server)
        with pytest.raises(ServerError, match="it refuses the key"):
            job.run(facts.run, "eval-base", 0)
    state, reason = states(facts, "base")["arithmetic"]
    assert state == "failed"
    assert reason == f"{server.base_url}/models: it refuses the key"
    assert server.asked == []


def test_a_whole_model_is_served_as_it_is(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    assert job.served_folder(Site(), folder) == folder


def adapter(folder: Path) -> Path:
    folder.mkdir()
    write_json(folder / "adapter_config.json", {"base_model_name_or_path": "/the/base", "r": 8})
    return folder


def merging(folder: Path, script: str) -> Site:
    """A site whose training environment has this script for its `python`."""
    programs = folder / "it's bin"
    programs.mkdir()
    (programs / "python").write_text(f"#!/bin/bash\n{script}\n")
    (programs / "python").chmod(0o755)
    lines = [f'export PATH="{programs}:$PATH"']
    return Site.model_validate({"environments": {"train": {"activate": lines}}})


def test_an_adapter_is_merged_where_training_runs_and_the_last_line_names_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = merging(tmp_path, 'echo "loading ü"; echo "$@"; echo "$3/merged-0123"')
    folder = adapter(tmp_path / "checkpoint-2 it's")
    assert job.served_folder(site, folder) == folder / "merged-0123"
    assert "checkpoint-2 it's: its adapter is merged into the base" in capsys.readouterr().out


def test_a_merge_that_fails_is_told_with_its_words(tmp_path: Path) -> None:
    site = merging(tmp_path, 'echo "the base model is gone" >&2; exit 3')
    with pytest.raises(CommandError, match=r"(?s)exited 3.*the base model is gone"):
        job.served_folder(site, adapter(tmp_path / "checkpoint-2"))


def test_a_task_began_when_slurm_says_so_else_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_START_TIME", "1700000000")
    assert job.task_start() == 1700000000.0
    for odd in ("", "N/A", "-1", "12.5"):
        monkeypatch.setenv("SLURM_JOB_START_TIME", odd)
        assert abs(job.task_start() - time.time()) < 5
    monkeypatch.delenv("SLURM_JOB_START_TIME")
    assert abs(job.task_start() - time.time()) < 5


def test_the_tasks_seconds_are_shared_by_what_its_cells_spent() -> None:
    told: list[tuple[float, float, int]] = []
    works: Any = [
        SimpleNamespace(seconds=seconds, account=lambda *given: told.append(given))
        for seconds in ({"start": 4.0, "generate": 1.0}, {"generate": 2.5}, {})
    ]
    job.account(works, time.time() - 100.0)
    assert [(spent, count) for _, spent, count in told] == [(7.5, 3)] * 3
    assert all(100 <= whole < 105 for whole, _, _ in told)
