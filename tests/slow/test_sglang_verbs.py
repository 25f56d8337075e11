"""The verbs with the real SGLang on CPU: `eval` and `collect` to the table, `serve` to its very end."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest
import yaml

pytest.importorskip("peft", reason="PEFT makes the adapters")
pytest.importorskip("openai", reason="needs the extra `eval`")

from harness.compute.serve.proof import Sample, sample
from tests.slow.conftest import SGLANG_FLAGS, SGLANG_VARIABLES
from tests.slow.models import PROMPT, TOKENS, Models
from tests.support import ROOT, harness

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


class Here:
    """A folder to stand in, whose site file says where SGLang is."""

    def __init__(self, folder: Path, venv: Path) -> None:
        self.folder = folder
        role = {"activate": [f"source '{venv}/bin/activate'"], "variables": SGLANG_VARIABLES}
        site = {"scheduler": "local", "runs_dir": "runs", "benchmarks_dir": "benchmarks",
                "environments": {"sglang": role}}  # fmt: skip
        (folder / "site.yaml").write_text(yaml.safe_dump(site))
        self.variables = {"XDG_STATE_HOME": str(folder / "state"), "PYTHONPATH": str(ROOT)}

    def popen(self, *argv: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "harness", *argv], cwd=self.folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **self.variables},
        )  # fmt: skip

    def processes(self) -> list[psutil.Process]:
        """Whatever runs for a run of this folder, known by its arguments or its log."""
        found = []
        for process in psutil.process_iter():
            try:
                if str(self.folder) in " ".join([*process.cmdline(), process.cwd()]):
                    found.append(process)
            except psutil.Error:
                continue
        return found


@pytest.fixture
def here(tmp_path: Path, sglang_venv: Path) -> Here:
    return Here(tmp_path, sglang_venv)


def test_from_the_verb_to_the_table(here: Here, models: Models) -> None:
    flags = ", ".join(f"{name}: {value}" for name, value in SGLANG_FLAGS.items())
    settings = [f"server.flags={{{flags}}}", "server.gpus=0", "max_items=3", "concurrency=3",
                "sampling.temperature=0", f"sampling.max_tokens={TOKENS}"]  # fmt: skip
    prepared = harness("prepare", "arithmetic", cwd=here.folder, **here.variables)
    assert prepared.returncode == 0, prepared.stderr
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "harness", "eval", str(models.other), "-b", "arithmetic", "--local",
         "--engine", "sglang", *(word for each in settings for word in ("--set", each))],
        cwd=here.folder, capture_output=True, text=True, timeout=1500,
        env={**os.environ, **here.variables},
    )  # fmt: skip
    print(f"eval took {time.monotonic() - began:.0f} s")
    assert "1 cells: 1 ok" in done.stdout, done.stdout + done.stderr
    (run,) = here.folder.glob("runs/*/latest")
    collected = harness("collect", str(run), "-o", "table.csv", cwd=here.folder, **here.variables)
    assert collected.returncode == 0, collected.stderr
    (row,) = csv.DictReader((here.folder / "table.csv").open())
    assert row["arithmetic/pass@1/num_entries"] == "3"
    cell = run / "eval" / "base" / "arithmetic"
    facts = json.loads((cell / "task.json").read_text())["facts"]
    assert (facts["engine"], facts["engine_version"]) == ("sglang", "0.5.23")
    assert facts["dtype"] == "bfloat16"
    assert (facts["sampling"]["seed"], facts["seed_rule"]) == (None, "")
    for line in (cell / "output-rs0.jsonl").read_text().splitlines():
        item = json.loads(line)
        assert item["num_generated_tokens"] > 0


def test_serve_prints_what_works_and_says_stopped_when_nothing_lives(
    here: Here, models: Models
) -> None:
    flags = [word for n, v in SGLANG_FLAGS.items() for word in ("--flag", f"{n}={v}")]
    argv = ["serve", str(models.one), "--local", "--engine", "sglang", "--gpus", "0", "--json",
            "--dtype", "float32", "--lora", f"a={models.adapters['a']}", *flags]  # fmt: skip
    verb = here.popen(*argv)
    assert verb.stdout is not None
    told = json.loads(verb.stdout.readline())
    key = Path(told["key_file"]).read_text().strip()
    with httpx.Client(
        headers={"Authorization": f"Bearer {key}"}, trust_env=False, timeout=120
    ) as http:
        answers = [sample(http, told["base_url"], model, PROMPT)[1]
                   for model in (told["model"], told["adapters"]["a"])]  # fmt: skip
    assert all(isinstance(each, Sample) and each.logprobs for each in answers)
    assert answers[0] != answers[1]
    stopped_with_nothing_left(here, verb)


def test_a_start_that_is_interrupted_leaves_nothing(here: Here, models: Models) -> None:
    flags = [word for n, v in SGLANG_FLAGS.items() for word in ("--flag", f"{n}={v}")]
    verb = here.popen(
        "serve", str(models.one), "--local", "--engine", "sglang", "--gpus", "0", *flags
    )
    deadline = time.monotonic() + 300
    while not any("sglang.launch_server" in " ".join(p.cmdline()) for p in here.processes()):
        assert time.monotonic() < deadline and verb.poll() is None
        time.sleep(0.2)
    stopped_with_nothing_left(here, verb)


def stopped_with_nothing_left(here: Here, verb: subprocess.Popen[str]) -> None:
    """Ctrl-C; at the very line that says so nothing of the run lives but the verb itself."""
    before = here.processes()
    assert len(before) > 2
    # The local scheduler's runner says last that its job has ended, and then ends itself.
    runner = [
        p.pid for p in before if "harness.scheduling.schedulers.local" in " ".join(p.cmdline())
    ]
    asked = time.monotonic()
    verb.send_signal(signal.SIGINT)
    assert verb.stderr is not None
    while "the server has stopped" not in (line := verb.stderr.readline()):
        assert line, "the verb ended without a word"
    took = time.monotonic() - asked
    left = [p for p in [*before, *here.processes()] if p.pid not in (verb.pid, *runner)
            and p.is_running() and p.status() != psutil.STATUS_ZOMBIE]  # fmt: skip
    print(f"stopped after {took:.1f} s")
    assert not left
    assert verb.wait(30) == 0
