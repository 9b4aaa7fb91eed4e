#!/bin/sh
# Builds .venv in the repository from a suitable Python, of exactly what .ci/lock lists, checked by hash.
# usage: setup.sh serve|dev|tools
#   serve: what `avatarcast serve` needs (no torch); dev: training, tests and checks too
#   tools: what looks after the locks, into .venv-tools
# PYTHON names the interpreter; without it the usual names are tried.
# On Linux torch brings CUDA along (dev takes 6 GB); a CPU wheel in a folder named by PIP_FIND_LINKS avoids that,
# and is taken as it is: whoever put it there vouches for it.
set -eu
cd "$(dirname "$0")/.."

case "${1:-}" in
    serve | dev) venv=.venv ;;
    tools) venv=.venv-tools ;;
    *) echo "usage: $0 serve|dev|tools" >&2; exit 2 ;;
esac
kind=$1

fail() {
    [ -z "${torch_pid:-}" ] || wait "$torch_pid" || true
    echo "setup: $*" >&2
    exit 1
}

version_of() {
    "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null </dev/null
}

suitable() {
    case "$1" in
        3.11.* | 3.12.* | 3.13.* | 3.14.*) return 0 ;;
        *) return 1 ;;
    esac
}

venv_ok() {
    [ -x $venv/bin/python ] && suitable "$(version_of $venv/bin/python || true)" \
        && $venv/bin/python -m pip --version >/dev/null 2>&1
}

make_venv() {
    chosen=
    found=
    for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3.14 python3 python}; do
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
        fail "found ${found:-no working Python}${PYTHON:+ (PYTHON=$PYTHON)}; wanted Python 3.11 to 3.14:" \
            "install one (Debian/Ubuntu: apt-get install python3 python3-venv; macOS: brew install python@3.13)" \
            "or name one: make setup PYTHON=/path/to/python3.13"
    fi
    echo "setup: building $venv with $chosen ($version)"
    "$chosen" -c 'import ensurepip, venv' 2>/dev/null || fail "$chosen ($version) lacks the venv module;" \
        "install it (Debian/Ubuntu: apt-get install python${version%.*}-venv) and run this again"
    "$chosen" -m venv --clear $venv || fail "$chosen -m venv failed, see above"
}

pip_install() {
    $venv/bin/python -m pip install --disable-pip-version-check "$@" </dev/null
}

from_lock() {
    pip_install --no-build-isolation --require-hashes "$@" \
        || fail "pip could not install what .ci/lock lists, see above; check the network and run this again"
}

venv_ok || make_venv

install_torch() {
    torch=$(sed -n 's/^\(torch==[^ ;]*\).*/\1/p' .ci/lock/torch.txt)
    pip_install --quiet --no-index --no-deps "$torch" 2>/dev/null || from_lock --no-deps -r .ci/lock/torch.txt
}

echo "setup: installing what .ci/lock/$kind.txt lists (the first time this takes some minutes)"
from_lock -r .ci/lock/build.txt
if [ $kind = dev ]; then
    install_torch & # which takes as long as all the rest
    torch_pid=$!
fi
if [ $kind = dev ]; then
    from_lock --no-compile -r .ci/lock/dev.txt # half of pip's time; what is imported, Python compiles then
else
    from_lock -r .ci/lock/$kind.txt
fi
[ $kind != dev ] || wait $torch_pid || fail "torch is not installed, see above"
if [ $kind = tools ]; then
    echo "setup: $venv is ready"
    exit 0
fi
pip_install --quiet --no-deps --no-build-isolation --editable . || fail "pip could not install the project, see above"

# OpenCV's wheel leaves these two to the system, and minimal Debian images lack them.
if ! reason=$($venv/bin/python -c 'import cv2' 2>&1 </dev/null); then
    fail "OpenCV does not load ($(printf '%s\n' "$reason" | tail -n 1));" \
        "on Debian/Ubuntu: apt-get install libgl1 libglib2.0-0"
fi
echo "setup: $venv is ready"
