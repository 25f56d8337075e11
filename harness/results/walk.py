"""One look through a tree of folders: which files of results lie where, and what could not be seen."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness.results.names import Parts, step_of
from harness.runs.paths import MANIFEST

METRICS, TASK = "metrics.json", "task.json"
QUIET_S = 2.0
"""Seconds between two lines about how far it is; the first comes after so long."""
_SHOWN = 8
_DATE = r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?"
_SAMPLES = re.compile(rf"samples_.+_{_DATE}\.jsonl", re.DOTALL)
_TOOL_FILE = re.compile(rf"results.*\.json|.+_{_DATE}\.json", re.DOTALL)
"""What lm-eval and lighteval call a results file; lm-eval takes another stem, if it is given one."""


@dataclass(frozen=True)
class Folder:
    """One folder, and its files that may be of results."""

    path: str
    """As it was reached: below the folder that the user gave."""
    parts: Parts
    """Absolute; links to it are not resolved, links above it are."""
    files: frozenset[str]

    @property
    def name(self) -> str:
        return self.parts[-1]

    @property
    def tool_files(self) -> list[str]:
        """What may be results of lm-eval or lighteval."""
        return sorted(filter(is_tool_file, self.files))

    @property
    def graded(self) -> list[str]:
        """Metrics that `grade` wrote beside rows it had graded again."""
        return sorted(name for name in self.files if name.endswith(f".{METRICS}"))

    @property
    def outputs(self) -> list[str]:
        """Answers as `ns`, we ourselves and lm-eval write them; not those that `grade` wrote."""
        return sorted(name for name in self.files if _is_output(name))


def is_tool_file(name: str) -> bool:
    """Whether a file is called as lm-eval or lighteval call theirs."""
    return _TOOL_FILE.fullmatch(name) is not None


def _is_output(name: str) -> bool:
    return (
        name.endswith(".jsonl")
        and (name.startswith(("output", "partial-rs")) or bool(_SAMPLES.fullmatch(name)))
        and not name.endswith(".graded.jsonl")
    )


def _of_interest(name: str) -> bool:
    if name.endswith(".json"):
        known = name in (TASK, MANIFEST) or name.endswith(METRICS)
        return known or is_tool_file(name)
    return _is_output(name) or (name.startswith("output") and name.endswith(".done"))


@dataclass
class Walk:
    """Every folder of a tree once, in order of names; hidden ones are left out.

    A link is followed where it leads out of the tree, after all that is in it.
    """

    root: Path
    report: Callable[[str], object] = lambda text: None
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    """Path, and why."""
    links: list[str] = field(default_factory=list)
    """`path -> target` of links to what is read under its own name."""
    folders: int = 0
    names: list[str] = field(default_factory=list)
    """The first few files and folders, for who finds nothing."""
    _said: float = field(default_factory=time.monotonic)
    _left_out: set[str] = field(default_factory=set)

    def __iter__(self) -> Iterator[Folder]:
        """Folders as they are found; `leave_out` keeps it from going into one."""
        self._left_out.clear()
        real = os.path.realpath(self.root)
        read: list[str] = [real]
        links: list[tuple[str, Parts]] = []
        yield from self._below(str(self.root), Path(real).parts, links)
        while links:
            path, parts = links.pop(0)
            target = os.path.realpath(path)
            if any(_is_in(target, each) or _is_in(each, target) for each in read):
                self.links.append(f"{path} -> {target}")
                continue
            read.append(target)
            yield from self._below(path, parts, links)

    def leave_out(self, folder: Folder, name: str = "") -> None:
        """Not to go below a folder that was just given, or into one folder of it."""
        self._left_out.add(f"{folder.path}/{name}" if name else folder.path)

    def _below(
        self, root: str, parts: Parts, links: list[tuple[str, Parts]]
    ) -> Iterator[Folder]:  # fmt: skip
        todo = [(root, parts)]
        while todo:
            path, parts = todo.pop()
            if path in self._left_out:
                continue
            files, folders = self._list(path, parts, links)
            self.folders += 1
            self.say(f"{self.folders:,} folders read …")
            yield Folder(path, parts, frozenset(files))
            if path not in self._left_out:
                todo += ((f"{path}/{n}", (*parts, n)) for n in sorted(folders, reverse=True))

    def _list(
        self, path: str, parts: Parts, links: list[tuple[str, Parts]]
    ) -> tuple[list[str], list[str]]:
        files: list[str] = []
        folders: list[str] = []
        found: list[tuple[str, Parts]] = []
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if len(self.names) < _SHOWN:
                        self.names.append(os.path.relpath(entry.path, self.root))
                    if entry.is_symlink() and not os.path.exists(entry.path):
                        self._leads_nowhere(entry)
                    elif entry.is_dir():
                        if entry.name.startswith("."):
                            continue
                        if entry.is_symlink():
                            found.append((entry.path, (*parts, entry.name)))
                        else:
                            folders.append(entry.name)
                    elif _of_interest(entry.name):
                        if entry.is_file():
                            files.append(entry.name)
                        else:
                            self.unreadable.append((entry.path, "is no file that can be read"))
        except OSError as error:
            self.unreadable.append((path, f"cannot be read: {error.strerror or error}"))
        links += sorted(found)
        return files, folders

    def _leads_nowhere(self, link: os.DirEntry[str]) -> None:
        target = os.readlink(link.path)
        if _of_interest(link.name) or step_of(link.name) is not None:
            self.unreadable.append((link.path, f"is a link to {target}, which is not there"))
        elif not link.name.startswith("."):
            self.links.append(f"{link.path} -> {target} (which is not there)")

    def say(self, text: str) -> None:
        """Report how far it is, where nothing was said for long enough."""
        now = time.monotonic()
        if now - self._said > QUIET_S:
            self._said = now
            self.report(text)


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
