#!/bin/sh
# Builds .venv in the repository from a suitable Python.
# usage: setup.sh serve|dev    serve: what `avatarcast serve` needs (no torch); dev: training, tests and checks too
# PYTHON names the interpreter; without it the usual names are tried.
# On Linux torch brings CUDA along (dev takes 6 GB); a CPU wheel in a folder named by PIP_FIND_LINKS avoids that.
set -eu
cd "$(dirname "$0")/.."

case "${1:-}" in
    serve) extras=cpu ;;
    dev) extras=cpu,train,trt-rtx,camera,dev ;;
    *) echo "usage: $0 serve|dev" >&2; exit 2 ;;
esac

fail() {
    echo "setup: $*" >&2
    exit 1
}

version_of() {
    "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null </dev/null
}

suitable() {
    case "$1" in
        3.10.* | 3.11.* | 3.12.*) return 0 ;;
        *) return 1 ;;
    esac
}

venv_ok() {
    [ -x .venv/bin/python ] && suitable "$(version_of .venv/bin/python || true)" \
        && .venv/bin/python -m pip --version >/dev/null 2>&1
}

make_venv() {
    chosen=
    found=
    for candidate in ${PYTHON:-python3.12 python3.11 python3.10 python3 python}; do
        version=$(version_of "$candidate" || true)
        [ -n "$version" ] || continue
        if suitable "$version"; then
            chosen=$candidate
            break
        fi
        found="$found, $candidate is $version"
    done
    if [ -z "$chosen" ]; then
        found=${found#, }
        fail "found ${found:-no working Python}${PYTHON:+ (PYTHON=$PYTHON)}; wanted Python 3.10, 3.11 or 3.12:" \
            "install one (Debian/Ubuntu: apt-get install python3 python3-venv; macOS: brew install python@3.12)" \
            "or name one: make setup PYTHON=/path/to/python3.12"
    fi
    echo "setup: building .venv with $chosen ($version)"
    "$chosen" -c 'import ensurepip, venv' 2>/dev/null || fail "$chosen ($version) lacks the venv module;" \
        "install it (Debian/Ubuntu: apt-get install python${version%.*}-venv) and run this again"
    "$chosen" -m venv --clear .venv || fail "$chosen -m venv failed, see above"
}

venv_ok || make_venv

echo "setup: installing avatarcast[$extras] (the first time this takes some minutes)"
.venv/bin/python -m pip install --disable-pip-version-check --editable ".[$extras]" </dev/null \
    || fail "pip could not install avatarcast[$extras], see above; check the network and run this again"

# OpenCV's wheel leaves these two to the system, and minimal Debian images lack them.
if ! reason=$(.venv/bin/python -c 'import cv2' 2>&1 </dev/null); then
    fail "OpenCV does not load ($(printf '%s\n' "$reason" | tail -n 1));" \
        "on Debian/Ubuntu: apt-get install libgl1 libglib2.0-0"
fi
echo "setup: .venv is ready"
