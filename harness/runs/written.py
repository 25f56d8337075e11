"""The checkpoints that a run wrote or went on from, as they were then: `train/checkpoints.jsonl`.

What stands here was whole once. So a checkpoint that is gone was deleted, and one of the same name
that another run put in its place is not taken for it.
"""

from __future__ import annotations

import json
from pathlib import Path

from harness.runs.checkpoints import read_marker
from harness.runs.files import utc_now
from harness.runs.paths import RunPaths
from harness.runs.rows import append


def note_written(run: RunPaths, checkpoint: Path) -> None:
    """Note a marked checkpoint as the run's own. Raises ResultError for an unreadable marker."""
    marker = read_marker(checkpoint) or {}
    identity = marker.get("fingerprint")
    if not identity or read_written(run).get(checkpoint.name) == identity:
        return
    run.train.mkdir(exist_ok=True)
    with run.written_checkpoints.open("ab") as file:
        if file.tell() and not run.written_checkpoints.read_bytes().endswith(b"\n"):
            file.write(b"\n")  # a torn line costs itself alone
        row = {"checkpoint": checkpoint.name, "fingerprint": identity, "time": utc_now()}
        append(file, row | {"of_run": marker.get("run")})


def read_written(run: RunPaths) -> dict[str, str]:
    """Fingerprints by checkpoint, the newest of each; a line that is torn is left out."""
    found: dict[str, str] = {}
    if not run.written_checkpoints.is_file():
        return found
    for line in run.written_checkpoints.read_bytes().splitlines():
        try:
            row = json.loads(line)
            found[row["checkpoint"]] = row["fingerprint"]
        except (ValueError, KeyError, TypeError):
            continue
    return found
