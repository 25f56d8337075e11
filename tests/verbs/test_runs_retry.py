"""`retry` heals a result that is not what was written: graded again, without asking again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import harness

pytest.importorskip("aiohttp", reason="needs the extra `eval`")
pytest.importorskip("math_verify", reason="needs the extra `eval`")

from tests.compute.evaluate.chat_server import ChatServer, chat_server, solve

pytestmark = [pytest.mark.long, pytest.mark.timeout(280)]

KEY = ChatServer().api_key
NAN = b'{"arithmetic": {"pass@1": {"symbolic_correct": NaN, "num_entries": 5}}}'


@pytest.fixture(scope="module")
def server() -> Iterator[ChatServer]:
    with chat_server(solve) as running:
        yield running


@pytest.fixture(scope="module")
def run(server: ChatServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluated")
    done = harness(
        "eval", server.model, "-b", "arithmetic:2", "--name", "m", "--server-address",
        server.base_url, "--api-key-env", "EVAL_KEY", "--set-site", "secrets=[EVAL_KEY]",
        "--set", "max_items=5", "--poll", "1",
        "--set-site", f"runs_dir={folder}/runs", "--set-site", f"benchmarks_dir={folder}/b",
        EVAL_KEY=KEY,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout, done.stderr)
    return (folder / "runs" / "m" / "latest").resolve()


@pytest.mark.parametrize(
    ("name", "damage", "asks", "told"),
    [
        ("metrics.json", NAN, 0, "nan is not a finite number"),
        ("task.json", b"{", 10, "cannot be read as JSON"),
    ],
)
def test_a_damaged_result_is_shown_and_healed(
    run: Path, server: ChatServer, name: str, damage: bytes, asks: int, told: str
) -> None:
    cell = run / "eval" / "base" / "arithmetic"
    good = json.loads((cell / "metrics.json").read_text())
    (cell / name).write_bytes(damage)
    shown = harness("status", str(run))
    assert "invalid" in shown.stdout, (shown.stdout, shown.stderr)
    assert told in " ".join(shown.stdout.split())
    assert harness("collect", str(run)).returncode == 1

    before = len(server.asked)
    done = harness("retry", str(run), "--wait", "--poll", "1", EVAL_KEY=KEY)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert "1 cells: 1 ok" in done.stdout
    assert len(server.asked) - before == asks
    healed = json.loads((cell / "metrics.json").read_text())
    key = "symbolic_correct"
    assert healed["arithmetic"]["pass@1"][key] == good["arithmetic"]["pass@1"][key] == 100.0
    assert harness("collect", str(run)).returncode == 0
