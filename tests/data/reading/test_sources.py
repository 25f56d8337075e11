"""Files, folders, globs and saved sets, with the split of each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.data.reading.sources import find_sources
from harness.errors import UserError

ROW = json.dumps({"prompt": "a", "completion": "b"})


def make(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(ROW)
    return folder


def splits(*words: Path | str, subset: str | None = None) -> dict[str, str | None]:
    return {
        Path(s.label).name: s.split for s in find_sources([str(w) for w in words], subset).sources
    }


def test_a_folder_as_hf_download_leaves_it(tmp_path: Path) -> None:
    names = ("data/train-00000-of-00002.jsonl", "data/train-00001-of-00002.jsonl",
             "data/test_sft-00000-of-00001.jsonl")  # fmt: skip
    others = (".gitattributes", ".cache/huggingface/x.jsonl", "README.md", "dataset_infos.json")
    found = find_sources([str(make(tmp_path, *names, *others))])
    assert [s.split for s in found.sources] == ["train", "train", "test_sft"]
    assert found.ignored == ("README.md", "dataset_infos.json")
    assert found.notes == ()
    (tmp_path / names[1]).unlink()
    assert find_sources([str(tmp_path)]).notes == (
        f"{tmp_path}/data: 1 of 2 files of train are here",
    )


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["train.jsonl", "test.jsonl"], ["test", "train"]),
        (["my-train.jsonl", "dev_set.csv"], ["validation", "train"]),
        (["train/a.jsonl", "eval/a.jsonl"], ["test", "train"]),
        (["a.jsonl", "validation.jsonl"], ["train", "validation"]),
        (["trainer.jsonl", "contest.jsonl"], [None, None]),
        (["train.jsonl", "train2.csv"], [None, None]),
        (["test.jsonl"], [None]),
    ],
)
def test_names_of_files_and_folders_tell_the_split(
    names: list[str], expected: list[str | None], tmp_path: Path
) -> None:
    found = find_sources([str(make(tmp_path, *names))])
    assert sorted(map(str, (s.split for s in found.sources))) == sorted(map(str, expected))


def test_files_and_globs_are_taken_once_each(tmp_path: Path) -> None:
    make(tmp_path, "b.jsonl", "a.jsonl", "x [1].jsonl", "notes.txt")
    assert list(splits(tmp_path / "*.jsonl", tmp_path / "a.jsonl")) == [
        "a.jsonl", "b.jsonl", "x [1].jsonl"
    ]  # fmt: skip
    assert list(splits(tmp_path / "x [1].jsonl")) == ["x [1].jsonl"]
    assert list(splits(tmp_path / "**" / "*")) == ["a.jsonl", "b.jsonl", "x [1].jsonl"]


def test_a_readme_names_files_splits_and_subsets(tmp_path: Path) -> None:
    make(tmp_path, "en/one.jsonl", "en/two.jsonl", "fr/one.jsonl", "old.jsonl")
    configs = (
        "---\nconfigs:\n- config_name: en\n  data_files:\n  - {split: train, path: en/one*}\n"
        "  - {split: held, path: [en/two.jsonl]}\n- config_name: fr\n  data_dir: fr\n---\n# Data\n"
    )
    (tmp_path / "README.md").write_text(configs)
    with pytest.raises(UserError, match=r"several subsets: en, fr\nChoose one: --subset"):
        splits(tmp_path)
    with pytest.raises(UserError, match="no subset 'fra'; did you mean 'fr'"):
        splits(tmp_path, subset="fra")
    assert splits(tmp_path, subset="en") == {"one.jsonl": "train", "two.jsonl": "held"}
    assert splits(tmp_path, subset="fr") == {"one.jsonl": None}


@pytest.mark.parametrize(
    ("names", "word", "told"),
    [
        (["a.jsonl"], "b.jsonl", "no such file or folder; did you mean 'a.jsonl'"),
        (["a.jsonl"], "*.csv", "matches nothing"),
        (["a.xml"], "a.xml", "unknown kind of file; known: .jsonl"),
        (["README.md"], ".", r"no file of rows is there \(README.md hold none\)"),
        (["a.jsonl", "a.csv"], ".", "a.csv and a.jsonl may be the same rows"),
    ],
)
def test_what_names_no_rows_is_told(
    names: list[str], word: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, *names)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=told):
        find_sources([word])
