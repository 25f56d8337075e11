"""Writes what a real Slurm prints into a folder, for the tests of the parsers.

Run as root from the repository root: ``python -m tests.slurm.capture [FOLDER]`` (about two minutes);
by default into tests/captured/slurm, which is of Slurm 22.05. Of 24.11, whose folder is beside it,
only what a test reads is kept. `jobs.json` says which job id is which case. Paths, host names and ports of the machine are replaced
by neutral ones; the user is root because a private cluster needs it.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from tests.support import ROOT

from .cluster import PrivateSlurm

FOLDER = ROOT / "tests" / "captured" / "slurm"
WHOLE = ("env", "SLURM_BITSTR_LEN=0")
HOME = "/home/user"
SACCT = (
    "JobID,JobIDRaw,JobName,Partition,Account,State,ExitCode,DerivedExitCode,Submit,Start,End,"
    "Elapsed,Timelimit,NodeList,AllocTRES,Reason"
)
SQUEUE = "%i|%F|%K|%j|%T|%r|%P|%E|%M|%l|%S|%N|%R"
LONG = "--wrap=sleep 600"


class Capture:
    """The jobs of every case, and the files their outputs go to."""

    def __init__(self, slurm: PrivateSlurm, work: Path, folder: Path) -> None:
        self.slurm = slurm
        self.work = work
        self.folder = folder
        self.jobs: dict[str, str] = {}

    def submit(self, case: str, *options: str) -> str:
        array = any(option.startswith("--array") for option in options)
        output = "%A_%a.out" if array else "%j.out"
        place = [f"--chdir={self.work}", f"--output={self.work}/{output}", f"--job-name={case}"]
        self.jobs[case] = job = self.slurm.submit(*place, *options)
        return job

    def neutral(self, text: str) -> str:
        """The text without anything that is of this machine."""
        slurm = self.slurm
        for own, neutral in (
            (str(self.work), HOME),
            (str(slurm.folder), "/var/lib/slurm"),
            (str(Path.cwd()), HOME),
            (socket.gethostname(), "login1"),
            ("localhost", "login1"),
        ):
            for slash in ("/", "\\/"):  # Slurm's JSON escapes it
                pattern = re.escape(own.replace("/", slash))
                put = neutral.replace("/", slash).replace("\\", "\\\\")
                text = re.sub(rf"(?<![\w/]){pattern}(?!\w)", put, text)
        return text

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(self.neutral(text))

    def output(self, name: str, *argv: str) -> None:
        """One command's standard output, with the command itself in `<name>.command`."""
        self.write(name, self.slurm.run(*argv))
        self.note(name, argv)

    def note(self, name: str, argv: tuple[str, ...]) -> None:
        with (self.folder / "commands.txt").open("a") as file:
            file.write(self.neutral(f"{name}: {' '.join(argv)}\n"))

    def refusal(self, name: str, *argv: str, config: str = "") -> None:
        """One command that fails: its exit status and its standard error."""
        prefix = ["env", f"SLURM_CONF={config}"] if config else []
        done = self.slurm.attempt(*prefix, *argv)
        self.write(f"error-{name}.txt", done.stderr + f"exit {done.returncode}\n")
        self.note(f"error-{name}", argv)


def ended(capture: Capture) -> None:
    """One job of each way to end, the nodes used one after another."""
    slurm, submit = capture.slurm, capture.submit
    submit("completed", "--gres=gpu:8", "--wrap=sleep 2")
    submit("failed", "--gres=gpu:1", "--wrap=exit 3")
    submit("killed-by-signal", "--wrap=kill -9 $$")
    submit("mixed-array", "--array=0-2%2", "--wrap=exit $SLURM_ARRAY_TASK_ID")
    submit("with-steps", "--gres=gpu:2", "--wrap=srun true; srun false")
    never = submit(
        "dependency-never-satisfied", f"--dependency=afterok:{capture.jobs['failed']}", LONG
    )
    slurm.run("scancel", submit("cancelled-while-pending", "--hold", LONG))
    names = ("cancelled-while-running", "timeout", "requeued", "node-fail", "node-fail-requeued")
    for name in names:
        option = ["--no-requeue"] if name == "node-fail" else []
        where = "gpu1" if name.startswith("node-fail") else "gpu2"
        slurm.wait_for(submit(name, "--gres=gpu:1", "-w", where, *option, LONG), "RUNNING")
    slurm.run("scancel", capture.jobs["cancelled-while-running"])
    slurm.expire(capture.jobs["timeout"])
    slurm.run("scontrol", "requeue", capture.jobs["requeued"])
    slurm.kill_slurmd("gpu1")
    slurm.run("scontrol", "update", f"jobid={capture.jobs['node-fail-requeued']}", "reqnodelist=")
    for name in ("preempted", "preempted-requeued"):
        option = ["--no-requeue"] if name == "preempted" else []
        low = submit(name, "-p", "scavenge", "-w", "gpu3", "--gres=gpu:4", *option, LONG)
        slurm.wait_for(low, "RUNNING")
    slurm.wait_for(submit("preemptor", "-w", "gpu3", "--gres=gpu:8", "--wrap=sleep 5"), "RUNNING")
    slurm.wait_for(capture.jobs["timeout"], "TIMEOUT", timeout=60)
    slurm.wait_for(capture.jobs["requeued"], "RUNNING")
    slurm.wait_until(lambda: slurm.job(never)["Reason"] == "DependencyNeverSatisfied")
    capture.output("sinfo-node-down.txt", "sinfo", "-h", "-N", "-o", "%N|%P|%t|%G|%C|%m|%E")
    slurm.start_slurmd("gpu1")
    slurm.wait_for(capture.jobs["node-fail-requeued"], "RUNNING")
    slurm.wait_for(capture.jobs["preempted-requeued"], "RUNNING")


def waiting(capture: Capture) -> None:
    """Training that runs, with arrays that wait for it, and other reasons to wait."""
    slurm, submit = capture.slurm, capture.submit
    train = submit("train", "--gres=gpu:8", "--time=2:00:00", "--signal=USR2@120", LONG)
    slurm.wait_for(train, "RUNNING")
    submit("eval-waiting", "--array=0-3%2", "--gres=gpu:1", f"--dependency=afterok:{train}", LONG)
    running = submit("eval-running", "--array=0,2,5", "--gres=gpu:1", LONG)
    slurm.wait_for(running, "RUNNING")
    throttled = submit("eval-throttled", "--array=0-4%1", LONG)
    slurm.wait_until(lambda: "RUNNING" in slurm.job_states(throttled).values())
    submit("closer", f"--dependency=afterany:{train}", LONG)
    submit("held", "--hold", LONG)
    submit("begin-later", "--begin=now+1hour", LONG)
    # Taken without a word, and the first two never started (EnforcePartLimits=NO, the default):
    submit("time-above-partition", "--time=8-00:00:00", LONG)
    for name, option in (
        ("too-many-nodes", "--nodes=4"),
        ("dependency-on-unknown-job", "--dependency=afterok:99999"),
    ):
        with suppress(RuntimeError):  # 24.11 refuses them
            submit(name, option, LONG)
    big = submit("resources", "--nodes=3", "--gres=gpu:8", LONG)
    slurm.wait_until(lambda: slurm.job(big)["Reason"] in {"Resources", "Priority"})
    # slurmdbd learns of jobs some seconds after slurmctld.
    ask = ("sacct", "-X", "-n", "-P", "-j", big, "--format=State")
    slurm.wait_until(lambda: slurm.run(*ask).strip() == "PENDING")


def accounting(capture: Capture) -> None:
    """sacct and squeue, as a person or a program would ask."""
    output = capture.output
    base = ("-n", "-P", "-S", "now-1hour", f"--format={SACCT}")
    output("sacct-X.txt", "sacct", "-X", *base)
    output("sacct-X-duplicates.txt", "sacct", "-X", "-D", *base)
    output("sacct-steps.txt", "sacct", *base)
    output("sacct-header.txt", "sacct", "-X", "-P", "-S", "now-1hour", f"--format={SACCT}")
    every = ",".join(capture.jobs.values())
    output("sacct-X-by-job.txt", "sacct", "-X", "-n", "-P", "-j", every, f"--format={SACCT}")
    wanted = ",".join([capture.jobs["completed"], capture.jobs["mixed-array"]])
    output("sacct.json", "sacct", "--json", "-j", wanted)
    output("squeue.txt", "squeue", "-h", "-o", SQUEUE)
    output("squeue-r.txt", "squeue", "-h", "-r", "-o", SQUEUE)
    output("squeue-all-states.txt", "squeue", "-h", "-r", "-t", "all", "-o", SQUEUE)
    output("squeue.json", "squeue", "--json")
    names = ("eval-waiting", "eval-throttled", "train", "dependency-never-satisfied")
    for name in (*names, "requeued", "timeout", "held"):
        output(f"scontrol-show-job-{name}.txt", "scontrol", "-d", "show", "job", capture.jobs[name])
    output("sinfo.txt", "sinfo", "-h", "-o", "%P|%a|%l|%D|%t|%N|%G|%c|%m")
    output("sinfo-nodes.txt", "sinfo", "-h", "-N", "-o", "%N|%P|%t|%G|%C|%m|%E")
    output("scontrol-show-partition.txt", "scontrol", "show", "partition")
    output("scontrol-ping.txt", "scontrol", "ping")
    output("scontrol-version.txt", "scontrol", "--version")
    keys = "MaxArraySize|MaxJobCount|AccountingStorage(?!Port)|JobRequeue|KillWait|SLURM_VERSION"
    keys += "|PreemptMode|PreemptType|OverTimeLimit|SelectType|GresTypes|SlurmctldHost|MinJobAge"
    keys += "|ClusterName|EnforcePartLimits"
    lines = capture.slurm.run("scontrol", "show", "config").splitlines()
    kept = [line for line in lines if re.match(rf"({keys})", line)]
    capture.write("scontrol-show-config.txt", "\n".join(kept) + "\n")


def long_arrays(capture: Capture) -> None:
    """A long array of chosen tasks, as a retry submits it: its list is cut."""
    slurm, output = capture.slurm, capture.output
    blocker = capture.submit("blocker", "--nodes=3", "--gres=gpu:8", LONG)
    # A job that could never have started (--hold) is not in the accounts.
    tasks = ",".join(f"{first}-{first + 3}" for first in range(0, 100, 5))
    array = capture.submit("long-array", f"--array={tasks}%3", "--gres=gpu:1", LONG)
    ask = ("sacct", "-X", "-n", "-P", "-j", array, "--format=JobID,State,ExitCode,NodeList")
    slurm.wait_until(lambda: "PENDING" in slurm.run(*ask))
    output("squeue-array-cut.txt", "squeue", "-h", "-t", "all", "-j", array, "-o", "%i|%T|%r")
    slurm.run("scancel", array, blocker)
    slurm.wait_until(lambda: "PENDING" not in slurm.run(*ask))
    output("sacct-array-cut.txt", *ask)
    output("sacct-array.txt", *WHOLE, *ask)
    output("sbatch.txt", "sbatch", "--hold", "--wrap=:")
    output("sbatch-parsable.txt", "sbatch", "--parsable", "--hold", "--wrap=:")
    name = "a.20260101-000000-aaaa:train"
    array = capture.submit("named", f"--job-name={name}", "--array=0-2", "--hold", LONG)
    output("squeue-name.txt", "squeue", "-h", "-t", "all", "-n", name, "-o", "%F|%j")


def refusals(capture: Capture) -> None:
    """What Slurm says when it refuses, and when a daemon is not there."""
    slurm, refuse = capture.slurm, capture.refusal
    for name, option in (
        ("unknown-partition", "--partition=nowhere"),
        ("invalid-account", "--account=nobodys"),
        ("invalid-qos", "--qos=nothing"),
        ("too-many-gpus", "--gres=gpu:9"),
        ("unknown-gres-type", "--gres=gpu:h100:8"),
        ("too-much-memory", "--mem=2000G"),
        ("array-above-MaxArraySize", "--array=0-1001"),
        ("unknown-option", "--no-such-option"),
    ):
        refuse(name, "sbatch", option, "--wrap=true")
    who = ("user", "where", "name=root", "account=research", "set")
    slurm.run("sacctmgr", "-i", "modify", *who, "MaxSubmitJobs=2")
    slurm.wait_until(lambda: slurm.attempt("sbatch", "--array=0-9", "--wrap=:").returncode != 0)
    refuse("max-submit-jobs", "sbatch", "--array=0-9", "--wrap=true")
    slurm.run("sacctmgr", "-i", "modify", *who, "MaxSubmitJobs=-1")
    refuse("squeue-unknown-job", "squeue", "-j", "99999")
    ended_job = f"jobid={capture.jobs['failed']}"
    refuse("scontrol-update-ended-job", "scontrol", "update", ended_job, "dependency=")
    refuse("scontrol-unknown-job", "scontrol", "show", "job", "99999")
    refuse("scontrol-requeue-unknown-job", "scontrol", "requeue", "99999")
    refuse("scancel-unknown-job", "scancel", "99999")
    real = (slurm.folder / "slurm.conf").read_text()
    elsewhere = slurm.folder / "elsewhere.conf"
    for name, pattern, argv in (
        ("sbatch-controller-down", r"SlurmctldPort=\d+", ("sbatch", "--wrap=true")),
        ("squeue-controller-down", r"SlurmctldPort=\d+", ("squeue",)),
        ("sacct-slurmdbd-down", r"AccountingStoragePort=\d+", ("sacct", "-X")),
        ("sacct-accounting-off", r"AccountingStorage.*", ("sacct", "-X")),
    ):
        new = "" if name.endswith("off") else pattern.partition("=")[0] + "=1"
        elsewhere.write_text(re.sub(pattern, new, real))
        refuse(name, *argv, config=str(elsewhere))


def main(folder: Path = FOLDER) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    work = Path(tempfile.mkdtemp())
    try:
        with PrivateSlurm() as slurm:
            capture = Capture(slurm, work, folder)
            ended(capture)
            waiting(capture)
            accounting(capture)
            long_arrays(capture)
            refusals(capture)
            (folder / "jobs.json").write_text(json.dumps(capture.jobs, indent=1) + "\n")
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
