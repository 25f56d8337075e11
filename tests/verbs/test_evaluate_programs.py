"""`eval` of other programs' benchmarks by the address of a server, to the table."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.compute.evaluate.chat_server import ChatServer, chat_server
from tests.compute.evaluate.evaluators import others
from tests.support import ROOT

pytest.importorskip("aiohttp", reason="needs the extra `eval`")
pytest.importorskip("lm_eval", reason="needs the extra `eval`")

pytestmark = [pytest.mark.long, pytest.mark.timeout(280)]


def add_one(question: str) -> str:
    return f"It is {int(question.split()[0]) + 1}" if question[0] != "3" else "none"


def evaluate(folder: Path, server: ChatServer, *argv: str) -> subprocess.CompletedProcess[str]:
    site = folder / "site.yaml"
    site.write_text(yaml.safe_dump({
        "runs_dir": str(folder / "runs"), "benchmarks_dir": str(folder / "b"),
        "environments": others.environments(folder), "secrets": ["EVAL_KEY"],
    }))  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "harness", "eval", "m", "--site", str(site), "--poll", "1",
         "--server-address", server.base_url, "--model", server.model,
         "--api-key-env", "EVAL_KEY", *argv],
        cwd=ROOT, env={**os.environ, "EVAL_KEY": server.api_key}, capture_output=True, text=True,
        timeout=270, check=False,
    )  # fmt: skip


def test_both_programs_get_their_columns_and_say_what_they_are(tmp_path: Path) -> None:
    fields = others.evaluation(tmp_path)
    with chat_server(add_one) as server:
        done = evaluate(
            tmp_path, server, "-b", ",".join(others.BENCHMARKS),
            *(f"--set={name}={json.dumps(value)}" for name, value in fields.items()),
            "--set", "max_items=4", "--set", "concurrency=3",
        )  # fmt: skip
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert "2 cells: 2 ok" in done.stdout
    run = (tmp_path / "runs" / "eval-m" / "latest").resolve()
    (row,) = csv.DictReader((run / "results.csv").open())
    assert row["lm-eval.sums/pass@1[number]/exact_match"] == "75.0"
    assert row["lm-eval.sums/pass@1[number]/num_entries"] == "4"
    assert row["nemo-skills.sums/pass@1/num_entries"] == "4"
    for name in others.BENCHMARKS:
        facts = json.loads((run / "eval" / "base" / name / "task.json").read_text())["facts"]
        # Of a server that somebody else runs, and of what another program does, nothing is made up.
        assert (facts["engine"], facts["dtype"], facts["concurrency"]) == ("", "", 3)
        assert "seed_rule" not in facts
        assert "aiohttp" not in facts["versions"]
        assert facts.get("items_in_data", 4) == 4
        assert ("lm-eval" in facts["versions"]) == (name == "lm-eval.sums")


def test_a_task_that_scores_choices_says_that_it_needs_a_tokenizer(tmp_path: Path) -> None:
    with chat_server(add_one) as server:
        done = evaluate(tmp_path, server, "-b", "lm-eval.sums", "--set", "lm_eval.api=completions")
    assert done.returncode in (1, 2)
    assert "lm_eval.tokenizer" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert server.asked == []
