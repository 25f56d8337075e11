"""Running programs that a model wrote: no network, no files of yours, no way to stay behind.

bubblewrap, or namespaces.py where it is missing, gives the program namespaces of its own (user,
process ids, network, mounts, IPC), an empty environment, the Python installation read-only and
small tmpfs folders to write to. When the sandbox's first process is killed, the kernel kills
everything inside. What namespaces do not
bound (memory of all processes together, their number) is watched from outside.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.compute.evaluate.sandbox import namespaces
from harness.errors import EvaluationError
from harness.processes.tree import family

_SYSTEM = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/alternatives",
)
_KERNEL_COUNTS_PER_NAMESPACE = (5, 14)
_PROBE_LIMIT_S = 20


@dataclass(frozen=True)
class Limits:
    """What all processes of one sandbox may use together.

    `memory_bytes`: resident memory. `tasks`: processes and threads. `tmp_bytes`: each of /tmp and
    /dev/shm, which live in memory too. `file_bytes`: one file.
    """

    memory_bytes: int = 6 << 30
    tasks: int = 256
    tmp_bytes: int = 256 << 20
    file_bytes: int = 128 << 20


def sandboxed(
    argv: Sequence[str],
    *,
    readable: Sequence[Path],
    environment: Mapping[str, str],
    limits: Limits,
) -> list[str]:
    """The command line that runs `argv` in a sandbox that sees only the system and `readable`.

    Raises:
        EvaluationError: neither bubblewrap nor user namespaces work here; it names the cure.
    """
    folders = list(dict.fromkeys([*_SYSTEM, *map(str, readable)]))
    bwrap, why = find_bwrap()
    if bwrap is not None:
        return _in_bubblewrap(bwrap, argv, folders, environment, limits)
    if refused := _namespaces_refused():
        raise EvaluationError(_refusal(f"{why}, and {refused}"))
    return _in_namespaces(argv, folders, environment, limits)


def _in_bubblewrap(
    bwrap: str,
    argv: Sequence[str],
    folders: Sequence[str],
    environment: Mapping[str, str],
    limits: Limits,
) -> list[str]:
    command = [bwrap, "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"]
    command += ["--cap-drop", "ALL", "--hostname", "sandbox"]
    size = ["--size", str(limits.tmp_bytes), "--tmpfs"]
    command += ["--proc", "/proc", "--dev", "/dev", *size, "/dev/shm", *size, "/tmp"]
    # After /tmp, since what is readable may lie below it.
    for path in folders:
        command += ["--ro-bind-try", path, path]
    # bubblewrap's own root and /dev are tmpfs without a bound; leave nothing writable there.
    command += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp"]
    for name, value in {"PATH": "/usr/bin:/bin", "HOME": "/tmp", **environment}.items():
        command += ["--setenv", name, value]
    return [*command, "--", *argv]


def _in_namespaces(
    argv: Sequence[str], folders: Sequence[str], environment: Mapping[str, str], limits: Limits
) -> list[str]:
    order = {
        "readable": list(folders),
        "environment": dict(environment),
        "tmp_bytes": limits.tmp_bytes,
    }
    return [sys.executable, "-I", namespaces.__file__, json.dumps(order), "--", *argv]


@functools.cache
def _namespaces_refused() -> str:
    """Why user namespaces cannot be used here; empty where they can."""
    probe = _in_namespaces([shutil.which("true") or "/bin/true"], _SYSTEM, {}, Limits())
    try:
        done = subprocess.run(
            probe, capture_output=True, text=True, check=False, timeout=_PROBE_LIMIT_S, env={}
        )
    except subprocess.TimeoutExpired:
        return "making user namespaces hangs"
    lines = done.stderr.strip().splitlines() or ["no reason given"]
    return f"user namespaces cannot be had ({lines[-1]})" if done.returncode else ""


def find_bwrap() -> tuple[str | None, str]:
    """The path of a bubblewrap that works on this machine, or None and why there is none."""
    path = shutil.which("bwrap")
    if path is None:
        return None, "bubblewrap (bwrap) is not installed on this machine"
    why = _why_not(path)
    return (None, why) if why else (path, "")


@functools.cache
def _why_not(bwrap: str) -> str:
    """Why this bubblewrap cannot be used; empty where it can."""
    options = subprocess.run([bwrap, "--help"], capture_output=True, text=True, check=False)
    if missing := [o for o in ("--size", "--clearenv") if o not in options.stdout + options.stderr]:
        return f"{bwrap} is too old (it has no {' and no '.join(missing)}; 0.8 has)"
    probe = [bwrap, "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/"]
    probe += ["--proc", "/proc", "--dev", "/dev", "--", shutil.which("true") or "/bin/true"]
    try:
        done = subprocess.run(
            probe, capture_output=True, text=True, check=False, timeout=_PROBE_LIMIT_S
        )
    except subprocess.TimeoutExpired:
        return f"{bwrap} hangs"
    return f"{bwrap} may not make a sandbox here: {done.stderr.strip()}" if done.returncode else ""


def _refusal(why: str) -> str:
    return (
        f"programs that a model wrote are not run without a sandbox, and {why}.\n"
        "Cure: install bubblewrap >= 0.8 on the compute nodes (apt/dnf install bubblewrap; conda-"
        "forge has it too) and let users make namespaces (sysctl user.max_user_namespaces > 0, "
        "kernel.apparmor_restrict_unprivileged_userns=0).\n"
        "Where the job runs in a container that is thrown away, "
        "evaluation.allow_unsandboxed_code: true accepts the risk."
    )


def python_command(module: str, packages: Sequence[str]) -> tuple[list[str], list[Path], str]:
    """How to run `python -m module` where only a few folders are visible.

    Returns the command, the folders that it has to read, and its PYTHONPATH. The interpreter is
    the one under any virtual environment, since its links may lead through invisible folders;
    `packages` are those that the module imports besides the standard library and this package.

    Raises:
        EvaluationError: a package is not installed.
    """
    import harness

    package = Path(harness.__file__).resolve().parent
    folders = [_site_folder(name) for name in packages]
    executable = Path(sys.executable).resolve()
    prefixes = [Path(sys.base_prefix), Path(sys.base_prefix).resolve(), executable.parent.parent]
    libraries = [Path(p) for p in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if p]
    safe = [path for path in [*prefixes, *libraries] if path.is_absolute() and len(path.parts) > 1]
    path = os.pathsep.join(dict.fromkeys([str(package.parent), *map(str, folders)]))
    return [str(executable), "-m", module], [*safe, package, *folders], path


def _site_folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise EvaluationError(f"the package {package} is not installed in {sys.prefix}")
    return Path(next(iter(spec.submodule_search_locations))).parent


def watcher(limits: Limits) -> Callable[[int], str | None]:
    """A function of a process id: why its whole family has to be killed, or None."""
    page = os.sysconf("SC_PAGE_SIZE")

    def watch(pid: int) -> str | None:
        tasks = memory = 0
        for member in family(pid):
            try:
                tasks += len(os.listdir(f"/proc/{member}/task"))
                memory += int(Path(f"/proc/{member}/statm").read_text().split()[1]) * page
            except (OSError, IndexError):  # it has just ended
                continue
            if tasks > limits.tasks:
                return f"more than {limits.tasks} processes and threads"
            if memory > limits.memory_bytes:
                return f"more than {limits.memory_bytes >> 20} MiB of memory"
        return None

    return watch


def limit_myself(limits: Limits) -> None:
    """Set the limits that a process sets for itself and its children; called inside."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.file_bytes, limits.file_bytes))
    # Before Linux 5.14 this counts all of the user's processes on the node, an inference server's
    # threads among them, and would fail honest programs; the watcher bounds them there.
    version = re.match(r"(\d+)\.(\d+)", os.uname().release)
    if version and tuple(map(int, version.groups())) >= _KERNEL_COUNTS_PER_NAMESPACE:
        resource.setrlimit(resource.RLIMIT_NPROC, (limits.tasks, limits.tasks))
