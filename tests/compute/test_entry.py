"""A job queued by an earlier version ends with a message that submits it again."""

from __future__ import annotations

import inspect
import pickle
from pathlib import Path

import pytest

from harness import entry as now
from harness.compute import entry
from harness.errors import HarnessError


def test_what_an_old_pickle_names_is_still_there_with_the_same_arguments() -> None:
    function = pickle.loads(b"charness.compute.entry\nrun_job\n.")
    assert function is entry.run_job
    old, new = (inspect.signature(f).parameters.values() for f in (function, now.run_job))
    assert [(p.name, p.default) for p in old] == [(p.name, p.default) for p in new]


@pytest.mark.parametrize("task", [0, 3])
def test_it_names_the_job_and_the_command_that_submits_it_again(tmp_path: Path, task: int) -> None:
    folder = tmp_path / "it's a run" / "20260101-000000-aaaa"
    with pytest.raises(HarnessError) as caught:
        entry.run_job(str(folder), "eval-checkpoint-4", task)
    assert str(caught.value).startswith("eval-checkpoint-4 was queued by an earlier version")
    assert "`python -m harness retry 20260101-000000-aaaa`" in str(caught.value)
    assert caught.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []
