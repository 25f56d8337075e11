"""This package: where it lies, what ships with it, and how a run keeps a copy of it.

checkout, editable install, code/ of a run      installed wheel
<ROOT>/harness/                                 <ROOT>/harness/
<ROOT>/templates/ jobs/ site.yaml               <ROOT>/harness/_shipped/templates/ jobs/ site.yaml

python -m harness.package      # prints the folder with templates/, jobs/ and site.yaml
"""

from __future__ import annotations

import os
import shutil
import sys
from importlib import metadata
from pathlib import Path

import harness

NAME = "posttrain-harness"
"""Of the distribution, as pip knows it."""
PACKAGE = Path(harness.__file__).resolve().parent
ROOT = PACKAGE.parent
"""The folder from which this very package is imported; of a wheel it is site-packages."""
_INSIDE = PACKAGE / "_shipped"
SHIPPED = _INSIDE if _INSIDE.is_dir() else ROOT
"""The folder with templates/, jobs/ and site.yaml."""
_MODULES = {
    "train": ("torch", "transformers", "trl", "accelerate", "datasets", "peft", "tokenizers",
              "safetensors", "huggingface_hub"),
    "eval": ("aiohttp", "numpy", "math_verify", "latex2sympy2_extended", "lm_eval", "langdetect",
             "nltk", "immutabledict"),
    "code": ("evalplus",),
    "report": ("matplotlib",),
    "demo": ("gguf",),
    "dedup": ("datasketch",),
}  # fmt: skip
"""Extra -> what our code imports of it."""


def find_template(path: Path) -> Path:
    """A chat template as it is named from here, or else the shipped one of that name.

    `templates/chat/chatml.jinja` and `chatml.jinja` are the same there. A name of neither comes
    back as it is.
    """
    candidates = (path, SHIPPED / path, SHIPPED / "templates" / "chat" / path)
    return next((found for found in candidates if os.path.isfile(found)), path)


def needs(extra: str) -> str:
    """The command that installs what an extra asks for."""
    return f"pip install '{NAME}[{extra}]'"


def is_installed(distribution: str) -> bool:
    """Whether this environment has a distribution, as pip knows it; nothing is imported."""
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def missing(error: ModuleNotFoundError) -> str | None:
    """What to tell of a package that is not here; None where it belongs to no extra."""
    module = (error.name or "").partition(".")[0]
    extra = next((extra for extra, modules in _MODULES.items() if module in modules), None)
    return extra and f"{module} is not installed in {sys.executable}: {needs(extra)}"


def copy_to(folder: Path) -> None:
    """Copy the package and its templates, as they are now, in the layout of a checkout.

    Only what is ours: of site-packages nothing else. Raises OSError.
    """
    _copy(PACKAGE, folder / PACKAGE.name)
    _copy(SHIPPED / "templates", folder / "templates")


def _copy(source: Path, target: Path) -> None:
    """A folder's files: contents, and whether each is a program.

    What is installed may be read-only, its copy is not.
    """
    target.mkdir(parents=True, exist_ok=True)
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.is_dir():
                if entry.name not in ("__pycache__", _INSIDE.name):
                    _copy(Path(entry.path), target / entry.name)
            elif entry.is_file():
                copy = os.path.join(target, entry.name)
                shutil.copyfile(entry.path, copy)
                os.chmod(copy, 0o755 if entry.stat().st_mode & 0o111 else 0o644)


if __name__ == "__main__":
    print(SHIPPED)
