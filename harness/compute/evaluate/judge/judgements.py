"""Judgements on disk: each is paid for once, so each is written as it comes and never dropped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.compute.evaluate.judge.calls import Call
from harness.runs.rows import readable

Judgement = dict[str, Any]
_COUNTS = ("prompt_tokens", "completion_tokens")


def key_of(call: Call, request: Mapping[str, Any]) -> str:
    """Identity of a call: item, order or turn, the judge's settings, the whole prompt.

    `request` holds the judge's model and settings; the prompt holds the answers. When any of
    these changes, so does the key, and nothing stale is taken.
    """
    whole = [call.item, call.name, call.messages, dict(request)]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:32]


def read_judgements(path: Path) -> dict[str, Judgement]:
    """By key, the later of two. A damaged line costs its own judgement and no other; it is told."""
    found: dict[str, Judgement] = {}
    damaged = 0
    if path.is_file():
        for _, row in readable(path):
            if row is None or not _is_judgement(row):
                damaged += 1
            else:
                found[row["key"]] = row
    if damaged:
        print(f"{damaged} lines of {path} are damaged: what cannot be read of them is judged again",
              flush=True)  # fmt: skip
    return found


def _is_judgement(row: Judgement) -> bool:
    return (
        isinstance(row.get("key"), str)
        and isinstance(row.get("judgement"), str)
        and all(isinstance(row.get(name), int | None) for name in _COUNTS)
    )
