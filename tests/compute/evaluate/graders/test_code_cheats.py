"""Programs that solve nothing and try to make the comparison say yes; honest ones beside them pass."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.compute.evaluate.graders.code import CodeGrader
from harness.compute.evaluate.graders.ground_truth import prepare_ground_truth
from harness.compute.evaluate.sandbox import sandbox

pytest.importorskip("evalplus", reason="evalplus is not installed")
pytestmark = pytest.mark.long

_TASK = {
    "prompt": 'def double(x):\n    """Twice x."""\n',
    "canonical_solution": "    return 2 * x\n",
    "entry_point": "double",
    "contract": "",
    "base_input": [[1021], [2047]],
    "plus_input": [[3011]],
    "atol": 0,
}
_HONEST = "def double(x):\n    return x + x\n"
_WRONG = "def double(x):\n    return None\n"
_ANY = """
class Any:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __bool__(self): return True
    def __hash__(self): return 0
"""
# Whatever holds expected values, or what they are packed in, and can be reached from here.
_SEARCH = """
import gc, sys
def reached():
    frame = sys._getframe()
    while frame:
        yield from list(frame.f_locals.values()) + list(frame.f_globals.values())
        frame = frame.f_back
    yield from gc.get_objects()
    for thing in gc.get_objects():
        yield from gc.get_referents(thing)
"""
CHEATS = {
    "an object equal to everything": _ANY + "def double(x):\n    return Any()\n",
    "a number equal to everything": (
        "class Number(int):\n"
        "    __eq__ = lambda self, other: True\n    __ne__ = lambda self, other: False\n"
        "    __hash__ = int.__hash__\n"
        "def double(x):\n    return Number(0)\n"
    ),
    "a value whose type lies": (
        _ANY + "def double(x):\n"
        "    return type('int', (Any,), {'__class__': int, '__index__': lambda s: x + x + 1})()\n"
    ),
    "replaced builtins": (
        "import builtins\n"
        "for name, fake in {'zip': lambda *a, **k: iter(()), 'bool': lambda *a: 1,\n"
        "                   'all': lambda *a: True, 'len': lambda *a: 0,\n"
        "                   'isinstance': lambda *a: True, 'type': lambda *a: int}.items():\n"
        "    setattr(builtins, name, fake)\n" + _WRONG
    ),
    "a replaced comparison": (
        "import sys\n"
        "for module in list(sys.modules.values()):\n"
        "    for name in ('is_right', 'allclose', '_run', 'unpacked', '_is_floats', 'array_equal'):\n"
        "        if hasattr(module, name):\n"
        "            try:\n                setattr(module, name, lambda *a, **k: True)\n"
        "            except Exception:\n                pass\n" + _WRONG
    ),
    "rewritten expected values": (
        _SEARCH + "for thing in reached():\n"
        "    if isinstance(thing, dict) and isinstance(thing.get('expected'), list):\n"
        "        thing['expected'][:] = [7] * len(thing['expected'])\n"
        "def double(x):\n    return 7\n"
    ),
    "deleted tests": (
        _SEARCH + "for thing in reached():\n"
        "    for name in ('inputs', 'expected', 'limits', 'limits_s'):\n"
        "        if isinstance(thing, dict) and isinstance(thing.get(name), list):\n"
        "            del thing[name][:]\n"
        "        elif isinstance(getattr(thing, name, None), list):\n"
        "            del getattr(thing, name)[:]\n" + _WRONG
    ),
    "expected values found in memory": (
        _SEARCH + "import base64, gzip, pickle\n"
        "def found():\n"
        "    for thing in reached():\n"
        "        if isinstance(thing, (str, bytes)) and len(thing) > 100:\n"
        "            try:\n"
        "                thing = pickle.loads(gzip.decompress(base64.b64decode(thing)))\n"
        "            except Exception:\n                continue\n"
        "        if isinstance(thing, dict) and 'base' in thing and 'plus' in thing:\n"
        "            tests = [thing['base'], thing['plus']]\n"
        "        elif isinstance(thing, dict) and 'expected' in thing:\n"
        "            tests = [thing]\n"
        "        else:\n            continue\n"
        "        for each in tests:\n"
        "            yield from zip(each['inputs'], each['expected'])\n"
        "def double(x):\n"
        "    return next((e for i, e in found() if i == [x]), None)\n"
    ),
    "expected values found on the disk": (
        "import gzip, io, os, pickle\n"
        "def double(x):\n"
        "    for path, folders, files in os.walk('/'):\n"
        "        if path.startswith(('/proc', '/usr', '/sys')):\n"
        "            folders[:] = []\n"
        "        for name in files:\n"
        "            if name.startswith('T_0.') or name == 'tasks.jsonl':\n"
        "                return x + x\n"
        "    return None\n"
    ),
    "an early end": "import os\nos._exit(0)\n",
    "an end while it is asked": "import os\ndef double(x):\n    os._exit(0)\n",
    "an exit": "import sys\ndef double(x):\n    sys.exit(0)\n",
    "an end with a good word": (
        "import atexit\natexit.register(print, 'pass')\n" + _WRONG
    ),
    "a printed verdict": (
        "import os\n"
        "line = b'{\"number\": 1, \"answer\": {\"base\": \"pass\", \"plus\": \"pass\"}}\\n'\n"
        "for number in range(256):\n"
        "    try:\n        os.write(number, line)\n    except OSError:\n        pass\n" + _WRONG
    ),
    "a verdict in its parent's name": (
        "import io, os\n"
        "line = b'{\"number\": 1, \"answer\": {\"base\": \"pass\", \"plus\": \"pass\"}}\\n'\n"
        "for number in range(256):\n"
        "    try:\n"
        "        with io.open(f'/proc/{os.getppid()}/fd/{number}', 'wb', buffering=0) as out:\n"
        "            out.write(line)\n"
        "    except OSError:\n        pass\n" + _WRONG
    ),
    "its parent's memory": (
        "import io, os\n"
        "def double(x):\n"
        "    try:\n        io.open(f'/proc/{os.getppid()}/mem', 'rb').close()\n"
        "    except OSError:\n        return None\n"
        "    return x + x\n"
    ),
    "code where a value is expected": (
        "import builtins, os, pickle\n"
        "class Code:\n"
        "    def __reduce__(self):\n"
        "        return (builtins.exec, ('import harness.compute.evaluate.graders.code_runner as r;"
        " r.is_right = lambda *a: True',))\n"
        "true = pickle.dumps\n"
        "pickle.dumps = lambda value, *a, **k: true(Code())\n" + _WRONG
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("truth")
    tasks = [{"task_id": f"T/{number}", **_TASK} for number in range(3)]
    (folder / "tasks.jsonl").write_text("".join(json.dumps(task) + "\n" for task in tasks))
    return prepare_ground_truth("humaneval", folder / "tasks.jsonl", folder / "cache")


@pytest.fixture(scope="module")
def grades(truth: Path) -> dict[str, dict[str, object]]:
    """Every cheat after another answer to the same task, an honest one last."""
    if not (sandbox.find_bwrap()[0] or not sandbox._namespaces_refused()):
        pytest.skip("there is no sandbox here")
    programs = {**CHEATS, "honest": _HONEST}
    items = [{"id": "T/0"}] * len(programs)
    grader = CodeGrader("humaneval", ground_truth=truth, min_time_limit=5.0)
    answers = [f"```python\n{text}\n```" for text in programs.values()]
    return dict(zip(programs, grader.grade(items, answers, workers=1), strict=True))


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_fails_both_suites(grades: dict[str, dict[str, object]], name: str) -> None:
    row = grades[name]
    assert (row["is_correct"], row["is_correct-plus"]) == (False, False)
    assert row["base_status"] != "pass" and row["plus_status"] != "pass"


def test_an_honest_program_after_all_of_them_passes(
    grades: dict[str, dict[str, object]],
) -> None:
    assert grades["honest"]["is_correct-plus"]
