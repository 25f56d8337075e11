"""Record the command-line flags that an SGLang wheel defines, without installing it.

    python tests/captured/record_sglang_flags.py sglang-0.5.23-*.whl > sglang_flags_0.5.23.json

SGLang derives its flags from annotated fields in `sglang/srt/arg_groups/fields/` and adds some by
`add_argument` in `sglang/srt/server_args.py` (arg_groups/arg_utils.py holds the rules followed
here: `A[type, "help"]` or `A[type, Arg(cli_name=, aliases=, no_cli=)]`).
"""

from __future__ import annotations

import ast
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

FIELDS = "sglang/srt/arg_groups/fields/"
SERVER_ARGS = "sglang/srt/server_args.py"


def flags_of_fields(source: str) -> set[str]:
    """Flags derived from the annotated fields of one module."""
    flags: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        annotation = node.annotation
        if not (isinstance(annotation, ast.Subscript) and isinstance(annotation.slice, ast.Tuple)):
            continue
        if ast.unparse(annotation.value) not in ("A", "Annotated"):
            continue
        for item in annotation.slice.elts[1:]:
            flag = "--" + node.target.id.replace("_", "-")
            if isinstance(item, ast.Call) and ast.unparse(item.func) == "Arg":
                options = {word.arg: word.value for word in item.keywords}
                if not _literal(options.get("no_cli"), False):
                    flags.add(_literal(options.get("cli_name"), flag))
                    flags.update(_literal(options.get("aliases"), []))
                break
            if not isinstance(item, ast.Call):  # a bare help text, maybe of joined strings
                flags.add(flag)
                break
    return flags


def flags_added(source: str) -> set[str]:
    """Flags of the `add_argument` calls of one module."""
    return {
        argument.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("add_argument")
        for argument in node.args
        if isinstance(argument, ast.Constant)
        and isinstance(argument.value, str)
        and argument.value.startswith("--")
    }


def _literal(node: ast.expr | None, default: Any) -> Any:
    return default if node is None else ast.literal_eval(node)


def flags_of_wheel(path: Path) -> list[str]:
    """All flags of `python -m sglang.launch_server`, sorted."""
    with zipfile.ZipFile(path) as wheel:
        flags = flags_added(wheel.read(SERVER_ARGS).decode())
        for name in wheel.namelist():
            if name.startswith(FIELDS) and name.endswith(".py"):
                flags |= flags_of_fields(wheel.read(name).decode())
    return sorted(flags)


if __name__ == "__main__":
    print(json.dumps(flags_of_wheel(Path(sys.argv[1])), indent=1))
