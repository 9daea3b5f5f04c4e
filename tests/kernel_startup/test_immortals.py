import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kernel_startup import immortals

_REPOSITORY = Path(__file__).parents[2]
_KNOWN = (3, 12) <= sys.version_info[:2] <= (3, 13)
_only_where_known = pytest.mark.skipif(
    not immortals.is_possible(), reason="this Python counts references to all objects"
)


def _run(code: str) -> Any:
    """Run code in a fresh interpreter, as nothing of this one is to live for ever."""
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=_REPOSITORY,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    return json.loads(run.stdout)


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="of CPython")
def test_it_is_possible_in_the_versions_that_are_known() -> None:
    assert immortals.is_possible() == _KNOWN


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(immortals, "is_possible", lambda: False)
    word, counted = "one word " * 2, sys.getrefcount(immortals)
    assert immortals.make_immortal() == 0
    assert sys.getrefcount(word) < 10
    assert sys.getrefcount(immortals) == counted


@_only_where_known
def test_what_is_there_is_counted_no_more_and_what_comes_is() -> None:
    seen = _run(
        """
import gc, json, sys, weakref
import numpy
from kernel_startup.immortals import make_immortal

class Thing:
    word = "a word that is nowhere " + sys.version

def function():
    return "a constant", 12345.5

old, ended = Thing(), []
made = make_immortal()
for_ever = sys.getrefcount(None)
counts = [old, Thing, Thing.word, function, function.__code__, function.__code__.co_consts,
          function.__code__.co_consts[-1], function()[1], numpy, json.dumps, sys.modules]
new = Thing()
weakref.finalize(new, ended.append, "new")
held = [new] * 1_000
before = sys.getrefcount(new)
del held, new
gc.collect()
print(json.dumps([made, [sys.getrefcount(one) == for_ever for one in counts], before, ended]))
"""
    )
    made, for_ever, before, ended = seen
    assert made > 10_000
    assert for_ever == [True] * len(for_ever)
    assert 1_000 < before < 1_010
    assert ended == ["new"]


@_only_where_known
def test_all_works_afterwards_also_in_forks_and_with_the_collector_at_work() -> None:
    seen = _run(
        """
import gc, json, os, sys, threading, weakref
from kernel_startup.prelude import ENVIRONMENT
os.environ.update(ENVIRONMENT)  # no threads: a fork takes one along
import numpy as np, pandas as pd
from kernel_startup.immortals import make_immortal

kept = {"list": [1], "word": "ab", "array": np.arange(3)}
make_immortal()
gc.collect()
gc.freeze()
gc.set_threshold(50, 2, 2)

def work():
    kept["list"] += [2, 3]
    kept["word"] += "c"
    kept["word"] += "d"
    kept["array"] = np.append(kept["array"], 3)
    kept["new"] = [object() for _ in range(1_000)]
    threads = [threading.Thread(target=gc.collect) for _ in range(3)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    table = pd.DataFrame({"a": range(100), "b": list("xy") * 50})
    for _ in range(20):
        table = table.assign(a=table.a + 1)
        text = repr(table.groupby("b").a.describe())
    del kept["new"]
    class Node: pass
    one, other = Node(), Node()
    one.other, other.one = other, one
    gone = weakref.ref(one)
    del one, other
    gc.collect()
    return [kept["list"], kept["word"], kept["array"].tolist(), "mean" in text, gone() is None]

results = []
for _ in range(3):
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(theirs, json.dumps(work()).encode())
        os._exit(0)
    os.close(theirs)
    with open(ours) as source:
        results.append(json.load(source))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print(json.dumps(results))
"""
    )
    assert seen == [[[1, 2, 3], "abcd", [0, 1, 2, 3], True, True]] * 3


@_only_where_known
def test_an_interpreter_with_such_objects_ends_as_always() -> None:
    assert (
        _run(
            """
from kernel_startup.immortals import make_immortal
import pandas
class Last:
    def __del__(self):
        print('"deleted"')
make_immortal()
last = Last()
"""
        )
        == "deleted"
    )
