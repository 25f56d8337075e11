"""A sandbox from the kernel's own user namespaces, for machines without bubblewrap.

    python -I namespaces.py '{"readable": [...], "environment": {...}, "tmp_bytes": N}' -- argv...

What bubblewrap would do for sandbox.py, by the same calls (namespaces(7), mount_namespaces(7)):
new user, process-id, mount, network, IPC and host-name namespaces; a root of tmpfs, with only what
is readable bound into it, read-only; then a second user namespace, in which the program owns
nothing, so that it can undo none of it. Standard library only: it runs as a file by itself.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import re
import signal
import socket
import sys
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_NEW_USER, _NEW_NS, _NEW_PID, _NEW_NET = 0x10000000, 0x00020000, 0x20000000, 0x40000000
_NEW_IPC, _NEW_UTS = 0x08000000, 0x04000000
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND = 1, 2, 4, 8, 32, 4096
_REC, _PRIVATE, _DETACH = 16384, 1 << 18, 2
_PDEATHSIG, _DUMPABLE, _CAPBSET_DROP, _NO_NEW_PRIVS = 1, 4, 24, 38
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "ppc64le": 203}
_DEVICES = ("null", "zero", "full", "random", "urandom")
_ESCAPE = re.compile(r"\\([0-7]{3})")  # of a blank, tab, newline or backslash in mountinfo
NOBODY = 65534


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    encoded = [None if text is None else text.encode() for text in (source, target, kind, data)]
    source_, target_, kind_, data_ = encoded
    result = _LIBC.mount(source_, target_, kind_, ctypes.c_ulong(flags), data_)
    _check(result, f"mount {target}")


def _new_namespaces(flags: int, inside: int) -> None:
    """Unshare; in the new user namespace our own user and group are number `inside`."""
    user, group = os.getuid(), os.getgid()
    _check(_LIBC.unshare(flags | _NEW_USER), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{inside} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{inside} {group} 1")


def _bind(source: str, target: str) -> None:
    """Show a file or folder of the old root inside, read-only with all that is mounted below it."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o600))
    _mount(source, target, None, _BIND | _REC)
    for point in _mount_points(target):
        # Flags that the mount has already are locked, and have to be named again.
        kept = _as_mount_flags(os.statvfs(point).f_flag)
        _mount("none", point, None, _BIND | _REMOUNT | _RDONLY | kept)


def _as_mount_flags(flags: int) -> int:
    """statvfs tells noatime, nodiratime and relatime by other bits than mount(2) takes."""
    found = flags & (_NOSUID | _NODEV | _NOEXEC)
    for told, taken in ((1024, 1024), (2048, 2048), (4096, 1 << 21)):
        found |= taken if flags & told else 0
    return found


def _mount_points(below: str) -> list[str]:
    points = []
    for line in Path("/.old/proc/self/mountinfo").read_text().splitlines():
        point = _ESCAPE.sub(lambda found: chr(int(found[1], 8)), line.split(" ")[4])
        if point == below or point.startswith(f"{below}/"):
            points.append(point)
    return points


def _tmpfs(target: str, size: int) -> None:
    os.makedirs(target, exist_ok=True)
    _mount("tmpfs", target, "tmpfs", _NOSUID | _NODEV, f"size={size},mode=755")


def _plan(readable: list[str]) -> list[tuple[str, str, str]]:
    """(`link` | `bind`, from, to) for what exists; links like /bin -> usr/bin stay links."""
    found = []
    for path in dict.fromkeys(readable):
        if os.path.islink(path):
            found.append(("link", os.readlink(path), path))
        if os.path.exists(path):
            found.append(("bind", os.path.realpath(path), os.path.realpath(path)))
            if not os.path.islink(path) and os.path.realpath(path) != path:
                found.append(("bind", os.path.realpath(path), path))
    return found


def _build_root(readable: list[str], tmp_bytes: int) -> None:
    """Make a new root of tmpfs the root of this process; the old one is gone then."""
    plan = _plan(readable)
    _mount("none", "/", None, _REC | _PRIVATE)
    _tmpfs("/tmp", 1 << 20)
    os.mkdir("/tmp/.old")
    number = _PIVOT_ROOT[platform.machine()]
    _check(_LIBC.syscall(number, b"/tmp", b"/tmp/.old"), "pivot_root")
    os.chdir("/")
    _tmpfs("/tmp", tmp_bytes)
    for how, source, target in plan:
        if os.path.lexists(target) and (how == "link" or _mount_points(target)):
            continue
        if how == "bind":
            _bind(f"/.old{source}", target)
        else:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.symlink(source, target)
    os.makedirs("/proc", exist_ok=True)
    _mount("proc", "/proc", "proc", _NOSUID | _NODEV | _NOEXEC)
    _make_devices(tmp_bytes)
    _check(_LIBC.umount2(b"/.old", _DETACH), "umount of the old root")
    os.rmdir("/.old")
    _mount("none", "/", None, _BIND | _REMOUNT | _RDONLY | _NOSUID | _NODEV)
    os.chdir("/tmp")


def _make_devices(tmp_bytes: int) -> None:
    _tmpfs("/dev", 1 << 16)
    for name in _DEVICES:
        Path(f"/dev/{name}").touch()
        _mount(f"/.old/dev/{name}", f"/dev/{name}", None, _BIND)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.symlink(f"/proc/self/fd/{number}", f"/dev/{name}")
    os.symlink("/proc/self/fd", "/dev/fd")
    _tmpfs("/dev/shm", tmp_bytes)
    _mount("none", "/dev", None, _BIND | _REMOUNT | _RDONLY | _NOSUID | _NODEV)


def _own_nothing() -> None:
    """Give up every capability for good: those of a second user namespace go with exec.

    A new user namespace begins with a full bounding set (user_namespaces(7)), so it is emptied there.
    """
    _check(_LIBC.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    _new_namespaces(0, NOBODY)
    for capability in range(64):
        _LIBC.prctl(_CAPBSET_DROP, capability, 0, 0, 0)


def _first_process(order: dict[str, object], argv: list[str]) -> int:
    """Process 1 inside: runs the program, reaps what it leaves, ends as it ends."""
    _LIBC.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    _build_root(list(order["readable"]), int(str(order["tmp_bytes"])))  # type: ignore[call-overload]
    socket.sethostname("sandbox")
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", **dict(order["environment"])}  # type: ignore[call-overload]
    program = os.fork()
    if program == 0:
        os.setsid()
        _own_nothing()
        os.execve(argv[0], argv, environment)
    _LIBC.prctl(_DUMPABLE, 0, 0, 0, 0)
    while True:
        process, status = os.wait()
        if process == program:
            return os.waitstatus_to_exitcode(status)


def main() -> int:
    """Run the program in new namespaces; its exit code, or 128 + the signal that ended it."""
    order, argv = json.loads(sys.argv[1]), sys.argv[3:]
    _LIBC.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    _new_namespaces(_NEW_NS | _NEW_PID | _NEW_NET | _NEW_IPC | _NEW_UTS, 0)
    first = os.fork()
    if first == 0:
        code = 125
        try:
            code = _first_process(order, argv)
        except Exception as error:  # os._exit would hide it
            print(f"sandbox: {error!r}", file=sys.stderr, flush=True)
        finally:
            os._exit(code if code >= 0 else 128 - code)
    _, status = os.waitpid(first, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
