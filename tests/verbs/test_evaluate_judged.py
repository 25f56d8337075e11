"""Answers that a judge elsewhere judges: in a job of their own, without GPUs, and again alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.support import harness, shared_data

pytest.importorskip("aiohttp", reason="needs the extra `eval`")

from tests.compute.evaluate.chat_server import chat_server
from tests.compute.evaluate.judge.judge_server import KEY, judging, rates_by_length

pytestmark = pytest.mark.long

DATA = shared_data()


@pytest.mark.timeout(280)
@pytest.mark.skipif(DATA is None, reason="the shared benchmark data is not beside the repository")
def test_a_judge_that_failed_is_asked_again_and_nothing_else_is(tmp_path: Path) -> None:
    site_file = tmp_path / "site.yaml"
    site_file.write_text(
        yaml.safe_dump({"scheduler": "local", "runs_dir": str(tmp_path / "runs"),
                        "benchmarks_dir": str(tmp_path / "b"), "secrets": ["JUDGE_KEY", "EVAL_KEY"]})
    )  # fmt: skip
    site = ["--site", str(site_file)]
    assert harness("prepare", "mt-bench", "--from", str(DATA), *site).returncode == 0
    judge = {"model": "j", "api_key_env": "JUDGE_KEY", "retries": 0}
    with (
        chat_server(lambda prompt: f"{len(prompt)} characters") as server,
        judging(rates_by_length) as judges,
    ):
        keys = {"EVAL_KEY": server.api_key, "JUDGE_KEY": KEY}
        judges.always = 500
        done = harness(
            "eval", "m", "-b", "mt-bench", "--server-address", server.base_url, "--model",
            server.model, "--api-key-env", "EVAL_KEY", "--poll", "1", "--set", "max_items=2",
            "--set", f"judge={json.dumps(judge | {'base_url': judges.base_url})}", *site, **keys,
        )  # fmt: skip
        assert done.returncode == 1, (done.stdout, done.stderr)
        assert "HTTP 500" in done.stdout
        run = (tmp_path / "runs" / "eval-m" / "latest").resolve()
        cell = run / "eval" / "base" / "mt-bench"
        before = json.loads((cell / "task.json").read_text())
        assert (before["state"], before["facts"]["answers_kept"]) == ("failed", True)
        assert "judge-base" in before["log"]
        asked = len(server.asked)

        judges.always = 0
        dry = harness("retry", "--dry-run", *site, **keys)
        assert "judge-base: mt-bench (failed)" in dry.stdout
        assert "eval-base" not in dry.stdout
        without = harness("retry", *site, **(keys | {"JUDGE_KEY": ""}))
        assert without.returncode == 2
        assert "$JUDGE_KEY is not set" in without.stderr
        done = harness("retry", "--wait", "--poll", "1", *site, **keys)
        assert done.returncode == 0, (done.stdout, done.stderr)
        assert len(server.asked) == asked
        assert len(judges.answered) == 4
    facts = json.loads((cell / "task.json").read_text())["facts"]
    assert facts["served_as"] == server.model
    assert facts["seconds"]["judge"] > 0
    assert facts["seconds"]["generate"] == before["facts"]["seconds"]["generate"]
    assert set(facts["gpu_seconds"]) == {"gpus", "start", "generate", "grade", "idle"}
