#!/bin/bash
# Makes the workshop's environment and its Jupyter kernel on a SageMaker notebook instance. on_start.sh
# runs it at every start, as ec2-user; you may also run it in a terminal, as often as you like.
#
# The environment is the project's own .venv, made by .ci/make_venv as on any machine: it is complete, or
# treated as incomplete, and made again only where requirements.txt has changed. The instance's kernels are
# Python 3.10; 3.12, the training images' own, comes from conda-forge by the instance's own conda, into the
# folder that outlives a stop, so that a later start needs no network (a package of the system would be
# gone by then).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
PERSISTENT=$(dirname "$PWD")
STATE=$PERSISTENT/.workshop
PYTHON_FOLDER=$STATE/python-3.12
CONDA=/home/ec2-user/anaconda3/bin/conda

mkdir -p "$STATE"
for earlier in "$STATE"/python-3.*; do # what .venv was made from
    if [ -e "$earlier/complete" ]; then PYTHON_FOLDER=$earlier; fi
done
if [ ! -t 1 ]; then exec >"$PERSISTENT/workshop-environment.log" 2>&1; fi
# auto_stop.py looks at this lock: while it is held the instance does not stop itself. It ends with the
# processes that hold it, however they end, and each of these has a limit.
exec 9>"$STATE/building"
flock 9

get_python() {
    [ ! -e "$PYTHON_FOLDER/complete" ] || return 0
    if [ ! -x "$CONDA" ]; then
        echo "There is no conda in $CONDA; a Python 3.11, 3.12 or 3.13 on the PATH will do."
        return 0
    fi
    packages=("python=${PYTHON_FOLDER##*-}" pip)
    command -v cc >/dev/null || packages+=(c-compiler)
    echo "Getting ${packages[*]} from conda-forge: once, a minute or two."
    rm -rf "$PYTHON_FOLDER"
    timeout 1800 "$CONDA" create --yes --quiet --override-channels --channel conda-forge \
        --prefix "$PYTHON_FOLDER" "${packages[@]}" &&
        touch "$PYTHON_FOLDER/complete"
}

make_environment() {
    if [ -e "$PYTHON_FOLDER/complete" ]; then export PYTHON=$PYTHON_FOLDER/bin/python3; fi
    for compiler in "$PYTHON_FOLDER"/bin/*-conda-linux-gnu-cc; do
        if [ -x "$compiler" ]; then export CC=$compiler; fi
    done
    # What pip unpacks may be larger than the system's own disk; a build that was cut off leaves some.
    rm -rf "$STATE/tmp"
    mkdir -p "$STATE/tmp"
    TMPDIR=$STATE/tmp PIP_NO_CACHE_DIR=1 timeout 5400 .ci/make_venv
}

register_kernel() { # as `make kernel` does; the user's kernels lie outside the folder that outlives a stop
    TMPDIR=$STATE/tmp .venv/bin/python -m ipykernel install --user --name workshop --display-name "Python 3 (workshop)" &&
        if [ -x .venv-sdk3/bin/python ]; then # by `make sdk3`, for lesson 10
            TMPDIR=$STATE/tmp .venv-sdk3/bin/python -m ipykernel install --user --name workshop-sdk3 --display-name "Python 3 (SageMaker SDK 3)"
        fi
}

# `set -e` has no effect in a function whose result is asked for, so each ends with what can fail.
if get_python && make_environment && register_kernel; then
    rm -rf "$STATE/tmp"
    echo "Ready: the lessons open with the kernel Python 3 (workshop)."
else
    echo "The environment is not ready, for the reason above: bash $PWD/scripts/notebook_instance/environment.sh in a terminal tries again."
    exit 1
fi
