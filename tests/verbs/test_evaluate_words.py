"""`eval`: what is meant by its words, and one message for those that mean nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.runs.checkpoints import mark_complete
from harness.verbs.evaluate import _external, _model
from tests.preflight.support import MARKED, model
from tests.verbs.test_common import command

Out = pytest.CaptureFixture[str]
CPU = ("-b", "arithmetic", "--engine", "transformers", "--set", "server.gpus=0", "--local")
SERVED = ("-b", "arithmetic", "--server-address", "http://127.0.0.1:9/v1")


def trained(folder: Path, marked: bool = False) -> Path:
    made = model(folder)
    (made / "chat_template.jinja").write_text(MARKED)
    if marked:
        mark_complete(made)
    return made


def checkpoint_of(capsys: Out, *argv: str) -> tuple[str, int, str]:
    """Name and step of what a dry run would evaluate, and the run's name."""
    assert command("eval", *argv, "--dry-run", "--json") == 0, capsys.readouterr().err
    plan: dict[str, Any] = json.loads(capsys.readouterr().out)["plan"]
    (checkpoint,) = plan["checkpoints"]
    return checkpoint["name"], checkpoint["step"], plan["name"]


@pytest.mark.parametrize(
    ("place", "step"),
    [
        ("theirs/checkpoint-500", 500), ("my run/global_step_500", 500), ("a/step_20", 20),
        ("a/iter_0000500", 500), ("a/step500-unsharded", 500),
    ],
)  # fmt: skip
def test_a_checkpoint_of_another_trainer_has_the_name_and_step_of_its_folder(
    here: Path, capsys: Out, place: str, step: int
) -> None:
    trained(here / place)
    above, name = place.split("/")
    expected = (name, step, f"eval-{above.replace(' ', '-')}-{name}")
    assert checkpoint_of(capsys, place, *CPU) == expected
    assert checkpoint_of(capsys, f"{place}/", *SERVED) == expected


def test_one_of_ours_has_its_runs_name_and_any_other_model_is_the_base(
    here: Path, capsys: Out
) -> None:
    trained(here / "runs/mine/20260101-000000-aaaa/checkpoints/checkpoint-4", marked=True)
    trained(here / "my model")
    ours = "runs/mine/20260101-000000-aaaa/checkpoints/checkpoint-4"
    assert checkpoint_of(capsys, ours, *CPU) == ("checkpoint-4", 4, "eval-mine-checkpoint-4")
    assert checkpoint_of(capsys, "my model", *CPU) == ("base", 0, "eval-my-model")
    assert checkpoint_of(capsys, "my model", *SERVED) == ("base", 0, "eval-my-model")
    assert checkpoint_of(capsys, "org/name", *SERVED) == ("base", 0, "eval-name")
    assert checkpoint_of(capsys, "org/step_5", *SERVED) == ("base", 0, "eval-step_5")


def test_a_folder_by_address_is_absolute_wherever_its_jobs_start(here: Path) -> None:
    trained(here / "m")
    server = {"address": "http://h:1/v1", "model": "m", "api_key_env": None}
    assert _model("m", server, None)["model"] == str(here / "m")
    assert _model("m/", server, None)["model"] == str(here / "m")
    assert _model("absent", server, None)["model"] == "absent"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("http://h:8000/v1", "http://h:8000/v1"), ("http://h:8000", "http://h:8000/v1"),
        ("http://h:8000/", "http://h:8000/v1"),
        ("http://h:8000/v1/chat/completions", "http://h:8000/v1"),
        ("http://h:8000/v1/completions/", "http://h:8000/v1"),
        ("http://h:8000/v1/models", "http://h:8000/v1"),
        ("https://h/openai/v1/chat/completions", "https://h/openai/v1"),
    ],
)  # fmt: skip
def test_the_address_of_a_call_is_taken_as_what_is_meant(given: str, meant: str) -> None:
    external = _external(given, "m", None)
    assert external is not None and external["address"] == meant


MISTAKES = [
    (["m", "-b", "arithmetic", "--server-address", "http://u:hunter2@h/v1"],
     ("--server-address: ", "leave user and password out", "--api-key-env VARIABLE")),
    (["m", "-b", "arithmetic", "--server-address", "http://h/v1?k=1"], ("leave out what follows",)),
    (["m", "-b", "arithmetic", "--server-address", "http://h/v1#x"], ("leave out what follows",)),
    (["m", "-b", "arithmetic", "--server-address", "ftp://h"], ("http://host:port/v1 is expected",)),
    (["m", "-b", "arithmetic", "--server-address", "http://h:99999/v1"], ("http://host:port/v1",)),
    (["m", "-b", "arithmetic", "--server-address", ""], ("http://host:port/v1 is expected",)),
    (["", *SERVED], ("MODEL: it is empty",)),
    (["m" * 5000, *CPU], ("MODEL: ", "no file system takes so long a name")),
    (["m", "-b", ",", "--local"], ("-b: names of benchmarks are expected",)),
    (["m", "-b", "gsm9k"], ("-b: unknown benchmark 'gsm9k'; did you mean 'gsm8k'?",)),
    (["m", "-b", "gsm8k:9999999999"], ("-b: gsm8k:9999999999: repeats are 1 to 1024",)),
    (["m", "-b", "lm-eval.../../x"], ("-b: unknown benchmark 'lm-eval.../../x'",)),
    (["m", "-b", "gsm8k,gsm8k:4", *SERVED[2:]], ("-b: evaluation.benchmarks: named twice: gsm8k",)),
    (["m", *SERVED, "--name", "a b"], ("--name: name: letters, digits",)),
    (["m", *SERVED, "--engine", "vlm"], ("--engine: evaluation.server.engine: 'vllm', 'sglang'",)),
    (["m", *SERVED, "--api-key-env", "sk-abc"], ("--api-key-env: ", "is not a name of an")),
    (["m", *SERVED, "--set", "sampling.temperature=true"],
     ("--set sampling.temperature=true: evaluation.sampling.temperature: a number is expected",)),
    (["m", *SERVED, "--set", "sampling.temperature"], ("FIELD=VALUE is expected",)),
    (["m", *SERVED, "--set", "lm_eval.timeout_hours=1e999"], ("the number is too large",)),
    (["m", *SERVED, "--set", "max_item=5"], ("did you mean 'max_items'?",)),
    (["m", *SERVED, "--set-site", "runs_dirr=x"], ("--set-site runs_dirr=x: runs_dirr: unknown",)),
    (["m", *SERVED, "--chat-template", "x"], ("--chat-template: a running server has its own",)),
    (["m", "-b", "arithmetic", "--model", "x"], ("go with --server-address",)),
    (["m", *SERVED, "--detach", "--poll", "5"], ("--poll goes with waiting: leave --detach out",)),
    (["m", *SERVED, "--poll", "nan"], ("--poll",)),
    (["m", *SERVED, "--poll", "inf"], ("--poll",)),
    (["m", *CPU, "--set-site", "scheduler=slurm"], ("--set-site scheduler=slurm: this runs here",)),
]  # fmt: skip


@pytest.mark.parametrize(("argv", "words"), MISTAKES, ids=[str(n) for n in range(len(MISTAKES))])
def test_a_word_that_means_nothing_is_one_message_and_leaves_nothing(
    here: Path, capsys: Out, argv: list[str], words: tuple[str, ...]
) -> None:
    assert command("eval", *argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    for word in words:
        assert word in err, err
    for word in ("Traceback", "error: error", "Input should", "Value error", "hunter2"):
        assert word not in err
    assert sorted(path.name for path in here.iterdir()) == ["site.yaml"]


def test_an_unknown_task_of_lm_eval_is_told_before_anything_starts(here: Path, capsys: Out) -> None:
    package = here / "package" / "lm_eval"
    (package / "tasks").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "tasks" / "__init__.py").write_text(
        "class TaskManager:\n"
        "    def __init__(self, include_path=None):\n"
        "        self.all_tasks, self.all_tags = ['arc_easy'], []\n"
    )
    environment = f"environments.lm-eval.variables={{PYTHONPATH: {here / 'package'}}}"
    asked = ("-b", "lm-eval.arc_esay", *SERVED[2:], "--set-site", environment)
    assert command("eval", "m", *asked) == 2
    assert "lm-eval has no task 'arc_esay'; did you mean 'arc_easy'?" in capsys.readouterr().err
    assert not (here / "runs").exists()


def test_likelihoods_without_a_tokenizer_are_refused_before_anything_starts(
    here: Path, capsys: Out
) -> None:
    environment = "environments.lm-eval={activate: [exit 1]}"  # so it is not asked for its tasks
    asked = ("-b", "lm-eval.arc_easy", *SERVED[2:], "--set", "lm_eval.api=completions")
    assert command("eval", "m", *asked, "--set-site", environment) == 2
    err = capsys.readouterr().err
    assert "error: evaluation.lm_eval.tokenizer: api: completions asks lm-eval.arc_easy" in err
    assert "--set lm_eval.tokenizer=FOLDER" in err
    assert not (here / "runs").exists()
