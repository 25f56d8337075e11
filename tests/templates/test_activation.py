"""Lines that activate an environment: what is no failure goes on, what is one is named in the log."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.config.site import Environment
from harness.processes.environments import GUARD, activation, wrap
from tests.support import ROOT

FILES = {
    "false.sh": 'export OK=yes\n[ -n "$NO_SUCH" ] && PS1=x\n',
    "middle.sh": "false\nls /no/such/folder 2>/dev/null\n: $NO_SUCH_VARIABLE\nexport OK=yes\n",
    "strict.sh": 'set -euo pipefail\nexport OK=yes\n[ -n "${NO_SUCH:-}" ] && PS1=x\n',
    "strict-left-on.sh": "set -euo pipefail\nexport OK=yes\n",
    "strict-fails.sh": "set -e\ncd /no/such/folder\n",
    "exits.sh": "true\nexit 0\n",
    "exits-in-function.sh": "stop() {\n  exit 3\n}\nstop\n",
    "own-trap.sh": "trap 'echo bye' EXIT\nexit 4\n",
    "keeps-trap.sh": "trap 'echo bye' EXIT\nexport OK=yes\n",
    "subshell.sh": "(exit 3)\nX=$(exit 4)\nexport OK=yes\n",
    "chatty.sh": "echo loading >&2\nexport OK=yes\n",
    "functions.sh": "load() { export OK=$1; }\nmissing() { echo \"no module $1\" >&2; return 1; }\n",
    "declares.sh": "declare -A TABLE=([a]=yes)\n",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "it's a folder é"
    place.mkdir()
    for name, text in FILES.items():
        (place / name).write_text(text)
    return place


def run(folder: Path, lines: tuple[str, ...], how: str) -> subprocess.CompletedProcess[str]:
    """As a job's script has them, or as they stand before another program."""
    if how == "script":
        guarded = activation(lines, f"source '{ROOT / GUARD}'")
        text = (
            f'set -eo pipefail\necho begun\n{guarded}\nset -eo pipefail\necho "on OK=${{OK:-}}"\n'
        )
        (folder / "a job.sbatch").write_text(text)
        argv = ["bash", "a job.sbatch"]
    else:
        argv = wrap(Environment(activate=lines), ["sh", "-c", 'echo "on OK=${OK:-}"'], [])
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=60)


both = pytest.mark.parametrize("how", ["script", "program"])


@both
@pytest.mark.parametrize(
    "lines",
    [
        ("source ./false.sh",),
        (". ./false.sh",),
        ("source ./middle.sh",),
        ("source ./strict.sh",),
        ("source ./strict-left-on.sh", "export X=$NO_SUCH_VARIABLE"),
        ("source ./subshell.sh",),
        ("source ./chatty.sh", "source ./false.sh"),
        ("source ./functions.sh", "load yes"),
        ("source ./keeps-trap.sh",),
        ("source ./declares.sh", "export OK=${TABLE[a]}"),
        ("[ -f /no/such/file ] && export OK=no", "export OK=yes"),
        ("if true; then", "  source ./false.sh", "fi"),
        ("source ./no-such-file.sh || true", "export OK=yes"),
    ],
    ids=lambda lines: lines[0],
)
def test_it_goes_on(folder: Path, how: str, lines: tuple[str, ...]) -> None:
    done = run(folder, lines, how)
    assert done.returncode == 0, done.stderr
    assert "on OK=yes\n" in done.stdout


@both
@pytest.mark.parametrize(
    ("lines", "code", "named"),
    [
        (("source ./no-such-file.sh",), 1, "no-such-file.sh: No such file"),
        (("no-such-program --x",), 127, "'no-such-program --x'"),
        (("source ./functions.sh", "missing cuda"), 1, "no module cuda"),
        (("source ./strict-fails.sh",), 1, "strict-fails.sh: line 2: cd:"),
        (("source ./exits.sh",), 1, "'exit 0' in ./exits.sh, line 2"),
        (("source ./exits-in-function.sh",), 3, "'exit 3' in ./exits-in-function.sh, line 2"),
        (("source ./own-trap.sh",), 4, "'exit 4' in ./own-trap.sh, line 2"),
        (("exit",), 1, "'exit 0' in"),
        (("(exit 3)",), 3, "'( exit 3 )'"),
        (("if true; then",), 2, "syntax error"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_it_ends_with_its_reason_in_the_log(
    folder: Path, how: str, lines: tuple[str, ...], code: int, named: str
) -> None:
    done = run(folder, lines, how)
    assert (done.returncode, "on OK" in done.stdout) == (code, False), done.stderr
    assert named in done.stderr


def test_a_false_line_that_is_passed_over_is_told(folder: Path) -> None:
    done = run(folder, ("source ./false.sh",), "script")
    lines = (folder / "a job.sbatch").read_text().splitlines()
    number = lines.index("source ./false.sh") + 1
    assert done.stderr == (
        f"activation: 'source ./false.sh' (line {number}) is false and said nothing; going on\n"
    )


def test_what_slurm_is_to_keep_from_tasks_is_taken_back(folder: Path) -> None:
    lines = ("export SLURM_EXPORT_ENV=NONE SRUN_EXPORT_ENV=NONE", "export OK=yes")
    guarded = activation(lines, f"source '{ROOT / GUARD}'")
    done = subprocess.run(["bash", "-c", f"{guarded}\nenv"], capture_output=True, text=True)
    assert "EXPORT_ENV" not in done.stdout
    assert "OK=yes" in done.stdout
