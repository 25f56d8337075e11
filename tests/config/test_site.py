"""A cluster's file: options of each kind of job, environments, and no secret in any of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config.engines import ENGINES
from harness.config.load import load_site
from harness.config.site import Environment, Site, SlurmOptions
from harness.errors import UserError


def site_of(folder: Path, text: str) -> Site:
    path = folder / "site.yaml"
    path.write_text(text, encoding="utf-8")
    return load_site(path)


def refused(folder: Path, text: str) -> str:
    with pytest.raises(UserError) as caught:
        site_of(folder, text)
    return str(caught.value).replace(f"{folder}/", "")


def test_without_a_file_jobs_have_times_and_nothing_of_a_cluster() -> None:
    site = load_site(None)
    times = {
        kind: site.options(kind).time_limit for kind in ("train", "evaluate", "judge", "control")
    }
    assert times == {"train": "24:00:00", "evaluate": "4:00:00", "judge": "4:00:00",
                     "control": "0:30:00"}  # fmt: skip
    options = site.options("train")
    assert (options.partition, options.account, options.mem_per_gpu_gb) == (None, None, None)
    assert (options.cpus_per_gpu, options.signal_seconds, options.extra) == (8, 120, {})
    assert site.environment("vllm") == Environment()


def test_options_come_from_the_kind_then_the_site_then_the_defaults(tmp_path: Path) -> None:
    site = site_of(
        tmp_path,
        "slurm: {partition: gpu, time_limit: 1:00:00, extra: {mail-type: END, comment: all}}\n"
        "jobs: {train: {time_limit: 2-0, extra: {comment: train}}}",
    )
    train, evaluate = site.options("train"), site.options("evaluate")
    assert (train.partition, train.time_limit, train.cpus_per_gpu) == ("gpu", "2-0", 8)
    assert train.extra == {"mail-type": "END", "comment": "train"}
    assert evaluate.time_limit == "1:00:00"
    assert evaluate.extra == {"mail-type": "END", "comment": "all"}
    assert site.options("train") == train  # asking changes nothing


def test_null_takes_an_option_of_the_site_away_again(tmp_path: Path) -> None:
    site = site_of(tmp_path, "slurm: {partition: gpu}\njobs: {control: {partition: null}}")
    assert site.options("train").partition == "gpu"
    assert site.options("control").partition is None


def test_a_judging_job_goes_where_control_jobs_go_but_keeps_its_own_time(tmp_path: Path) -> None:
    control = "control: {partition: login, time_limit: 0:10:00, extra: {a: 1}}"
    site = site_of(tmp_path, f"jobs: {{{control}}}")
    judge = site.options("judge")
    assert (judge.partition, judge.time_limit, judge.extra) == ("login", "4:00:00", {"a": 1})
    assert site.options("control").time_limit == "0:10:00"
    assert site.options("evaluate").partition is None
    own = site_of(tmp_path, f"jobs: {{{control}, judge: {{partition: net, time_limit: 60}}}}")
    assert own.options("judge").partition == "net"
    assert own.options("judge").time_limit == "60"
    assert own.options("judge").extra == {"a": 1}


@pytest.mark.parametrize("role", ["train", "evaluate", "nemo-skills", "lm-eval", *ENGINES])
def test_each_program_may_have_an_environment(tmp_path: Path, role: str) -> None:
    site = site_of(tmp_path, f"environments: {{{role}: {{activate: [source /e/bin/activate]}}}}")
    assert site.environment(role).activate == ("source /e/bin/activate",)


def test_an_unknown_role_or_kind_of_job_shows_those_there_are(tmp_path: Path) -> None:
    told = refused(tmp_path, "environments:\n  vlm: {}\n")
    assert told.startswith("site.yaml:2: environments.vlm: 'train', 'evaluate', 'vllm'")
    told = refused(tmp_path, "jobs:\n  trian: {}\n")
    assert told.startswith("site.yaml:2: jobs.trian: 'train', 'evaluate', 'judge'")
    assert told.endswith("is expected; did you mean 'train'? (got 'trian')")


@pytest.mark.parametrize(
    "name",
    ["HF_TOKEN", "OPENAI_API_KEY", "my_secret", "DB_PASSWORD", "PASSWORD", "AWS_CREDENTIALS"],
)
def test_whatever_looks_like_a_secret_is_refused_with_the_cure(tmp_path: Path, name: str) -> None:
    told = refused(tmp_path, f"environments:\n  train:\n    variables: {{{name}: hunter2}}\n")
    assert told == (
        f"site.yaml:3: environments.train.variables.{name}: {name} looks like a secret; "
        "export it in your shell and list it in `secrets`"
    )
    assert "hunter2" not in told


def test_a_variable_with_an_ordinary_name_and_any_one_line_is_taken(tmp_path: Path) -> None:
    variables = "{HF_HOME: '/it''s \"x\" ü', TOKENIZERS_PARALLELISM: 'false', _A1: ''}"
    site = site_of(tmp_path, f"environments: {{train: {{variables: {variables}}}}}")
    assert site.environment("train").variables == {
        "HF_HOME": '/it\'s "x" ü', "TOKENIZERS_PARALLELISM": "false", "_A1": "",
    }  # fmt: skip
    assert site.environment("evaluate").variables == {}


@pytest.mark.parametrize("name", ["1A", "A B", "A-B", "A=1", "$A", "", "Ä", "A;rm"])
def test_what_is_no_name_of_a_variable_is_quoted(name: str) -> None:
    for build in (
        lambda: Site(secrets=(name,)),
        lambda: Environment(variables={name: "x"}),
    ):
        with pytest.raises(ValueError, match="is not a name of an environment variable") as caught:
            build()
        assert repr(name) in str(caught.value)


@pytest.mark.parametrize("text", ["a\nb", "a\n#SBATCH --wrap=x", "a\0", "a\tb", "a\r"])
def test_no_value_breaks_out_of_its_line(text: str) -> None:
    for build in (
        lambda: SlurmOptions(partition=text),
        lambda: SlurmOptions(extra={"comment": text}),
        lambda: Environment(activate=("true", text)),
        lambda: Environment(container=text),
        lambda: Environment(mounts=(text,)),
        lambda: Environment(variables={"A": text}),
    ):
        with pytest.raises(ValueError, match="must be one line without control characters"):
            build()


@pytest.mark.parametrize("name", ["--mail-type", "Mail", "mail_type", "m t", "", "m=1", "1x"])
def test_a_further_option_goes_by_its_long_name(tmp_path: Path, name: str) -> None:
    told = refused(tmp_path, f"slurm:\n  extra: {{'{name}': x}}\n")
    assert (
        told
        == f"site.yaml:2: slurm.extra.{name}: {name!r} is not the long name of an sbatch option"
    )


@pytest.mark.parametrize("name", ["array", "wrap", "time", "partition", "mem", "gres", "export"])
def test_what_has_a_field_of_its_own_or_is_ours_is_no_further_option(
    tmp_path: Path, name: str
) -> None:
    told = refused(tmp_path, f"jobs: {{train: {{extra: {{{name}: x}}}}}}")
    assert (
        f"jobs.train.extra.{name}: {name!r} is set by the harness and cannot be given here" in told
    )


def test_pyxis_runs_the_container_and_activates_nothing(tmp_path: Path) -> None:
    both = "{container: img, activate: [x], runtime: "
    told = refused(tmp_path, f"environments:\n  train: {both}pyxis}}\n")
    assert told == (
        "site.yaml:2: environments.train.activate: with pyxis, activate lines run outside the container: "
        "give only one"
    )
    inside = site_of(tmp_path, f"environments:\n  train: {both}apptainer}}\n")
    assert inside.environment("train").runtime == "apptainer"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("scheduler: pbs", "scheduler: 'auto', 'slurm' or 'local' is expected (got 'pbs')"),
        (
            "slurm: {signal_seconds: 9}",
            "slurm.signal_seconds: a number of at least 10 is expected (got 9)",
        ),
        (
            "slurm: {cpus_per_gpu: 0}",
            "slurm.cpus_per_gpu: a number of at least 1 is expected (got 0)",
        ),
        ("slurm: {time_limit: 1h}", "slurm.time_limit: a Slurm time is expected"),
        ("slurm: {partion: x}", "slurm.partion: unknown key; did you mean 'partition'"),
    ],
)
def test_a_mistake_names_its_line(tmp_path: Path, text: str, words: str) -> None:
    assert refused(tmp_path, text).startswith(f"site.yaml:1: {words}")


def test_a_secret_in_the_site_file_is_refused(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("environments: {train: {variables: {HF_TOKEN: abc}}}")
    with pytest.raises(UserError, match="looks like a secret"):
        load_site(site)


def test_an_option_that_the_harness_sets_is_refused(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("slurm: {extra: {dependency: afterok:1}}")
    with pytest.raises(UserError, match="set by the harness"):
        load_site(site)


def test_options_of_a_job_kind_override_the_sites(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(
        "slurm: {partition: gpu, extra: {mail-type: END}}\n"
        "jobs: {control: {partition: cpu, extra: {comment: x}}}"
    )
    loaded = load_site(site)
    assert loaded.options("train").partition == "gpu"
    assert loaded.options("control").partition == "cpu"
    assert loaded.options("control").extra == {"mail-type": "END", "comment": "x"}
