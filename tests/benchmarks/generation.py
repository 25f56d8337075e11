"""Generated tokens/s of our client, against vLLM's own load generator, at the same server.

    python -m tests.benchmarks.generation VLLM_VENV [ROUNDS] [ITEMS] [CONCURRENCY] [TOKENS]

VLLM_VENV is an environment with vLLM (tests/slow/install_vllm_cpu.sh makes one for CPU), and with
the pandas and datasets that its load generator wants. One real server; in turn (A B A B …) ours
asks ITEMS word problems and `vllm bench serve` sends the same, both with CONCURRENCY requests under
way and TOKENS tokens an answer (end tokens ignored). The model is SmolLM2-135M where
$HARNESS_SMOLLM2 names its folder (tests/run.sh makes one), else a tiny random one. Ours is timed
until its last answer is on disk.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.benchmarks import arithmetic
from harness.benchmarks.registry import BENCHMARKS
from harness.compute.evaluate.answers.generate import Generation, generate
from harness.compute.serve import ServeRequest, serve
from harness.compute.serve.server import RunningServer
from harness.config.evaluation import EvaluationSpec
from tests.tiny_model import make_tiny_model

TEMPERATURE = 0.6
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def ours(
    server: RunningServer, folder: Path, questions: list[str], concurrency: int, tokens: int
) -> float:
    items = [{"id": f"q/{n}", "question": text} for n, text in enumerate(questions)]
    work = Generation(BENCHMARKS["arithmetic"], items, 0, folder / "answers.jsonl",
                      {"ignore_eos": True})  # fmt: skip
    evaluation = EvaluationSpec.model_validate(
        {"benchmarks": ["arithmetic"], "concurrency": concurrency,
         "sampling": {"temperature": TEMPERATURE, "top_p": 1.0, "max_tokens": tokens}}
    )  # fmt: skip
    began = time.monotonic()
    answers = generate(work, server, evaluation)
    seconds = time.monotonic() - began
    rows = list(answers.rows([str(item["id"]) for item in items]))
    total = sum(row["num_generated_tokens"] for row in rows)
    assert total == len(items) * tokens, f"{total} tokens where {len(items) * tokens} were asked"
    return float(total / seconds)


def theirs(
    server: RunningServer, venv: Path, folder: Path, questions: list[str], concurrency: int,
    tokens: int, model: Path,
) -> float:  # fmt: skip
    prompt = BENCHMARKS["arithmetic"].prompt
    rows = [{"prompt": prompt.format(question=q), "output_tokens": tokens} for q in questions]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    argv = [
        str(venv / "bin" / "vllm"), "bench", "serve", "--backend", "openai-chat",
        "--base-url", server.base_url.removesuffix("/v1"), "--endpoint", "/v1/chat/completions",
        "--model", server.model, "--tokenizer", str(model), "--dataset-name", "custom",
        "--dataset-path", str(folder / "prompts.jsonl"), "--custom-output-len", str(tokens),
        "--skip-chat-template", "--disable-shuffle", "--num-prompts", str(len(questions)),
        "--max-concurrency", str(concurrency), "--temperature", str(TEMPERATURE), "--ignore-eos",
        "--save-result", "--result-dir", str(folder), "--result-filename", "result.json",
    ]  # fmt: skip
    env = {**os.environ, "OPENAI_API_KEY": server.api_key, "HF_HUB_OFFLINE": "1",
           "PATH": f"{venv / 'bin'}:{os.environ['PATH']}"}  # fmt: skip
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(
            f"vllm bench serve exited {done.returncode}:\n{done.stdout}\n{done.stderr}"[-4000:]
        )
    result = json.loads((folder / "result.json").read_text())
    assert result["completed"] == len(questions), f"{result['completed']} answers"
    return float(result["output_throughput"])


def main(venv: Path, rounds: int, count: int, concurrency: int, tokens: int) -> None:
    questions = [str(p["question"]) for p in arithmetic.problems("test", count)]
    found: dict[str, list[float]] = {"ours": [], "vllm bench": []}

    def wrap(argv: list[str]) -> list[str]:
        return [
            "env",
            f"PATH={venv / 'bin'}:{os.environ['PATH']}",
            "VLLM_CPU_KVCACHE_SPACE=1",
            *argv,
        ]

    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        real = os.environ.get("HARNESS_SMOLLM2")
        model = Path(real) if real else make_tiny_model(base / "tiny", chat_template=TEMPLATE)
        request = ServeRequest(
            engine="vllm", model=str(model), served_name="bench", tensor_parallel=1,
            max_model_len=1024, gpu_memory_utilization=0.5, ready_timeout_s=900, wrap=wrap,
            extra_flags={"enforce_eager": True, "enable_prefix_caching": False},
            log_path=base / "server.log",
        )  # fmt: skip
        with serve(request) as server:
            print(f"server ready after {server.start_seconds:.0f} s", flush=True)
            warm = base / "warm"
            warm.mkdir()
            ours(server, warm, questions[:concurrency], concurrency, tokens)
            for number in range(rounds):
                folder = base / str(number)
                folder.mkdir()
                found["ours"].append(ours(server, folder, questions, concurrency, tokens))
                found["vllm bench"].append(
                    theirs(server, venv, folder, questions, concurrency, tokens, model)
                )
                print(f"round {number + 1} of {rounds}: "
                      + ", ".join(f"{who} {v[-1]:.1f} tokens/s" for who, v in found.items()),
                      flush=True)  # fmt: skip
    ratio = statistics.median(found["ours"]) / statistics.median(found["vllm bench"])
    print(f"ratio of medians {ratio:.3f} (goal: at least 0.95)")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    given = list(map(int, sys.argv[2:]))
    main(Path(sys.argv[1]).resolve(), *[*given, *(3, 128, 16, 64)[len(given) :]])
