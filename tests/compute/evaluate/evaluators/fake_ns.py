#!/usr/bin/env python3
"""Behaves like `ns` of NeMo-Skills 0.7.0 as far as its recorded output tree shows; no install of it.

Same commands, options, waiting, file names and shape of metrics.json; it asks the real server.
$FAKE_NS names a failure mode that the real one has, in each of which its exit code is still 0:
`no-done` (an inner command failed), `short` (rows are lost), `no-metrics`, `entries` (metrics of
another number of rows), `hang` (it waits for ever), and `crash`, where the exit code is 1.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

MODE = os.environ.get("FAKE_NS", "")


def option(name: str, default: str = "") -> str:
    given = [a.split("=", 1)[1] for a in sys.argv if a.startswith((f"--{name}=", f"++{name}="))]
    return given[-1] if given else default


def ask(question: str) -> dict[str, Any]:
    body = {
        "model": option("model"),
        "messages": [{"role": "user", "content": question}],
        "temperature": float(option("inference.temperature", "0.0")),
        "max_tokens": int(option("inference.tokens_to_generate", "512")),
        "min_p": 0.0, "repetition_penalty": 1.0, "spaces_between_special_tokens": False,
    }  # fmt: skip
    key = os.environ[option("server.api_key_env_var")]
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    url = f"{option('server_address')}/chat/completions"
    while True:  # the real one waits for its server without end
        try:
            request = urllib.request.Request(url, json.dumps(body).encode(), headers)
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except OSError:
            time.sleep(0.2)


def answer_file(items: list[dict[str, Any]], path: Path) -> list[dict[str, Any]]:
    rows = []
    for item in items:
        choice = ask(item["problem"])["choices"][0]
        text = choice["message"]["content"]
        rows.append({
            **item, "num_generated_tokens": 3, "finish_reason": choice.get("finish_reason", "stop"),
            "generation": text, "predicted_answer": text.split()[-1],
            "symbolic_correct": text.split()[-1] == str(item["expected_answer"]),
        })  # fmt: skip
    if MODE == "short":
        rows = rows[:-1]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if MODE != "no-done":
        path.with_name(f"{path.name}.done").touch()
    return rows


def evaluate() -> None:
    name, _, repeats = option("benchmarks").partition(":")
    data = Path(option("data_dir")) / name / "test.jsonl"
    if not data.exists():
        raise SystemExit(f"ValueError: Data file {data} does not exist locally.")
    items = [json.loads(line) for line in data.read_text().splitlines()]
    if limit := option("max_samples"):
        items = items[: int(limit)]
    if MODE == "hang":
        print("Waiting for the server to start", flush=True)
        time.sleep(3600)
    folder = Path(option("output_dir")) / "eval-results" / name
    names = [f"output-rs{k}.jsonl" for k in range(int(repeats))] if repeats else ["output.jsonl"]
    samples = []
    for file in names:
        path = folder / file
        if path.with_name(f"{file}.done").exists():  # as the real one: not asked again
            samples.append([json.loads(line) for line in path.read_text().splitlines()])
        else:
            samples.append(answer_file(items, path))
    if MODE in ("no-metrics", "no-done"):
        return
    right = [row["symbolic_correct"] for rows in samples for row in rows]
    entries = len(samples[0]) - (1 if MODE == "entries" else 0)
    values = {"num_entries": entries, "avg_tokens": 3, "gen_seconds": 1,
              "symbolic_correct": 100 * sum(right) / len(right), "no_answer": 0.0}  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps({name: {"pass@1": values}}))


if MODE == "crash":
    sys.exit("Traceback: something went wrong inside ns")
if sys.argv[1] == "eval":
    evaluate()
