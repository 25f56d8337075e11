#!/usr/bin/env bash
# The tests of Slurm on a newer one: 24.11 of Debian 13, in a folder of its own. 10 minutes on 2 cores.
#
#   bash tests/slurm/newer.sh                               # tests/slurm and tests/scheduling
#   bash tests/slurm/newer.sh tests/slurm/test_sites.py -x  # anything else goes to pytest
#
# As root on Debian. The folder ($NEWER_SLURM, 1 GB) is made once, from the mirror that this machine's
# apt knows. Python and the packages are this machine's: .venv, else the `python` on PATH.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

root=${NEWER_SLURM:-/var/tmp/harness-newer-slurm}
say() { printf '[newer slurm] %s\n' "$*"; }

if [[ ! -e $root/made ]]; then
    command -v mmdebstrap >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends mmdebstrap; } >/dev/null
    # shellcheck disable=SC2016  # the format is apt's
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' | grep -v security | head -n 1)
    say "making $root"
    rm -rf "$root" "$root.older"
    mmdebstrap --quiet --variant=minbase \
        --include=slurm-wlm,slurmdbd,munge,mariadb-server,bubblewrap,git,procps,iproute2,libsqlite3-0,libreadline8t64 \
        trixie "$root" "$mirror"
    # Its slurmdbd ends at once with Debian 13's own libmariadb (11.8.9): "Number of columns in result".
    mmdebstrap --quiet --variant=extract --include=libmariadb3 bookworm "$root.older" "$mirror"
    for library in "$root.older"/usr/lib/*/libmariadb.so.3; do
        cp "$library" "$root/${library#"$root.older"/}"
    done
    rm -rf "$root.older"
    touch "$root/made"
fi

python=$PWD/.venv/bin/python
[[ -x $python ]] || python=$(command -v python)
mapfile -t seen < <("$python" -c 'import sys; print(sys.prefix, sys.base_prefix, sep="\n")')
prefix=${seen[0]}
export HF_HUB_OFFLINE=1 NLTK_DATA=${NLTK_DATA:-$prefix/nltk_data} HARNESS_SMOLLM2=${HARNESS_SMOLLM2:-$prefix/smollm2}
export HARNESS_SHARED_DATA=${HARNESS_SHARED_DATA:-$PWD/../shared/data}
seen+=("$PWD" "$NLTK_DATA" "$HARNESS_SMOLLM2" "$HARNESS_SHARED_DATA")

(($#)) || set -- tests/slurm tests/scheduling
# The mounts are in a namespace of their own, and go with it. The machine's name must resolve: else
# slurmctld asks the net for it, and answers nobody for 10 s.
# shellcheck disable=SC2016  # the inner shell's
exec unshare --mount bash -euc '
    root=$1 prefix=$2 count=$3; shift 3
    for place in /proc /sys /dev "${@:1:count}"; do
        [[ -d $place ]] || continue
        place=$(realpath "$place")
        mkdir -p "$root$place" && mount --rbind "$place" "$root$place"
    done
    touch "$root/etc/hosts"
    mount --bind /etc/hosts "$root/etc/hosts"
    shift "$count"
    exec chroot "$root" env PATH="$prefix/bin:/usr/sbin:/usr/bin:/sbin:/bin" HOME=/root LANG=C.UTF-8 \
        bash -euc "cd \"\$1\"; shift; sbatch --version 2>/dev/null || slurmctld -V; exec python -m pytest -q -m \"not slow\" \"\$@\"" \
        bash "$PWD" "$@"
' bash "$root" "$prefix" "${#seen[@]}" "${seen[@]}" "$@"
