"""`eval`: one model, the same gates and table as a run; here by a server that runs already."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import harness

pytest.importorskip("aiohttp", reason="needs the extra `eval`")
pytest.importorskip("math_verify", reason="needs the extra `eval`")

from tests.compute.evaluate.chat_server import ChatServer, chat_server, solve

pytestmark = pytest.mark.long


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server(solve) as running:
        yield running


def evaluate(folder: Path, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
    site = ["--set-site", f"runs_dir={folder}/runs", "--set-site", f"benchmarks_dir={folder}/b"]
    return harness("eval", *argv, *site, **env)


@pytest.mark.timeout(280)
def test_a_running_server_is_asked_and_its_model_gets_a_table(
    tmp_path: Path, server: ChatServer
) -> None:
    done = evaluate(
        tmp_path, "my-model", "-b", "arithmetic", "--server-address", server.base_url,
        "--model", server.model, "--api-key-env", "EVAL_KEY", "--set", "max_items=5",
        "--poll", "1", "--set-site", "secrets=[EVAL_KEY]", EVAL_KEY=server.api_key,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert "1 cells: 1 ok" in done.stdout
    assert "100.00" in done.stdout
    run = (tmp_path / "runs" / "eval-my-model" / "latest").resolve()
    task = json.loads((run / "eval" / "base" / "arithmetic" / "task.json").read_text())
    assert task["state"] == "ok"
    assert task["facts"]["served_as"] == server.model
    texts = [p.read_text(errors="replace") for p in run.rglob("*") if p.is_file()]
    assert not any(server.api_key in text for text in texts)


@pytest.mark.timeout(280)
def test_a_checkpoint_of_another_trainer_has_its_own_name_and_step_in_the_table(
    tmp_path: Path, server: ChatServer
) -> None:
    folder = tmp_path / "theirs" / "global_step_500"
    folder.mkdir(parents=True)
    done = evaluate(
        tmp_path, str(folder), "-b", "arithmetic", "--server-address",
        f"{server.base_url}/chat/completions", "--model", server.model, "--api-key-env", "EVAL_KEY",
        "--set", "max_items=3", "--poll", "1", "--set-site", "secrets=[EVAL_KEY]",
        EVAL_KEY=server.api_key,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout, done.stderr)
    run = (tmp_path / "runs" / "eval-theirs-global_step_500" / "latest").resolve()
    assert (run / "eval" / "global_step_500" / "arithmetic" / "metrics.json").is_file()
    with (run / "results.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["checkpoint"], row["step"]) == ("global_step_500", "500")


@pytest.mark.timeout(280)
def test_a_server_without_the_model_fails_the_cell_and_says_what_it_serves(
    tmp_path: Path, server: ChatServer
) -> None:
    done = evaluate(
        tmp_path, "other", "-b", "arithmetic", "--server-address", server.base_url,
        "--api-key-env", "EVAL_KEY", "--poll", "1", "--set-site", "secrets=[EVAL_KEY]",
        EVAL_KEY=server.api_key,
    )  # fmt: skip
    assert done.returncode == 1
    assert "1 cells: 1 failed" in done.stdout
    assert f"does not serve 'other'; it serves {server.model}" in done.stdout


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["/no/such/folder", "-b", "arithmetic"], "MODEL: /no/such/folder: no such folder"),
        (["m", "-b", "gsm9k", "--server-address", "http://h:1/v1"], "did you mean 'gsm8k'"),
        (["m", "-b", "arithmetic", "--server-address", "h:1"], "http://host:port/v1 is expected"),
        (["m", "-b", "arithmetic", "--model", "x", "--server-address", "http://h:1", "--api-key-env", "UNSET_KEY"], "$UNSET_KEY is not set"),
        (["m", "-b", "gsm8k", "--server-address", "http://h:1"], "not prepared"),
        (["m", "-b", "arithmetic", "--model", "x"], "go with --server-address"),
        (["m", "-b", "lm-eval.x:3", "--server-address", "http://h:1"], "one answer for each item"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_message_and_nothing_is_left(
    tmp_path: Path, argv: list[str], words: str
) -> None:
    done = evaluate(tmp_path, *argv)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()
