"""A sandbox of the kernel's own namespaces: what is seen inside, and how a program ends.

Hostile programs, in this sandbox and in bubblewrap, are in test_sandbox.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.compute.evaluate.sandbox import namespaces, sandbox


@pytest.fixture
def allowed() -> None:
    if refused := sandbox._namespaces_refused():
        pytest.skip(refused)


def inside(
    script: str, *readable: Path, environment: dict[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """A shell script run inside; it sees the system and what is readable."""
    order = {
        "readable": [*sandbox._SYSTEM, *map(str, readable)],
        "environment": environment or {},
        "tmp_bytes": 1 << 20,
    }
    argv = [sys.executable, "-I", namespaces.__file__, json.dumps(order), "--"]
    return subprocess.run(
        [*argv, "/bin/bash", "-c", script],
        capture_output=True, text=True, timeout=60, check=False, **options,
    )  # fmt: skip


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143)],
)
def test_it_ends_as_its_program_ends(script: str, code: int) -> None:
    assert inside(script).returncode == code


@pytest.mark.usefixtures("allowed")
def test_a_program_that_is_not_there_is_told_and_is_no_verdict_of_it() -> None:
    done = subprocess.run(
        [sys.executable, "-I", namespaces.__file__,
         json.dumps({"readable": list(sandbox._SYSTEM), "environment": {}, "tmp_bytes": 1 << 20}),
         "--", "/no/such/program"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 125
    assert done.stderr.startswith("sandbox: FileNotFoundError")


@pytest.mark.usefixtures("allowed")
def test_a_program_has_no_capability_and_can_get_none() -> None:
    told = inside("grep -E 'Cap|NoNewPrivs' /proc/self/status").stdout
    sets = dict(line.split(":") for line in told.split("\n") if line)
    assert int(sets.pop("NoNewPrivs")) == 1
    assert len(sets) == 5
    assert {name: int(value, 16) for name, value in sets.items()} == dict.fromkeys(sets, 0)


@pytest.mark.usefixtures("allowed")
def test_it_sees_the_system_and_what_is_readable_whatever_its_name(tmp_path: Path) -> None:
    odd = tmp_path / 'it\'s "a" ü\t\\040 folder'
    odd.mkdir()
    (odd / "seen").write_text("seen\n")
    (tmp_path / "secret").write_text("secret\n")
    link = tmp_path / "link"
    link.symlink_to(odd)
    script = f"""
        cat "$ODD/seen" && cat "$LINK/seen" && touch "$ODD/written" 2>&1
        ls "{tmp_path}"; ls -A /tmp /home /root /var 2>/dev/null; pwd
    """
    done = inside(script, odd, link, environment={"ODD": str(odd), "LINK": str(link)})
    assert done.stdout.startswith("seen\nseen\n"), done
    assert "Read-only file system" in done.stdout
    assert "secret" not in done.stdout
    assert done.stdout.endswith("/tmp\n")
    assert not (odd / "written").exists()


@pytest.mark.usefixtures("allowed")
def test_it_has_no_environment_but_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_TOKEN", "secret")
    done = inside("env", environment={"MINE": "it's $HOME\nü"})
    lines = done.stdout.splitlines()
    assert {"MINE=it's $HOME", "ü", "HOME=/tmp", "PATH=/usr/bin:/bin"} <= set(lines)
    assert "secret" not in done.stdout


@pytest.mark.usefixtures("allowed")
def test_it_is_alone_and_has_neither_network_nor_rights() -> None:
    done = inside(
        "hostname; id -u; ls /proc | grep -cE '^[0-9]+$'; "
        "grep -E '^Cap(Inh|Prm|Eff|Amb)' /proc/self/status"
    )
    host, user, processes, *rights = done.stdout.splitlines()
    assert (host, user) == ("sandbox", str(namespaces.NOBODY))
    assert int(processes) < 8
    assert len(rights) == 4
    assert all(int(line.split()[1], 16) == 0 for line in rights)
    listed = inside("cat /proc/net/dev").stdout.splitlines()[2:]
    assert [line.split(":")[0].strip() for line in listed] == ["lo"]


@pytest.mark.usefixtures("allowed")
def test_its_scratch_space_is_small_and_gone_afterwards(tmp_path: Path) -> None:
    fill = "head -c 8000000 /dev/zero > /tmp/fill; echo $?; ls -s /tmp/fill | cut -d' ' -f1"
    done = inside(fill)
    code, blocks = done.stdout.split()
    assert code == "1" and "No space left" in done.stderr
    assert int(blocks) <= 1024
    assert inside("ls -A /tmp").stdout == ""


@pytest.mark.usefixtures("allowed")
def test_what_it_leaves_running_does_not_outlive_it(tmp_path: Path) -> None:
    read, write = os.pipe()
    script = f"(trap '' TERM HUP; sleep 60; true) {write}>&{write} & exit 0"
    assert inside(script, pass_fds=[write]).returncode == 0
    os.close(write)
    # The pipe's other end is closed only when its last holder is gone.
    with open(read, "rb") as end:
        assert end.read() == b""


def test_links_stay_links_and_what_is_not_there_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "usr").mkdir()
    (tmp_path / "bin").symlink_to("usr")
    usr, link, none = (str(tmp_path / name) for name in ("usr", "bin", "none"))
    assert namespaces._plan([usr, none, usr]) == [("bind", usr, usr)]
    assert namespaces._plan([link]) == [("link", "usr", link), ("bind", usr, usr)]
    below = f"{link}/."  # a folder that is reached through a link, and is none itself
    assert namespaces._plan([below]) == [("bind", usr, usr), ("bind", usr, below)]
    (tmp_path / "broken").symlink_to("nowhere")
    broken = str(tmp_path / "broken")
    assert namespaces._plan([broken]) == [("link", "nowhere", broken)]


@pytest.mark.parametrize(
    ("told", "taken"),
    [
        (0, 0),
        (os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC, 2 | 4 | 8),
        (os.ST_RELATIME, 1 << 21),  # statvfs(3) and mount(2) differ in this bit
        (os.ST_NOATIME | os.ST_NODIRATIME, 1024 | 2048),
        (os.ST_RDONLY, 0),  # named by the caller
    ],
)
def test_locked_flags_of_a_mount_are_named_in_mounts_own_words(told: int, taken: int) -> None:
    assert namespaces._as_mount_flags(told) == taken


def test_a_mount_points_name_is_read_as_the_kernel_escapes_it() -> None:
    def plain(text: str) -> str:
        return namespaces._ESCAPE.sub(lambda found: chr(int(found[1], 8)), text)

    assert plain(r"/a\040b\011c\012d\134e") == "/a b\tc\nd\\e"
    assert plain(r"/no\x20escape") == r"/no\x20escape"
