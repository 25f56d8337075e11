"""Peak memory of one cell: 100,000 items against 2,000, asked, graded and summed up.

    python -m tests.benchmarks.memory [ITEMS] [CHARACTERS OF AN ANSWER] [ITEMS ASKED]

The server is a process of its own that answers at once (chat completions, kept-alive connections);
everything on our side is the real thing. Prints the growth of the peak, and for comparison the
size of the answers on disk. Two cores answer some 100 requests a second: with ITEMS ASKED only the
last so many are asked, and the others' answers lie there already, as after an interruption.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.support import ROOT


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int) -> None:
    filler = "x" * size
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            body = json.loads(await reader.readexactly(length))
            number = body["messages"][0]["content"].rsplit(" ", 1)[1]
            text = f"{filler} {number} \\boxed{{{int(number) % 7}}}"
            choice = {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": text},
            }
            answer = {"id": "x", "object": "chat.completion", "created": 1, "model": "m",
                      "choices": [choice],
                      "usage": {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}}  # fmt: skip
            data = json.dumps(answer).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                % len(data)
                + data
            )
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def serve(size: int) -> None:
    """Answer for ever; the first line printed is the port."""

    async def main() -> None:
        server = await asyncio.start_server(
            lambda r, w: _answer(r, w, size), "127.0.0.1", 0, backlog=256
        )
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    asyncio.run(main())


def one_cell(folder: Path, count: int, port: int, size: int, asked: int) -> dict[str, Any]:
    """Ask, grade and sum up `count` items; peak memory of this process in MB, and times."""
    from harness.benchmarks.custom import register_prepared
    from harness.compute.evaluate.cell import CellWork
    from harness.compute.evaluate.prepare import prepare_own
    from harness.compute.serve.external import ForeignServer
    from harness.config.evaluation import EvaluationSpec
    from harness.plan.plan import Cell
    from harness.runs.metrics import read_metrics
    from harness.runs.paths import CellPaths

    with (folder / "rows.jsonl").open("w") as file:
        for n in range(count):
            row = {"question": f"What is this number modulo seven? {n}", "expected_answer": n % 7}
            file.write(json.dumps(row) + "\n")
    (folder / "many.yaml").write_text("data: rows.jsonl\ngrader: math\n")
    # Preparing is the login node's work, and another process's.
    if os.fork() == 0:
        prepare_own(folder / "many.yaml", folder / "data")
        os._exit(0)
    assert os.wait()[1] == 0
    (folder / "cell").mkdir()
    with (folder / "cell" / "partial-rs0.jsonl").open("w") as file:
        for n in range(count - asked):
            text = f"{'x' * size} {n} \\boxed{{{n % 7}}}"
            row = {"id": f"many/{n}", "generation": text, "finish_reason": "stop"}
            file.write(json.dumps(row | {"num_generated_tokens": 9}) + "\n")
    register_prepared(folder / "data")
    before = _peak_mb()
    work = CellWork(
        cell=Cell(checkpoint="checkpoint-5", benchmark="many"),
        paths=CellPaths(folder / "cell"),
        evaluation=EvaluationSpec(benchmarks=("many",), concurrency=64),
        benchmarks_dir=folder / "data",
        fingerprint="abc",
        log="",
        job_id="",
    )
    server = ForeignServer(f"http://127.0.0.1:{port}/v1", "k", "m")
    began = time.monotonic()
    work.generate(server)  # type: ignore[arg-type]
    generated, at_disk = _peak_mb(), work.paths.partial().stat().st_size / 2**20
    told = time.monotonic()
    assert work.grade() == "ok"
    metrics = read_metrics(work.paths.metrics)["many"]["pass@1"]
    assert (metrics["num_entries"], metrics["symbolic_correct"]) == (count, 100.0)
    return {
        "items": count, "before_mb": before, "generate_mb": generated, "grade_mb": _peak_mb(),
        "answers_on_disk_mb": at_disk, "generate_s": told - began,
        "grade_s": time.monotonic() - told,
    }  # fmt: skip


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(count: int, size: int, asked: int) -> dict[str, Any]:
    """`one_cell` in a process of its own, against a server in another."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    module = [sys.executable, "-m", "tests.benchmarks.memory"]
    server = subprocess.Popen([*module, "serve", str(size)], stdout=subprocess.PIPE, text=True,
                              cwd=ROOT, env=environment)  # fmt: skip
    assert server.stdout is not None
    try:
        port = server.stdout.readline().strip()
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([*module, "cell", folder, str(count), port, str(size), str(asked)], check=True, cwd=ROOT,
                                  stdout=subprocess.PIPE, text=True, env=environment)  # fmt: skip
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    if sys.argv[1:2] == ["serve"]:
        serve(int(sys.argv[2]))
    elif sys.argv[1:2] == ["cell"]:
        print(json.dumps(one_cell(Path(sys.argv[2]), *map(int, sys.argv[3:]))))
    else:
        given = list(map(int, sys.argv[1:]))
        count, size = [*given[:2], *(100_000, 2000)[len(given) :]]
        asked = given[2] if len(given) > 2 else count
        few, many = measure(2000, size, min(asked, 2000)), measure(count, size, asked)
        for result in (few, many):
            print("  ".join(f"{k} {v:,.0f}" for k, v in result.items()), flush=True)
        grown = many["grade_mb"] - few["grade_mb"]
        print(f"{count:,} items instead of 2,000: {grown:.0f} MB more at the peak, "
              f"for {many['answers_on_disk_mb']:.0f} MB of answers")  # fmt: skip


if __name__ == "__main__":
    main()
