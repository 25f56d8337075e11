"""CONTRIBUTING's lists are true: a grader, an engine, a verb and a check are added from outside,
in a copy, by changing the files it names and no other, and used by the real command line."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.preflight.support import MARKED, model, saved_dataset
from tests.support import ROOT

pytestmark = pytest.mark.long

CONTRIBUTING = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
FAKE = ROOT / "tests" / "compute" / "serve" / "fake_server.py"

GRADER_ROW = """
        GraderKind(
            name="same_text", module="same_text", headline="same_text", metrics=("same_text",),
            needs=("expected_answer",), scores={"same_text": "is_same"}, for_own=True,
        ),
"""
GRADER = '''"""Grading by the very text."""


class SameText:
    def grade(self, items, responses, *, workers=2):
        pairs = zip(items, responses, strict=True)
        return [{"is_same": item["expected_answer"] == said.strip()} for item, said in pairs]


GRADER = SameText
'''
ENGINE_ROW = """
        EngineKind(
            name="echo", tensor_parallel=1, data_parallel=1, max_model_len=None, port=8000,
            package="pydantic", on_cpu=True,
        ),
"""
ENGINE = f'''"""A server that says hello to everybody."""

import sys

from harness.compute.serve.request import Engine


def command(request, ports):
    fake = [sys.executable, {str(FAKE)!r}, "{{}}"]
    return [*fake, "--served-model-name", request.served_name, "--port", str(ports.http)]


ENGINE = Engine(
    command=command,
    environment=lambda request, ports, key: {{"VLLM_API_KEY": key}},
    model_name=lambda request: request.served_name,
)
'''
VERB = '''"""A verb of the tests: greet."""


def greet(name: str) -> None:
    """Greet somebody."""
    print(f"hello {name}")
'''
CHECK = '''"""Is the seed a number that nobody likes."""

from harness.config.training.train import TrainSpec
from harness.preflight.findings import Finding, warning


def check_seed(train: TrainSpec) -> list[Finding]:
    return [warning("train.seed", "13 again", "take another")] if train.seed == 13 else []
'''


def named_files(heading: str) -> set[str]:
    """The files that CONTRIBUTING names for adding one thing."""
    row = next(line for line in CONTRIBUTING.splitlines() if line.startswith(f"| {heading} |"))
    return set(re.findall(r"`(harness/[^`]+)`", row))


class Copy:
    """The project in a folder of its own, and its command line."""

    def __init__(self, folder: Path) -> None:
        self.root, self.user = folder / "project", folder / "user"
        ignore = shutil.ignore_patterns("__pycache__")
        for name in ("harness", "templates", "jobs"):
            shutil.copytree(ROOT / name, self.root / name, ignore=ignore)
        self.user.mkdir()
        site = {"scheduler": "local", "runs_dir": "runs", "benchmarks_dir": "benchmarks"}
        (self.user / "site.yaml").write_text(yaml.safe_dump(site))
        self._before = self._texts()

    def _texts(self) -> dict[str, str]:
        files = (self.root / "harness").rglob("*.py")
        return {str(f.relative_to(self.root)): f.read_text(encoding="utf-8") for f in files}

    def insert(self, file: str, before: str, text: str) -> None:
        path = self.root / file
        old = path.read_text(encoding="utf-8")
        assert old.count(before) == 1, f"{file}: {before}"
        path.write_text(old.replace(before, f"{text}{before}"))

    def write(self, file: str, text: str) -> None:
        (self.root / file).write_text(text)

    def changed(self, heading: str, **names: str) -> None:
        """What was changed is what CONTRIBUTING names, and that is two files."""
        now = self._texts()
        changed = {f for f in now if now[f] != self._before.get(f)}
        named = {re.sub(r"<(\w+)>", lambda m: names[m[1]], f) for f in named_files(heading)}
        assert changed == named
        assert len(changed) == 2

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "harness", *argv], cwd=self.user, check=False,
            env={**os.environ, "PYTHONPATH": str(self.root)},
            capture_output=True, text=True, timeout=240,
        )  # fmt: skip


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def test_a_grader_is_two_files(copy: Copy) -> None:
    copy.insert(
        "harness/config/graders.py", '        GraderKind(name="code:human-eval"', GRADER_ROW
    )
    copy.write("harness/compute/evaluate/graders/same_text.py", GRADER)
    copy.changed("grader", module="same_text")

    rows = [{"question": q, "expected_answer": a} for q, a in (("one?", "1"), ("two?", "2"))]
    (copy.user / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (copy.user / "counting.yaml").write_text("data: items.jsonl\ngrader: same_text\n")
    answers = [{"id": f"counting/{n}", "response": said} for n, said in enumerate((" 1", "3"))]
    (copy.user / "said.jsonl").write_text("".join(json.dumps(row) + "\n" for row in answers))
    assert copy.run("prepare", "counting.yaml").returncode == 0
    done = copy.run("grade", "counting", "said.jsonl")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^pass@1/same_text +50.00$", done.stdout, re.MULTILINE)


def test_an_engine_is_two_files(copy: Copy) -> None:
    pytest.importorskip("aiohttp", reason="needs the extra `eval`")
    pytest.importorskip("math_verify", reason="needs the extra `eval`")
    copy.insert(
        "harness/config/engines.py", '        EngineKind(\n            name="sglang"', ENGINE_ROW
    )
    copy.write("harness/compute/serve/echo.py", ENGINE)
    copy.changed("engine", engine="echo")

    model(copy.user / "model")
    (copy.user / "model" / "chat_template.jinja").write_text(MARKED)
    wanted = [
        "-b",
        "arithmetic",
        "--engine",
        "echo",
        "--local",
        "--set",
        "max_items=2",
        "--set",
        "server.gpus=0",
    ]
    done = copy.run("eval", "model", *wanted, "--set", "sampling.max_tokens=8")
    assert "1 cells: 1 ok" in done.stdout, done.stdout + done.stderr
    (task,) = copy.user.glob("runs/*/latest/eval/base/arithmetic/task.json")
    facts = json.loads(task.read_text())["facts"]
    assert facts["engine"] == "echo"
    assert "echo" in copy.run("eval", "--help").stdout


def test_a_verb_is_two_files(copy: Copy) -> None:
    copy.write("harness/verbs/greet.py", VERB)
    copy.insert("harness/cli.py", "\napp = typer.Typer(", "\nfrom harness.verbs.greet import greet")
    copy.insert("harness/cli.py", "    data.prepare,\n", "    greet,\n")
    copy.changed("verb", verb="greet")
    assert copy.run("greet", "Ada").stdout == "hello Ada\n"
    assert "greet" in copy.run("--help").stdout


def test_a_check_is_two_files(copy: Copy) -> None:
    copy.write("harness/preflight/training/seed.py", CHECK)
    copy.insert(
        "harness/preflight/check.py", "\n\n@dataclass(frozen=True)\nclass Checked",
        "\nfrom harness.preflight.training.seed import check_seed",
    )  # fmt: skip
    copy.insert(
        "harness/preflight/check.py", "        findings += check_software(",
        "        findings += check_seed(spec.train)\n",
    )  # fmt: skip
    copy.changed("check", room="training", check="seed")

    model(copy.user / "model")
    saved_dataset(copy.user / "data")
    (copy.user / "template.jinja").write_text(MARKED)
    spec = {"train": {"model_name": "model", "dataset_name": "data", "max_steps": 1, "seed": 13,
                      "chat_template_path": "template.jinja", "use_cpu": True}}  # fmt: skip
    (copy.user / "spec.yaml").write_text(yaml.safe_dump(spec))
    done = copy.run("check", "spec.yaml")
    assert "warning: train.seed: 13 again\n  take another" in done.stdout, done.stderr
