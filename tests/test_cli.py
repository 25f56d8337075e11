"""The command line: wrong input gives one message, exit code 2, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.preflight.support import MARKED, model, saved_dataset
from tests.support import ROOT

pytestmark = pytest.mark.long


class User:
    """A folder with a right spec and site, and the command line run from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        model(folder / "model")
        saved_dataset(folder / "data")
        (folder / "template.jinja").write_text(MARKED)
        self.spec: dict[str, Any] = {
            "name": "mine",
            "train": {
                "model_name": "model", "dataset_name": "data", "max_steps": 4, "save_steps": 2,
                "chat_template_path": "template.jinja", "use_cpu": True,
            },
            "evaluation": {"benchmarks": ["arithmetic"], "server": {"engine": "transformers"}},
        }  # fmt: skip
        self.site: dict[str, Any] = {
            "scheduler": "local",
            "runs_dir": "runs",
            "benchmarks_dir": "benchmarks",
        }

    def run(self, *argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "spec.yaml").write_text(yaml.safe_dump(self.spec))
        (self.folder / "site.yaml").write_text(yaml.safe_dump(self.site))
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HARNESS_", "SLURM_"))}
        return subprocess.run(
            [sys.executable, "-m", "harness", *argv],
            cwd=self.folder, capture_output=True, text=True, timeout=60,
            env=kept | {"PYTHONPATH": str(ROOT), "HF_ENDPOINT": "http://127.0.0.1:1"} | environment,
        )  # fmt: skip

    def left(self) -> list[str]:
        return sorted(p.name for p in self.folder.iterdir() if p.name in ("runs", "benchmarks"))


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path)


def refused(user: User, *expected: str, **environment: str) -> None:
    done = user.run("submit", "spec.yaml", **environment)
    assert done.returncode == 2, (done.stdout, done.stderr)
    for text in expected:
        assert text in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert user.left() == []


def test_a_right_spec_passes_the_check(user: User) -> None:
    done = user.run("check", "spec.yaml")
    assert done.returncode == 0, done.stdout
    assert "0 errors" in done.stdout


def test_broken_yaml(user: User) -> None:
    (user.folder / "broken.yaml").write_text("train: [")
    done = user.run("submit", "broken.yaml")
    assert (done.returncode, user.left()) == (2, [])
    assert "broken.yaml:1:" in done.stderr
    assert "not valid YAML" in done.stderr


def test_an_unknown_key(user: User) -> None:
    user.spec["train"]["learning_rat"] = 1
    refused(user, "spec.yaml:", "train.learning_rat: unknown key", "did you mean 'learning_rate'")


def test_an_unknown_benchmark(user: User) -> None:
    user.spec["evaluation"]["benchmarks"] = ["arithmetics"]
    refused(user, "unknown benchmark 'arithmetics'; did you mean 'arithmetic'?")


def test_a_missing_dataset(user: User) -> None:
    user.spec["train"]["dataset_name"] = "absent"
    (user.folder / "abcent").mkdir()
    refused(user, "train.dataset_name", "absent: no such folder; did you mean 'abcent'?",
            "python -m harness data get ID FOLDER", "python -m harness data convert FILES FOLDER")  # fmt: skip


def test_a_hub_id_where_no_hub_is_reachable(user: User) -> None:
    user.spec["train"]["model_name"] = "Qwen/Qwen3-1.7B-Base"
    refused(user, "train.model_name", "the Hub cannot be reached", "hf download",
            HF_HOME="none", HF_HUB_OFFLINE="0")  # fmt: skip


def test_a_missing_template(user: User) -> None:
    user.spec["train"]["chat_template_path"] = "absent.jinja"
    refused(user, "train.chat_template_path", "absent.jinja", "qwen3.jinja")


def test_slurm_asked_for_where_there_is_none(user: User) -> None:
    user.site["scheduler"] = "slurm"
    refused(user, "no sbatch on this machine", PATH="/nowhere")


def test_an_unwritable_run_folder(user: User) -> None:
    (user.folder / "file").write_text("")
    user.site["runs_dir"] = "file/runs"
    refused(user, "site: runs_dir", "cannot be written")


def test_an_unwritable_benchmarks_folder(user: User) -> None:
    (user.folder / "file").write_text("")
    user.site["benchmarks_dir"] = "file/benchmarks"
    refused(user, "benchmark data cannot be written")


def test_an_unknown_site_key(user: User) -> None:
    user.site["partition"] = "gpu"
    refused(user, "site.yaml:2: partition: unknown key")


def test_a_dry_run_shows_plan_and_scripts_and_touches_nothing(user: User) -> None:
    done = user.run("submit", "spec.yaml", "--dry-run")
    assert done.returncode == 0, done.stderr
    for text in (
        "#SBATCH --job-name=mine:train",
        "mine:eval-checkpoint-4",
        "nothing was submitted",
    ):
        assert text in done.stdout
    assert user.left() == []
    plan = json.loads(user.run("submit", "spec.yaml", "--dry-run", "--json").stdout)["plan"]
    assert [c["step"] for c in plan["checkpoints"]] == [2, 4]


def test_a_dry_run_of_a_wrong_spec_still_shows_the_plan_and_exits_2(user: User) -> None:
    user.spec["train"]["dataset_name"] = "absent"
    done = user.run("submit", "spec.yaml", "--dry-run")
    assert done.returncode == 2
    assert "#SBATCH --job-name=mine:train" in done.stdout
    assert "no such folder" in done.stdout


def test_no_check_skips_the_checks_with_a_warning(user: User) -> None:
    user.spec["train"]["chat_template_path"] = "absent.jinja"
    done = user.run("submit", "spec.yaml", "--dry-run", "--no-check")
    assert done.returncode == 0, done.stderr
    assert "warning: --no-check: nothing was checked" in done.stdout
    assert "absent.jinja: cannot be read" not in done.stdout
    user.spec["train"] |= {"packing": True, "max_steps": None}
    done = user.run("submit", "spec.yaml", "--no-check")
    assert done.returncode == 2
    assert "set train.max_steps" in done.stderr


def test_packing_without_max_steps_is_planned(user: User) -> None:
    user.spec["train"] |= {"packing": True, "max_steps": None, "bf16": False}
    done = user.run("submit", "spec.yaml", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["plan"]["total_steps"] == 1
    assert any("rows pack into about" in f["message"] for f in shown["findings"])


def test_a_dataset_is_inspected(user: User) -> None:
    asked = ("data", "inspect", "data", "--template", "template.jinja", "--model", "model")
    done = user.run(*asked, "--rows", "1")
    assert done.returncode == 0, done.stderr
    assert "messages by role: user 10, assistant 10" in done.stdout
    assert "[[It is 5.<|im_end|>]]" in done.stdout
    seen = json.loads(user.run(*asked, "--rows", "2", "--json").stdout)
    assert (seen["rows"], seen["sampled"], len(seen["shown"])) == (10, 10, 2)
    assert 0 < seen["share_trained"] < 1
    assert seen["percentiles"]["p50"] <= seen["percentiles"]["max"]
    done = user.run("data", "inspect", "absent")
    assert done.returncode == 2
    assert "no such folder" in done.stderr


def test_collecting_the_wrong_thing(user: User) -> None:
    for argv, expected in (
        (["collect"], "no run under"),
        (["collect", "mien"], "no run folder, and no run of that name"),
        (["collect", "--batch", "absent"], "absent: no such folder"),
        (["collect", "x", "--batch", "data"], "not both"),
        (["collect", "--model", "x"], "--model names the row"),
    ):
        done = user.run(*argv)
        assert done.returncode == 2, argv
        assert expected in done.stderr


def test_collect_writes_the_csv_where_it_is_told(user: User) -> None:
    (user.folder / "metrics.json").write_text('{"gsm8k": {"pass@1": {"symbolic_correct": 12.5}}}')
    done = user.run("collect", "metrics.json", "-o", "out.csv", "--model", "m")
    assert done.returncode == 0, done.stderr
    assert (user.folder / "out.csv").read_text().splitlines()[1] == "m,m,,12.5"


def test_help_has_an_example_for_every_verb(user: User) -> None:
    for verb in ("submit", "check", "status", "collect", "cancel", "prepare", "data inspect"):
        text = user.run(*verb.split(), "--help").stdout
        assert "python -m harness" in text, verb
        assert "Example" in text, verb


def test_the_login_half_imports_nothing_heavy() -> None:
    heavy = (
        "torch transformers datasets pandas matplotlib trl accelerate vllm sglang openai aiohttp"
    )
    code = (
        "import sys, pkgutil, importlib, harness\n"
        "for m in pkgutil.walk_packages(harness.__path__, 'harness.'):\n"
        "    if not m.name.startswith('harness.compute') and m.name != 'harness.__main__':\n"
        "        importlib.import_module(m.name)\n"
        f"bad = [n for n in {heavy.split()!r} if n in sys.modules]\n"
        "sys.exit(f'imported: {bad}' if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("module", "argv"),
    [
        ("datasets", ["data", "convert", "chats.jsonl", "out"]),
        ("huggingface_hub", ["data", "get", "owner/name", "out"]),
    ],
)
def test_a_verb_whose_package_is_not_here_names_the_extra(
    user: User, module: str, argv: list[str]
) -> None:
    message = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    (user.folder / "chats.jsonl").write_text(json.dumps({"messages": message}))
    code = f"import sys; sys.modules[{module!r}] = None; from harness.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *argv], cwd=user.folder, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {module} is not installed in {sys.executable}: "
        "pip install 'posttrain-harness[train]'\n"
    )
    assert not (user.folder / "out").exists()
