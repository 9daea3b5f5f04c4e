#!/bin/sh
# Makes .venv what requirements.lock says, or finds in a few milliseconds that it already is.
# PYTHON names the Python to use; without it, a suitable one is looked for.
here=$(dirname "$0")
venv=$here/../.venv

# The usual case: nothing to do. An older .venv's Python can judge that too.
if [ -z "$PYTHON" ] && [ -f "$venv/.cellmate" ]; then
    "$venv/bin/python" -I -S "$here/setup.py" --is-current 2>/dev/null && exit 0
fi

suitable() {
    "$1" -I -S -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, $2)
        or sys.version_info.releaselevel != 'final' or 't' in sys.abiflags)" 2>/dev/null
}

# Built with all that is needed, and with pip; what was chosen before, and works, has no pip.
complete() {
    "$1" -I -S -c "import bz2, ctypes, lzma, sqlite3, ssl" 2>/dev/null &&
        { [ "$1" = "$venv/bin/python" ] || "$1" -I -m pip --version >/dev/null 2>&1; }
}

anyhow() {
    true
}

if [ -n "$PYTHON" ]; then
    candidates=$PYTHON
else
    # From 3.12 on kernels share much more of their memory. pyenv's commands of a version work only
    # where it is chosen, so its Pythons are looked for where they are.
    newer=
    pyenv=$(pyenv root 2>/dev/null) || pyenv=
    for version in 3.13 3.12; do
        newer="$newer python$version"
        for candidate in "$pyenv"/versions/"$version".*/bin/python; do
            [ -n "$pyenv" ] && [ -x "$candidate" ] && newer="$newer $candidate"
        done
    done
    candidates="$newer python3 python3.11 python"
    # What was chosen before stays.
    [ -x "$venv/bin/python" ] && candidates="$venv/bin/python $candidates"
fi
# All locked packages come as wheels for 3.11 to 3.13; a later Python is tried if there is no other.
# If none is complete, what is missing is said later, when it is needed.
for newest in 13 99; do
    for condition in complete anyhow; do
        for candidate in $candidates; do
            if suitable "$candidate" "$newest" && "$condition" "$candidate"; then
                exec "$candidate" -I -S "$here/setup.py"
            fi
        done
    done
done

{
    echo "Cellmate needs Python 3.11 or newer (3.11 to 3.13 are tested). Found:"
    for candidate in $candidates; do
        version=$("$candidate" -I -S -c "import platform; print(platform.python_version())" 2>/dev/null)
        echo "  $candidate: ${version:-not there, or not working}"
    done
    echo "What to do: install one, or name it: make run PYTHON=/path/to/python3.12"
} >&2
exit 1
