"""The process between us and a program that we ask: however we die, the program ends with us.

    python -m harness.processes.tether STARTER_PID PROGRAM ARGUMENT…

`shell.tethered` runs it; standard library only. The program has our streams, and this process ends as
the program ended. When the starter dies, by kill -9 too, the program and all that it started are
killed: as a "child subreaper" this process inherits every orphan below it.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys

from harness.processes.shell import cannot_start
from harness.processes.supervisor import PR_SET_CHILD_SUBREAPER, PR_SET_PDEATHSIG, prctl
from harness.processes.tree import descendants
from harness.processes.tree import end as end_tree


def main() -> int:
    """Run the program until it, or the starter, ends; returns its exit code."""
    starter, argv = int(sys.argv[1]), sys.argv[2:]
    me = os.getpid()

    def end(*_: object) -> None:
        end_tree(lambda: descendants(me), grace_s=0)
        os._exit(128 + signal.SIGTERM)

    def in_child() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != me:
            os._exit(1)  # we died before the line above

    prctl(PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGTERM, end)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        # Ctrl-C reaches the program itself. A handler, since the program would inherit "ignore".
        signal.signal(signal.SIGINT, lambda *_: None)
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != starter:  # it died before the line above
        end()
    try:
        code = subprocess.Popen(argv, preexec_fn=in_child).wait()
    except OSError as error:
        code, said = cannot_start(argv[0], error)
        print(said, file=sys.stderr)
    if code < 0:  # by a signal: the same one ends us
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(me, -code)
    return code


if __name__ == "__main__":
    sys.exit(main())
