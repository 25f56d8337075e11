"""Judgements on disk: each is paid for once, so each is written as it comes and never dropped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.compute.evaluate.judge.calls import Call
from harness.errors import ResultError

Judgement = dict[str, Any]


def key_of(call: Call, request: Mapping[str, Any]) -> str:
    """Identity of a call: item, order or turn, the judge's settings, the whole prompt.

    `request` holds the judge's model and settings; the prompt holds the answers. When any of
    these changes, so does the key, and nothing stale is taken.
    """
    whole = [call.item, call.name, call.messages, dict(request)]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:32]


def read_judgements(path: Path) -> dict[str, Judgement]:
    """By key. A torn last line is cut off the file.

    Raises ResultError for a damaged line elsewhere: to go on would pay again for what it holds.
    """
    if not path.is_file():
        return {}
    found: dict[str, Judgement] = {}
    whole = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                break
            try:
                row = json.loads(line)
                found[row["key"]] = row
            except (ValueError, TypeError, KeyError):
                raise ResultError(
                    f"{path}:{number}: not a judgement; remove that line to have it judged again"
                ) from None
            whole += len(line)
    if whole != path.stat().st_size:
        with path.open("r+b") as file:
            file.truncate(whole)
    return found
