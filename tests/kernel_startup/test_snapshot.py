"""Saving variables in a child, each by itself, and loading them into another namespace."""

import json
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from kernel_startup import snapshot
from kernel_startup.snapshot import Bounds, Loss, Restored, SnapshotUnreadable

MIB = 1 << 20
ROOT = Path(__file__).resolve().parents[2]

#: In another process: what was defined there is really made anew.
FRESH = """
import json, sys
from kernel_startup.snapshot import restore
main = sys.modules["__main__"].__dict__
done = restore(main, sys.argv[1])
print(json.dumps([repr(eval(one, main)) for one in sys.argv[2:]]))
"""


def _namespace(code: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(code, namespace)
    return namespace


class Snapshots:
    """Saves a namespace that code makes, and loads it into another one."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def save(
        self,
        code: str | dict[str, Any],
        *,
        file_bytes: int = 64 * MIB,
        memory_bytes: int = 256 * MIB,
        **options: Any,
    ) -> dict[str, Any]:
        namespace = _namespace(code) if isinstance(code, str) else code
        bounds = Bounds(file_bytes=file_bytes, memory_bytes=memory_bytes, time_s=20.0)
        return snapshot.save(namespace, self.path, bounds=bounds, **options)

    def restore(self) -> tuple[dict[str, Any], Restored]:
        namespace: dict[str, Any] = {"__name__": "__main__"}
        return namespace, snapshot.restore(namespace, self.path)

    def through(self, code: str, **options: Any) -> tuple[dict[str, Any], Restored]:
        self.save(code, **options)
        return self.restore()

    def fresh(self, code: str, *expressions: str) -> list[str]:
        """What expressions give in another process, as `repr` writes it."""
        self.save(code)
        command = [sys.executable, "-c", FRESH, self.path, *expressions]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        found: list[str] = json.loads(done.stdout)
        return found


@pytest.fixture
def snapshots(tmp_path: Path) -> Snapshots:
    return Snapshots(tmp_path / "snapshot")


def _reasons(restored: Restored) -> dict[str, tuple[str, str]]:
    return {loss.name: (loss.why, loss.detail) for loss in restored.lost}


def test_values_come_back_in_their_order(snapshots: Snapshots) -> None:
    namespace, done = snapshots.through(
        "z = 1; b = 'text'; a = [1, (2.5, None)]; _own = {'k': {3}}; raw = b'x' * 100_000\n"
        "many = list(range(1_000_000))",
        count=7,
    )
    assert done == Restored(("z", "b", "a", "_own", "raw", "many"), (), 7)
    assert (namespace["z"], namespace["b"], namespace["a"]) == (1, "text", [1, (2.5, None)])
    assert namespace["_own"] == {"k": {3}} and namespace["many"][-1] == 999_999


def test_tables_arrays_and_figures_come_back(snapshots: Snapshots) -> None:
    namespace, done = snapshots.through(
        "import numpy as np, pandas as pd, pyarrow as pa\n"
        "from matplotlib.figure import Figure\n"
        "array = np.arange(10.0)\n"
        "df = pd.DataFrame({'a': [1, 2], 'b': ['x', None], 'c': pd.date_range('2026', None, 2)})\n"
        "table = pa.table({'n': [1, 2]})\n"
        "figure = Figure(); axes = figure.subplots(); axes.plot([1, 2]);"
    )
    assert (done.names, done.lost) == (("array", "df", "table", "figure", "axes"), ())
    assert namespace["array"].sum() == 45 and namespace["np"] is sys.modules["numpy"]
    table = namespace["df"].to_dict("list")
    assert (table["a"], table["b"][0], str(table["c"][1])) == ([1, 2], "x", "2026-01-02 00:00:00")
    assert namespace["table"].to_pydict() == {"n": [1, 2]}
    assert namespace["figure"].axes[0] is namespace["axes"]


def test_functions_see_later_changes_of_the_variables_they_use(snapshots: Snapshots) -> None:
    namespace, done = snapshots.through(
        "factor = 2\n"
        "def twice(n): return n * factor\n"
        "def fact(n): return 1 if n < 2 else n * fact(n - 1)\n"
        "add = lambda n, *, m=1: n + m + factor\n"
        "def make():\n"
        "    count = 0\n"
        "    def step():\n"
        "        nonlocal count\n"
        "        count += 1\n"
        "        return count\n"
        "    return step\n"
        "step = make(); step()"
    )
    assert done.lost == ()
    assert (namespace["twice"](3), namespace["fact"](5), namespace["add"](1)) == (6, 120, 4)
    assert namespace["step"]() == 2
    namespace["factor"] = 10
    assert (namespace["twice"](3), namespace["add"](1)) == (30, 12)
    assert namespace["twice"].__globals__ is namespace
    assert type(namespace["__builtins__"]) is type(snapshots.restore()[0]["__builtins__"])


def test_what_cells_define_works_in_another_process(snapshots: Snapshots) -> None:
    code = (
        "import dataclasses, enum, xml.dom.minidom\n"
        "from math import sqrt\n"
        "unit = 'm'\n"
        "class Length:\n"
        "    made = 0\n"
        "    def __init__(self, n): self.n = n; type(self).made += 1\n"
        "    def __str__(self): return f'{self.n} {unit}'\n"
        "class Long(Length):\n"
        "    def __str__(self): return 'long ' + super().__str__()\n"
        "@dataclasses.dataclass\n"
        "class Point: x: int; y: int = 2\n"
        "class Colour(enum.Enum): RED = 1\n"
        "one = Long(3); point = Point(1); red = Colour.RED; places = {Point: [point]}"
    )
    found = snapshots.fresh(
        code,
        "str(one)",
        "isinstance(one, Length) and type(one) is Long and Length.made == 0 and Long.made",
        "Point(1) == point and places[Point][0] is point",
        "red is Colour.RED and Colour(1)",
        "sqrt(4)",
        "xml.dom.minidom.parseString('<a/>').documentElement.tagName",
        "globals().update(unit='km') or str(one)",
    )
    assert found == ["'long 3 m'", "1", "True", "<Colour.RED: 1>", "2.0", "'a'", "'long 3 km'"]


def test_same_objects_stay_the_same(snapshots: Snapshots) -> None:
    namespace, done = snapshots.through(
        "import numpy as np\n"
        "array = np.zeros(1000); again = array; pair = [array, array]; named = {'a': array}\n"
        "itself = []; itself.append(itself)\n"
        "left = []; right = [left]; left.append(right)\n"
        "everything = globals()\n"
        "one = 1; ones = [1, one]"
    )
    assert done.lost == ()
    array = namespace["array"]
    assert namespace["again"] is array and namespace["named"]["a"] is array
    assert all(part is array for part in namespace["pair"])
    assert namespace["itself"][0] is namespace["itself"]
    assert namespace["left"][0] is namespace["right"] and namespace["right"][0] is namespace["left"]
    assert namespace["everything"] is namespace


def test_value_in_several_variables_is_saved_once(snapshots: Snapshots) -> None:
    done = snapshots.save("a = bytes(1 << 20); b = [a]; c = {'a': a, 'b': b}")
    assert MIB < done["bytes"] < 1.01 * MIB


HOSTILE = {
    "generator": ("v = (n for n in ())", ("kind", "generator")),
    "held generator": ("v = {'a': [(n for n in ())]}", ("holds", "generator")),
    "open file": ("import sys\nv = sys.__stderr__", ("kind", "file")),
    "held open file": ("import sys\nv = [sys.__stderr__.buffer]", ("holds", "file")),
    "lock": ("import threading\nv = threading.Lock()", ("kind", "_thread.lock")),
    "raises": ("class V:\n def __reduce__(self): 1 / 0\nv = V()", ("raises", "ZeroDivisionError")),
    "leaves": (
        "class V:\n def __reduce__(self): raise SystemExit\nv = V()",
        ("raises", "SystemExit"),
    ),
    "ends": (
        "class V:\n def __reduce__(self):\n  import os; os._exit(0)\nv = V()",
        ("died", ""),
    ),
    "crashes": (
        "class V:\n def __reduce__(self):\n  import ctypes; ctypes.string_at(0)\nv = V()",
        ("died", ""),
    ),
    "runs for ever": ("class V:\n def __reduce__(self):\n  while 1: pass\nv = V()", ("time", "")),
    "eats memory": (
        "class V:\n def __reduce__(self): return bytes, (bytearray(1 << 30),)\nv = V()",
        ("memory", ""),
    ),
    "class that answers nothing": (
        "class M(type):\n def __getattribute__(c, n): raise SystemExit\n"
        " def __hash__(c): raise SystemExit\n def __eq__(c, o): raise SystemExit\n"
        "class C(metaclass=M): pass\nv = C(); del C, M",
        ("raises", "SystemExit"),
    ),
    "deep": ("v = []\nfor _ in range(100_000): v = [v]", ("deep", "list")),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_cannot_be_saved_costs_only_itself(
    snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.setattr(snapshot, "_VARIABLE_S", 0.5)
    code, reason = HOSTILE[case]
    others = psutil.Process().children()
    told = snapshots.save(f"before = 1\n{code}\nafter = [2] * 10_000")
    namespace, done = snapshots.restore()
    assert (namespace["before"], len(namespace["after"])) == (1, 10_000)
    assert _reasons(done) == {"v": reason}
    assert told["lost"] == 1 and told["saved"] == len(done.names)
    assert [child for child in psutil.Process().children() if child not in others] == []


def test_an_interrupt_of_a_cell_does_not_end_what_saves_beside_it() -> None:
    code = """
import os, signal, sys, tempfile, threading, time
from kernel_startup import snapshot
class Slow:
    def __reduce__(self):
        os.write(1, b".")
        time.sleep(0.2)
        return int, (7,)
os.setpgid(0, 0)
signal.signal(signal.SIGINT, lambda *_: None)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
def interrupt():
    for _ in range(30):
        time.sleep(0.02)
        os.killpg(0, signal.SIGINT)
threading.Thread(target=interrupt).start()
path = tempfile.mktemp()
done = snapshot.save({"slow": Slow()}, path, bounds=snapshot.Bounds(1 << 20, 1 << 28, 20.0))
print(done["saved"], done["lost"])
os.unlink(path)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ran.stdout.split(), ran.stderr) == (["1", "0"], "")


def test_many_that_end_the_process_are_given_up(
    snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "_MOST_CHILDREN", 3)
    code = "class V:\n def __reduce__(self):\n  import os; os._exit(0)\n"
    _, done = snapshots.through(code + "\n".join(f"v{n} = V()" for n in range(8)))
    assert len(done.lost) == 8 and {loss.why for loss in done.lost} == {"died", "time"}


def test_copying_what_the_kernel_holds_counts_as_memory(snapshots: Snapshots) -> None:
    many = "values = [float(n) for n in range(3_000_000)]\nsmall = 1"
    namespace, done = snapshots.through(many, memory_bytes=24 * MIB)
    assert _reasons(done) == {"values": ("memory", "")} and namespace["small"] == 1
    namespace, done = snapshots.through(many, memory_bytes=512 * MIB)
    assert done.lost == ()


@pytest.mark.parametrize(("beyond", "kept"), [(-1, False), (0, True), (1, True)])
def test_limit_of_the_size_is_exact(snapshots: Snapshots, beyond: int, kept: bool) -> None:
    snapshots.save("v = bytes(1000)")
    with open(snapshots.path, "rb") as file:
        index = snapshot._read_index(file)
    (start, end, _), *_ = index["units"]
    _, done = snapshots.through("v = bytes(1000)", file_bytes=end - start + beyond)
    assert _reasons(done) == ({} if kept else {"v": ("size", "")})


def test_smallest_come_first_and_the_largest_that_is_lost_is_named_first(
    snapshots: Snapshots,
) -> None:
    code = (
        "huge = bytes(5 << 20); gen = (n for n in ()); large = bytes(3 << 20)\n"
        "middle = bytes(2 << 20); small = bytes(1 << 20); tiny = 1; holds = [small, tiny]"
    )
    namespace, done = snapshots.through(code, file_bytes=4 * MIB)
    assert done.names == ("middle", "small", "tiny", "holds")
    assert [(loss.name, loss.why) for loss in done.lost] == [
        ("huge", "size"),
        ("large", "full"),
        ("gen", "kind"),
    ]
    assert 5 * MIB < done.lost[0].size_bytes < 5.01 * MIB
    assert os.path.getsize(snapshots.path) < 4.1 * MIB
    assert namespace["holds"][0] is namespace["small"]


def test_too_many_variables_are_not_all_saved(
    snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "_MOST_VARIABLES", 3)
    _, done = snapshots.through("a = 1; b = 2; c = 3; d = 4")
    assert done.names == ("a", "b", "c") and _reasons(done) == {"d": ("many", "")}


def test_what_is_the_shells_own_is_left_out(snapshots: Snapshots) -> None:
    namespace = _namespace(
        "In = ['x']; Out = {}; _ = 1; _12 = 2; _i3 = 'x'; __ = 3; _x = 4; quit = 5"
    )
    namespace["not a name"] = 1
    snapshots.save(namespace, hidden={"quit": 5})
    assert snapshots.restore()[1].names == ("_x",)
    namespace["quit"] = 6  # the user's own, by the name of the shell's
    snapshots.save(namespace, hidden={"quit": 5})
    assert snapshots.restore()[1].names == ("_x", "quit")


def test_working_directory_comes_back(snapshots: Snapshots, tmp_path: Path) -> None:
    here, place = os.getcwd(), tmp_path / "place"
    place.mkdir()
    try:
        os.chdir(place)
        snapshots.save("x = 1")
        os.chdir(here)
        snapshots.restore()
        assert Path.cwd() == place
        os.chdir(here)
        place.rmdir()
        assert snapshots.restore()[0]["x"] == 1
        assert os.getcwd() == here
    finally:
        os.chdir(here)


def test_source_of_cells_comes_back(snapshots: Snapshots) -> None:
    import inspect
    import linecache

    name, text = "/tmp/cell_of_the_test.py", "def f(n):\n    return n + 1\n"
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, name, "exec"), namespace)
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    snapshots.save(namespace, numbers={name: 4})
    del linecache.cache[name]
    numbers: dict[str, int] = {}
    restored: dict[str, Any] = {"__name__": "__main__"}
    snapshot.restore(restored, snapshots.path, numbers=numbers)
    assert inspect.getsource(restored["f"]) == text and numbers == {name: 4}
    del linecache.cache[name]


def test_what_cannot_be_loaded_costs_only_itself(
    snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = types.ModuleType("helper_of_the_test")
    exec("class Gone: pass", helper.__dict__)
    monkeypatch.setitem(sys.modules, "helper_of_the_test", helper)
    snapshots.save(
        "import helper_of_the_test as h\n"
        "gone = h.Gone(); refers = [gone]; fine = 1\n"
        "class Picky:\n    def __setstate__(self, state): raise SystemExit\n"
        "picky = Picky(); picky.x = 1"
    )
    monkeypatch.delitem(sys.modules, "helper_of_the_test")
    namespace, done = snapshots.restore()
    assert namespace["fine"] == 1 and not {"h", "gone", "refers", "picky"} & set(namespace)
    assert _reasons(done) == {
        "h": ("module", "helper_of_the_test"),
        "gone": ("module", "helper_of_the_test"),
        "refers": ("refers", "gone"),
        "picky": ("broken", "SystemExit"),
    }


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _replace(path: Path) -> None:
    path.write_bytes(b"\0" * 10_000)


def _lie_about_the_length(path: Path) -> None:
    mark = snapshot._MARK
    path.write_bytes((1 << 60).to_bytes(8, "little") + mark)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _other_python(path: Path) -> None:
    index = json.dumps({"python": "cpython-27"}).encode()
    path.write_bytes(index + len(index).to_bytes(8, "little") + snapshot._MARK)


def _no_index(path: Path) -> None:
    path.write_bytes(b"[]" + (2).to_bytes(8, "little") + snapshot._MARK)


@pytest.mark.parametrize(
    "damage", [_cut, _replace, _lie_about_the_length, _empty, _other_python, _no_index]
)
def test_what_is_no_snapshot_is_refused(
    snapshots: Snapshots, damage: Callable[[Path], None]
) -> None:
    snapshots.save("x = 1")
    damage(Path(snapshots.path))
    with pytest.raises(SnapshotUnreadable):
        snapshots.restore()


def test_file_that_was_in_its_place_is_not_followed(snapshots: Snapshots, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("kept")
    Path(snapshots.path).symlink_to(other)
    snapshots.save("x = 1")
    assert other.read_text() == "kept" and snapshots.restore()[0]["x"] == 1


def test_room_is_what_the_directories_leave(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(b"x" * 8 * MIB)
    reserve = snapshot._DISK_RESERVE_BYTES
    assert snapshot.room_left([str(tmp_path)], most_bytes=reserve + 20 * MIB) == 12 * MIB
    assert snapshot.room_left([str(tmp_path)], most_bytes=reserve) == 0


def test_losses_are_plain_lists(snapshots: Snapshots) -> None:
    assert Loss("a", "kind", "generator", 5).as_list() == ["a", "kind", "generator", 5]
