"""Objects that aren't counted any more: pages that only counting would write to stay shared.

A forked kernel shares its memory with the fork server until it writes to it, and Python writes a
count of references into whatever it uses: most of what a kernel has for itself is copies of pages
that differ in such counts only. From version 3.12 on, CPython knows objects that live for ever,
None for one (PEP 683), whose counts nobody reads or writes. Here all that the fork server has made
becomes such: it would have lived as long as the kernel anyway.

That a count is the first word of an object and what None has there is known of two versions. Of
others nothing is assumed: kernels just take more memory then.
"""

import ctypes
import gc
import sys
import sysconfig
import types
from typing import Any

_KNOWN = ((3, 12), (3, 13))
#: What CPython has in the first eight bytes of None, in these versions, where it counts in 64 bits.
_FOR_EVER = 0xFFFF_FFFF
#: What runs, or might go on: it holds what happens to be in use just now.
_RUNNING = (
    types.FrameType,
    types.GeneratorType,
    types.CoroutineType,
    types.AsyncGeneratorType,
)


def is_possible() -> bool:
    """Whether this Python knows immortal objects, in the way that is known here."""
    return (
        sys.version_info[:2] in _KNOWN
        and sys.implementation.name == "cpython"
        and sys.byteorder == "little"
        and not sysconfig.get_config_var("Py_GIL_DISABLED")
        and _first_word(None) == _FOR_EVER
        and _counts_in_first_word()
    )


def make_immortal() -> int:
    """Let all objects that there are now live for ever; for a process with one thread.

    Returns:
        How many they are; 0 where that isn't possible.
    """
    if not is_possible():
        return 0
    import numpy as np
    from numpy import ctypeslib

    found = _all_objects()
    addresses = np.fromiter(found, np.int64, len(found))
    # One view of all memory in between; only where objects begin is anything read or written.
    first = int(addresses.min())
    words = (int(addresses.max()) - first) // 8 + 1
    memory = ctypeslib.as_array((ctypes.c_uint64 * words).from_address(first))
    memory[(addresses - first) >> 3] = _FOR_EVER
    del found  # until here, none of them may be freed
    return len(addresses)


def _counts_in_first_word() -> bool:
    thing, more = object(), 1_000
    before = _first_word(thing)
    held = [thing] * more
    return _first_word(thing) == before + len(held)


def _first_word(thing: object) -> int:
    return ctypes.c_uint64.from_address(id(thing)).value


def _all_objects() -> dict[int, object]:
    """All objects that can be reached, by their addresses; but for what this is done with."""
    # Taken before anything is made here that mustn't be among them.
    fresh: list[Any] = gc.get_objects()
    found: dict[int, object] = {}
    while fresh:
        new = {id(one): one for one in fresh if id(one) not in found}
        for address in [address for address, one in new.items() if type(one) in _RUNNING]:
            del new[address]
        found |= new
        fresh = gc.get_referents(*new.values())
        for one in new.values():
            if type(one) is types.CodeType:  # the collector doesn't know what these refer to
                fresh += _parts(one)
    return found


def _parts(code: types.CodeType) -> tuple[object, ...]:
    tables = (code.co_consts, code.co_names, code.co_linetable, code.co_exceptiontable)
    names = (code.co_filename, code.co_name, code.co_qualname)
    return (*tables, *names, *code.co_varnames, *code.co_freevars, *code.co_cellvars)
