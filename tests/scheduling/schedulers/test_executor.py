"""submitit submits our text, for a single job and for an array, and its pickles hold references."""

from __future__ import annotations

import pickle
import pickletools
import sys
from pathlib import Path

import pytest
from submitit.core.utils import DelayedSubmission, FailedJobError

from harness.entry import run_job
from harness.scheduling.schedulers.executor import RenderedExecutor

SCRIPT = "#!/bin/bash\n# the marker of our template\n"
ACCEPTS = [sys.executable, "-c", "print('Submitted batch job 7')"]


@pytest.mark.parametrize(("array", "tasks"), [(False, 1), (True, 1), (True, 3)])
def test_the_submitted_file_is_our_text(tmp_path: Path, array: bool, tasks: int) -> None:
    executor = RenderedExecutor(
        tmp_path, script=SCRIPT, sbatch=ACCEPTS, minutes=90, tasks=range(tasks) if array else ()
    )
    calls = [("/run", "job", index) for index in range(tasks)]
    assert executor.submit_calls(run_job, calls) == "7"
    assert (tmp_path / "7_submission.sh").read_text() == SCRIPT
    names = [f"7_{index}" for index in range(tasks)] if array else ["7"]
    for name, call in zip(names, calls, strict=True):
        file = tmp_path / f"{name}_submitted.pkl"
        delayed = DelayedSubmission.load(file)
        assert (delayed.function, delayed.args) == (run_job, call)
        assert delayed._timeout_min == 90
        assert hasattr(delayed.function, "checkpoint")


def test_the_pickle_holds_no_code(tmp_path: Path) -> None:
    executor = RenderedExecutor(tmp_path, script=SCRIPT, sbatch=ACCEPTS, minutes=1)
    executor.submit_calls(run_job, [("/run", "job", 0)])
    data = (tmp_path / "7_submitted.pkl").read_bytes()
    names = [str(arg) for _, arg, _ in pickletools.genops(data) if arg is not None]
    assert "harness.entry" in names
    assert not [n for n in names if "CodeType" in n or "_make_function" in n]
    assert pickle.loads(data).function is run_job


def test_a_refusal_is_an_error(tmp_path: Path) -> None:
    refuses = [sys.executable, "-c", "import sys; sys.exit('sbatch: error: no')"]
    executor = RenderedExecutor(tmp_path, script=SCRIPT, sbatch=refuses, minutes=1, tasks=[0])
    with pytest.raises(FailedJobError, match="sbatch: error: no"):
        executor.submit_calls(run_job, [("/run", "job", 0)])


def test_a_missing_sbatch_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        RenderedExecutor(tmp_path, script="", sbatch=["no-such-sbatch"], minutes=1)
