"""Is the model there: a folder, a snapshot in the Hub's cache, or an id that the Hub answers for."""

from __future__ import annotations

import os
import re
from pathlib import Path

from harness.preflight.findings import Finding, error, note
from harness.runs.models.folder import broken_weights, cached_snapshot

_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}(/[A-Za-z0-9_.-]{1,96})?")
_TIMEOUT_S = 8.0
PLACE = "train.model_name"


def check_model(name: str) -> list[Finding]:
    """Findings about `train.model_name`."""
    folder = Path(name)
    if folder.is_dir():
        return _check_folder(folder)
    if folder.is_absolute() or name.startswith((".", "~")) or not _HUB_ID.fullmatch(name):
        return [error(PLACE, f"{name}: no such folder, and no id on the Hub")]
    if cached_snapshot(name):
        return []
    return _check_hub(name)


def _check_folder(folder: Path) -> list[Finding]:
    findings = []
    if not (folder / "config.json").is_file():
        findings.append(
            error(PLACE, f"{folder}: no config.json in it", "Give a model's own folder")
        )
    findings += [error(PLACE, f"{folder}: {text}") for text in broken_weights(folder)]
    if not (folder / "tokenizer_config.json").is_file():
        findings.append(error(PLACE, f"{folder}: no tokenizer (tokenizer_config.json) in it"))
    return findings


def _check_hub(name: str) -> list[Finding]:
    import httpx

    endpoint = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    cure = (
        f"Where there is internet: hf download {name} --local-dir FOLDER; "
        "then set train.model_name to FOLDER"
    )
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        missing = f"{name} is not a folder and not in the Hub's cache, and HF_HUB_OFFLINE is set"
        return [error(PLACE, missing, cure)]
    token = os.environ.get("HF_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        answer = httpx.head(
            f"{endpoint}/{name}/resolve/main/config.json",
            headers=headers, timeout=_TIMEOUT_S, follow_redirects=True,
        )  # fmt: skip
    except (httpx.HTTPError, httpx.InvalidURL) as problem:
        reason = f"{name} is not a folder and not in the Hub's cache, and the Hub cannot be reached"
        return [error(PLACE, f"{reason} ({problem})", cure)]
    if answer.status_code == 200:
        return [note(PLACE, f"{name} is not in the Hub's cache yet; the training job downloads it")]
    if answer.status_code in (401, 403):
        return [error(PLACE, f"{name}: the Hub answers {answer.status_code}: gated, private or no such model",
                      "Accept its licence on the Hub and export HF_TOKEN")]  # fmt: skip
    return [error(PLACE, f"{name}: the Hub answers {answer.status_code}", "Check the id")]
