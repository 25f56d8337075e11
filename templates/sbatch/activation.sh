# Guards the lines that activate a role's environment (site.yaml, environments.<role>.activate).
#
# They run as in a shell of the user's: unset variables, and failing commands inside a script, do not
# matter. A line that fails and says so on stderr ends the job; one that is false and says nothing (a
# script whose last line is a test) does not. Whatever ends the job is named in its log. Their output
# goes to stderr. Traps cannot be set from a sourced file, so whoever sources this one sets them
# (harness/processes/environments.py).

activation_end() { # code, why
    trap - EXIT
    cat "$activation_said" >&"$activation_err"
    echo "activation, in the site file's environments: $2" >&"$activation_err"
    builtin exit "$(($1 ? $1 : 1))"
}

activation_next() { # code of the command before: what that one said, or switched on, is over
    set +eu +o pipefail
    (($1)) || { cat "$activation_said" >&"$activation_err" && : >"$activation_said"; }
}

activation_failed() { # code, command, line, depth of files
    (($4 == activation_depth)) || return 0
    set +e
    if [[ $1 == 1 && ! -s $activation_said ]]; then
        echo "activation: '$2' (line $3) is false and said nothing; going on" >&"$activation_err"
        return 0
    fi
    activation_end "$1" "'$2' (line $3) failed with $1, which ends the job; if that does not matter, add || true"
}

exit() { # an activation script's own
    local code=${1:-$?}
    ((BASH_SUBSHELL == 0)) || builtin exit "$code"
    activation_end "$code" "'exit $code' in ${BASH_SOURCE[1]:-bash}, line ${BASH_LINENO[0]}, ends the job"
}

activation_done() {
    [[ $(trap -p EXIT) != *activation_end* ]] || trap - EXIT
    cat "$activation_said" >&"$activation_err"
    exec >&"$activation_out" 2>&"$activation_err" {activation_out}>&- {activation_err}>&-
    rm -f "$activation_said"
    unset -f exit
    unset SLURM_EXPORT_ENV SRUN_EXPORT_ENV
    set +eu +o pipefail
}

activation_said=$(mktemp)
exec {activation_out}>&1 {activation_err}>&2 >&2 2>>"$activation_said"
set +eu +o pipefail
