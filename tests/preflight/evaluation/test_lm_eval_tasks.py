"""A task that lm-eval does not have is told before anything queues, where lm-eval can be asked."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.config.evaluation import EvaluationSpec
from harness.config.site import Environment, Site
from harness.preflight.evaluation.lm_eval_tasks import check_lm_eval_tasks
from harness.preflight.findings import Finding

TASKS = """
class TaskManager:
    def __init__(self, include_path=None):
        self.all_subtasks, self.all_groups = ["arc_easy", "gsm8k"], ["mmlu"]
        self.all_tags = ["several", "gsm8k"]
        self.all_tasks = [*self.all_subtasks, *self.all_groups, "several", "from_python"]
        self.task_index = {"several": type("Entry", (), {"tags": {"gsm8k", "arc_easy"}})}
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Whose lm-eval is a package of a few files, found by a variable of its role."""
    folder = tmp_path / "it's lm-eval" / "lm_eval" / "tasks" / "arc"
    folder.mkdir(parents=True)
    (folder.parents[1] / "__init__.py").write_text("")
    (folder.parent / "__init__.py").write_text(TASKS)
    (folder / "arc.yaml").write_text("tag: several\ntask: arc_easy\ndataset: x\n")
    (folder / "mmlu.yaml").write_text("group: 'mmlu'  # all\ntask:\n  - mmlu_a\n")
    variables = {"PYTHONPATH": str(tmp_path / "it's lm-eval")}
    return Site(environments={"lm-eval": Environment(variables=variables)})


def found(site: Site, *benchmarks: str, **options: str) -> list[Finding]:
    given = {"benchmarks": list(benchmarks), "lm_eval": options}
    return check_lm_eval_tasks(EvaluationSpec.model_validate(given), site)


def test_known_tasks_and_groups_are_no_finding(site: Site) -> None:
    assert found(site, "gsm8k", "lm-eval.arc_easy", "lm-eval.mmlu", "lm-eval.from_python") == []


def test_an_unknown_task_offers_the_nearest(site: Site) -> None:
    (told,) = found(site, "lm-eval.gsm9k", "lm-eval.arc_easy")
    assert (told.level, told.place) == ("error", "evaluation.benchmarks")
    assert told.message == "lm-eval has no task 'gsm9k'; did you mean 'gsm8k'?"
    assert "include_path" in told.cure


def test_a_tag_names_its_tasks_and_a_task_of_a_tags_name_is_a_task(site: Site) -> None:
    (told,) = found(site, "lm-eval.several", "lm-eval.gsm8k")
    assert (told.level, told.cure) == (
        "error", "Name its tasks: lm-eval.arc_easy, lm-eval.gsm8k",
    )  # fmt: skip


def test_tasks_of_ones_own_are_found_in_their_folder(site: Site, tmp_path: Path) -> None:
    own = tmp_path / "my tasks"
    own.mkdir()
    (own / "t.yaml").write_bytes(b'# caf\xe9\ntask: "mine"\n')
    assert found(site, "lm-eval.mine", include_path=str(own)) == []
    assert [f.level for f in found(site, "lm-eval.mine")] == ["error"]


def test_without_lm_eval_the_extra_is_named(tmp_path: Path) -> None:
    python = tmp_path / "python"  # that has no packages
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -IS "$@"\n')
    python.chmod(0o755)
    site = Site(environments={"lm-eval": Environment(activate=(f"PATH={tmp_path}:$PATH",))})
    (told,) = found(site, "lm-eval.gsm8k")
    assert (told.level, "is not installed" in told.message) == ("error", True)
    assert "posttrain-harness[eval]" in told.cure


@pytest.mark.parametrize(
    "environment",
    [
        Environment(container="/no such image.sif"),
        Environment(container="nvcr.io#x", runtime="pyxis"),
        Environment(activate=("source /no/such/venv || exit 1",)),
        Environment(activate=("exec echo no JSON",)),
        Environment(activate=("exit 0",)),
    ],
    ids=["image", "pyxis", "venv", "words", "silence"],
)
def test_where_it_cannot_be_asked_that_is_a_note_and_no_error(environment: Environment) -> None:
    (told,) = found(Site(environments={"lm-eval": environment}), "lm-eval.gsm8k")
    assert (told.level, "is not known from here" in told.message) == ("note", True)


def test_without_its_tasks_nobody_is_asked() -> None:
    broken = Environment(activate=("exit 1",))
    assert found(Site(environments={"lm-eval": broken}), "gsm8k", "nemo-skills.aime24") == []


@pytest.mark.long
def test_the_real_one_knows_its_tasks_by_their_files() -> None:
    pytest.importorskip("lm_eval", reason="needs the extra `eval`")
    assert found(Site(), "lm-eval.gsm8k", "lm-eval.mmlu", "lm-eval.arc_easy") == []


@pytest.mark.slow
def test_the_real_one_is_asked_for_what_stands_in_no_file() -> None:
    pytest.importorskip("lm_eval", reason="needs the extra `eval`")
    unknown, tag = found(Site(), "lm-eval.gsm9k", "lm-eval.ai2_arc")
    assert "did you mean 'gsm8k'" in unknown.message
    assert tag.cure == "Name its tasks: lm-eval.arc_challenge, lm-eval.arc_easy"
