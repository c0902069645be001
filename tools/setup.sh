#!/usr/bin/env bash
# Make .venv and install Hubbub into it.
#
#   tools/setup.sh run    what using it needs (with the terminal client)
#   tools/setup.sh dev    that, and what developing and testing need
#   tools/setup.sh bench  into .venv-bench: Hubbub and all that it is measured against
#
# PYTHON=python3.13 tools/setup.sh dev   chooses the interpreter. An existing .venv is kept and completed.
set -euo pipefail
cd "$(dirname "$0")/.."

kind=${1:-dev}
venv=.venv
case $kind in
    run) what=".[terminal]" ;;
    dev) what=".[dev,terminal,reload]" ;;
    bench) what=".[bench]"; venv=.venv-bench ;;
    *) echo "setup: '$kind' is none of run, dev, bench" >&2; exit 2 ;;
esac

new_enough() {
    "$1" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python python3.14 python3.13 python3.12 python3.11}; do
        if command -v "$candidate" >/dev/null && new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    if [ -n "${PYTHON:-}" ]; then
        echo "setup: PYTHON=$PYTHON is not a Python 3.11 or later" >&2
    else
        echo "setup: found no Python 3.11 or later; install one, or say PYTHON=/path/to/python" >&2
    fi
    return 1
}

if [ -e $venv ] && ! { new_enough $venv/bin/python && $venv/bin/python -m pip --version >/dev/null 2>&1; }; then
    echo "setup: $venv is incomplete or its Python is too old or gone; making it anew"
    rm -rf $venv
fi

if [ ! -e $venv ]; then
    python=$(find_python)
    # Debian ships venv's other half in a package of its own.
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            apt-get update -q
            DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends python3-venv
        else
            echo "setup: $python has no venv; on Debian and Ubuntu: apt-get install python3-venv" >&2
            exit 1
        fi
    fi
    echo "setup: making $venv with $("$python" --version) ($python)"
    if ! "$python" -m venv $venv; then
        rm -rf $venv
        exit 1
    fi
fi

echo "setup: installing $what"
$venv/bin/python -m pip install --disable-pip-version-check --quiet --editable "$what"

case $kind in
    run) touch $venv/.hubbub-run ;;
    dev) touch $venv/.hubbub-run $venv/.hubbub-dev ;;
    bench) touch $venv/.hubbub-bench ;;
esac
echo "setup: done"
