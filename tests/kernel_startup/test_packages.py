"""Packages that cells lack: real kernels, and a client that answers as a service does."""

import itertools
import tempfile
import textwrap
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("IPython")
pytest.importorskip("pandas")

from tests.kernel_startup.live_kernel import LiveKernel, Ran, running_kernel

_names = (f"zzname{number}" for number in itertools.count(1))


@pytest.fixture(scope="module")
def shared_kernel() -> Iterator[LiveKernel]:
    with tempfile.TemporaryDirectory(prefix="k") as root, running_kernel(Path(root)) as kernel:
        yield kernel


@pytest.fixture
def kernel(shared_kernel: LiveKernel) -> LiveKernel:
    """The kernel of all tests here, with nothing on the shelf."""
    shared_kernel.shelf.clear()
    return shared_kernel


@pytest.fixture
def name() -> str:
    """A module's name that no other test uses."""
    return next(_names)


def _code(text: str, **names: str) -> str:
    """Code with the names put in that are written in capitals."""
    text = textwrap.dedent(text)
    for written, name in names.items():
        text = text.replace(written, name)
    return text


# -- before the cell -----------------------------------------------------------------------------


def test_what_a_cell_imports_is_there_before_it_runs(kernel: LiveKernel, name: str) -> None:
    kernel.shelf.add(name, "x = 5")
    ran = kernel.run(f"print('begun')\nimport {name}\nprint({name}.x)")
    assert (ran.status, ran.stdout) == ("ok", "begun\n5\n")
    assert ran.requests == [
        {"action": "install", "kind": "import", "requirements": [name], "upgrade": False}
    ]


def test_all_that_a_cell_lacks_is_asked_for_at_once(kernel: LiveKernel, name: str) -> None:
    for letter in "abc":
        kernel.shelf.add(name + letter)
    code = "import NAMEa, os, pandas\ndef f():\n    from NAMEb import x\nif 0:\n    import NAMEc.y"
    assert kernel.run(_code(code, NAME=name)).asked == [[f"{name}a", f"{name}b.x", f"{name}c.y"]]


def test_what_is_there_is_not_asked_for(kernel: LiveKernel, name: str) -> None:
    kernel.shelf.add(name)
    kernel.run(f"import {name}")
    (kernel.work / f"{name}own.py").write_text("x = 7")
    ran = kernel.run(f"import {name}, os, pandas, _winapi_not, {name}own\nprint({name}own.x)")
    assert ran.asked == []
    ran = kernel.run(f"import {name}, os, pandas, {name}own\nprint({name}own.x)")
    assert (ran.asked, ran.stdout) == ([], "7\n")


def test_what_came_since_the_last_look_is_not_asked_for(kernel: LiveKernel, name: str) -> None:
    kernel.run(f"import {name}")
    kernel.shelf.add(name, "x = 5")
    kernel.shelf.installed |= kernel.shelf.packages[name]
    kernel.shelf.show()
    ran = kernel.run(f"import {name}\nprint({name}.x)")
    assert (ran.asked, ran.stdout) == ([], "5\n")


def test_cells_in_ipythons_syntax_are_read(kernel: LiveKernel, name: str) -> None:
    kernel.shelf.add(name, "x = 5")
    ran = kernel.run(f"%%time\nimport {name}\nprint({name}.x)")
    assert ran.asked == [[name]]
    assert ran.stdout.startswith("5\n")


def test_a_failed_import_says_why(kernel: LiveKernel, name: str) -> None:
    ran = kernel.run(f"import {name}")
    sentence = f"No module named {name!r}. There is no package {name} on the index."
    assert (ran.status, ran.ename, ran.evalue) == ("error", "ModuleNotFoundError", sentence)
    assert ran.asked == [[name]]  # not again by the import itself
    assert "packages.py" not in ran.traceback
    assert "importlib" not in ran.traceback


def test_a_failed_import_can_be_caught(kernel: LiveKernel, name: str) -> None:
    ran = kernel.run(
        _code("try:\n    import NAME\nexcept ImportError as e:\n    print(e.name)", NAME=name)
    )
    assert (ran.status, ran.stdout) == ("ok", f"{name}\n")


def test_what_failed_is_asked_for_again_in_another_cell_only(kernel: LiveKernel, name: str) -> None:
    code = """
        for _ in range(3):
            try:
                __import__("".join(["NAME"]))
            except ImportError as error:
                print(error)
    """
    ran = kernel.run(_code(code, NAME=name))
    assert ran.asked == [[name]]
    assert ran.stdout.count("There is no package") == 3
    kernel.shelf.add(name)
    assert kernel.run(f"import {name}").status == "ok"


def test_a_fallback_is_asked_for_when_it_is_needed(kernel: LiveKernel, name: str) -> None:
    kernel.shelf.add(f"{name}b", "x = 5")
    code = """
        try:
            import NAMEa as found
        except ImportError:
            import NAMEb as found
        print(found.x)
    """
    ran = kernel.run(_code(code, NAME=name))
    assert (ran.asked, ran.stdout) == ([[f"{name}a"], [f"{name}b"]], "5\n")


def test_without_a_service_that_answers_nothing_is_asked(kernel: LiveKernel, name: str) -> None:
    for packages in (None, False, 1, "yes"):
        ran = kernel.run(f"import {name}", packages=packages)
        assert (ran.asked, ran.evalue) == ([], f"No module named {name!r}")


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"status": "ok"},
        {"status": "error", "message": "Just so."},
        {"status": "error", "failed": 5},
        {"status": 7, "failed": [1], "installed": {"a": 1}, "restart": "x"},
    ],
)
def test_strange_answers_end_in_an_import_error(
    kernel: LiveKernel, name: str, reply: Mapping[str, Any]
) -> None:
    ran = kernel.run(f"import {name}", answer=lambda _: reply)
    assert ran.ename == "ModuleNotFoundError"
    assert ran.evalue.startswith(f"No module named {name!r}. ")
    assert ("Just so." in ran.evalue) == ("message" in reply)


# -- packages that share a place -----------------------------------------------------------------


def test_a_shared_place_names_the_part(kernel: LiveKernel, name: str) -> None:
    kernel.shelf.add(f"{name}/cloud/one.py", "x = 1", distribution=f"{name}-one")
    kernel.shelf.add(f"{name}/cloud/two.py", "x = 2", distribution=f"{name}-two")
    ran = kernel.run(f"from {name}.cloud import one\nprint(one.x)")
    assert (ran.asked, ran.stdout) == ([[f"{name}.cloud.one"]], "1\n")
    ran = kernel.run(f"import {name}.cloud.two as two\nprint(two.x)")
    assert (ran.asked, ran.stdout) == ([[f"{name}.cloud.two"]], "2\n")
    ran = kernel.run(f"from {name}.cloud import three")
    assert ran.ename == "ModuleNotFoundError"
    assert "There is no package" in ran.evalue


def test_a_part_imported_in_mid_cell_is_named_whole(kernel: LiveKernel, name: str) -> None:
    kernel.shelf.add(f"{name}/cloud/one.py", "x = 1", distribution=f"{name}-one")
    ran = kernel.run(
        _code("import importlib\nprint(importlib.import_module('NA'+'ME.cloud.one').x)").replace(
            "'NA'+'ME.cloud.one'", f"{name[:2]!r} + {name[2:] + '.cloud.one'!r}"
        )
    )
    assert (ran.asked, ran.stdout) == ([[f"{name}.cloud.one"]], "1\n")


def test_a_package_that_lacks_a_module_lacks_no_package(kernel: LiveKernel) -> None:
    ran = kernel.run("import pandas.nothing_of_this_name")
    assert (ran.asked, ran.ename) == ([], "ModuleNotFoundError")
    ran = kernel.run("from pandas import nothing_of_this_name")
    assert (ran.asked, ran.ename) == ([], "ImportError")


# -- in mid-cell ---------------------------------------------------------------------------------


def _library(kernel: LiveKernel, name: str, text: str, **names: str) -> None:
    """Install a library of this text."""
    kernel.shelf.add(name, _code(text, **names))
    kernel.shelf.installed |= kernel.shelf.packages[name]
    kernel.shelf.show()


def test_what_a_library_needs_is_asked_for(kernel: LiveKernel, name: str) -> None:
    kernel.shelf.add(f"{name}b", "x = 5")
    _library(kernel, f"{name}a", "import NAMEb\nx = NAMEb.x", NAME=name)
    ran = kernel.run(f"import {name}a\nprint({name}a.x)")
    assert (ran.asked, ran.stdout) == ([[f"{name}b"]], "5\n")


_NEEDED = [
    "import NAME",
    "from NAME import x",
    "def f():\n    import NAME\nf()",
    "try:\n    import NAME\nexcept ValueError:\n    pass",
    "try:\n    import NAME\nexcept ImportError as error:\n    raise ImportError('no') from error",
    "try:\n    import NAME\nexcept ImportError:\n    if 1: raise\nexcept Exception:\n    pass",
    "try:\n    import NAME\nfinally:\n    pass",
    "try:\n    raise ValueError\nexcept ValueError:\n    import NAME",
    "try:\n    pass\nexcept ImportError:\n    pass\nelse:\n    import NAME",
    "def f():\n    import NAME\ntry:\n    g = f\nexcept ImportError:\n    pass\ng()",
    "try:\n    def f():\n        import NAME\nexcept ImportError:\n    pass\nf()",
    "from importlib import import_module\nimport_module('NAME')",
    "with open('/dev/null'):\n    import NAME",
]
_OPTIONAL = [
    "try:\n    import NAME\nexcept ImportError:\n    pass",
    "try:\n    from NAME import x\nexcept (ValueError, ModuleNotFoundError):\n    x = None",
    "try:\n    import os, NAME\nexcept Exception:\n    print('no')",
    "try:\n    import NAME\nexcept:\n    pass",
    "try:\n    import NAME\nexcept ImportError:\n    pass\nexcept Exception:\n    raise",
    "try:\n    import NAME\nexcept ImportError:\n    try: 1\n    except ValueError: raise",
    "def f():\n    import NAME\ntry:\n    f()\nexcept ImportError:\n    pass",
    "import contextlib\nwith contextlib.suppress(ImportError):\n    import NAME",
    "import importlib\ntry:\n    importlib.import_module('NAME')\nexcept ImportError:\n    pass",
    "import importlib.util\nimportlib.util.find_spec('NAME')",
    "import importlib.util\nimportlib.util.find_spec('NAME') or importlib.util.find_spec('NAME2')",
    "import pkgutil\ntry:\n    pkgutil.resolve_name('NAME')\nexcept ImportError:\n    pass",
    "import importlib.metadata\nlist(importlib.metadata.distributions(name='NAME'))",
]


@pytest.mark.parametrize("text", _NEEDED)
def test_a_library_that_cannot_do_without_gets_it(kernel: LiveKernel, name: str, text: str) -> None:
    kernel.shelf.add(f"{name}b", "x = 5")
    _library(kernel, f"{name}a", text, NAME=f"{name}b")
    (asked,) = kernel.run(f"import {name}a").asked
    assert asked in ([f"{name}b"], [f"{name}b.x"])


@pytest.mark.parametrize("text", _OPTIONAL)
def test_a_library_that_can_do_without_is_left_alone(
    kernel: LiveKernel, name: str, text: str
) -> None:
    kernel.shelf.add(f"{name}b")
    _library(kernel, f"{name}a", text, NAME=f"{name}b")
    ran = kernel.run(f"import {name}a")
    assert (ran.asked, ran.status) == ([], "ok")


def test_a_module_that_its_importer_can_do_without_gets_nothing(
    kernel: LiveKernel, name: str
) -> None:
    kernel.shelf.add(f"{name}c")
    _library(kernel, f"{name}b", "import NAMEc", NAME=name)
    _library(kernel, f"{name}a", _OPTIONAL[0], NAME=f"{name}b")
    assert kernel.run(f"import {name}a").asked == []


def test_users_own_modules_get_what_they_try(kernel: LiveKernel, name: str) -> None:
    kernel.shelf.add(f"{name}b", "x = 5")
    text = "try:\n    import NAMEb as found\nexcept ImportError:\n    found = None"
    (kernel.work / f"{name}a.py").write_text(_code(text, NAME=name))
    ran = kernel.run(f"import {name}a\nprint({name}a.found.x)")
    assert (ran.asked, ran.stdout) == ([[f"{name}b"]], "5\n")


def test_probes_of_the_users_are_answered_without_asking(kernel: LiveKernel, name: str) -> None:
    kernel.shelf.add(name)
    code = "import importlib.util as u\nprint(u.find_spec('NAME'))"
    ran = kernel.run(_code(code, NAME=name))
    assert (ran.asked, ran.stdout) == ([], "None\n")


@pytest.mark.parametrize(
    "module", ["_winapi", "winreg", "sitecustomize", "__mp_main__", "_zzprivate", "a-b", "nosuch x"]
)
def test_names_that_no_package_has_are_not_asked_for(kernel: LiveKernel, module: str) -> None:
    ran = kernel.run(f"name = {module!r}\nimport importlib\nimportlib.import_module(name)")
    assert ran.asked == []
    if module != "sitecustomize":  # which Debian's Python has
        assert ran.ename == "ModuleNotFoundError"


def test_pandas_asks_for_what_a_call_needs_and_nothing_else(kernel: LiveKernel) -> None:
    ran = kernel.run(
        "import pandas as pd, io\nframe = pd.DataFrame({'a': [1]})\nframe._repr_html_()"
    )
    assert (ran.asked, ran.status) == ([], "ok")
    kernel.shelf.add("odf/__init__.py", "raise ImportError('this one is broken')")
    ran = kernel.run("frame.to_excel(io.BytesIO(), engine='odf')")
    assert ran.evalue == "this one is broken"
    assert [one.partition(".")[0] for one in ran.asked[0]] == ["odf"]
    ran = kernel.run(
        "open('a.h5', 'w').close()\npd.read_hdf('a.h5')", answer=lambda _: {"status": "error"}
    )
    assert ran.asked == [["tables"]]


def test_load_file_gets_the_library_that_it_needs(kernel: LiveKernel) -> None:
    ran = kernel.run(
        "import kernel_startup.loaders as loaders\n"
        "code = compile('import zzloaderlib', loaders.__file__, 'exec')\n"
        "exec(code, {'__name__': 'kernel_startup.loaders.new'})"
    )
    assert ran.asked == [["zzloaderlib"]]


def test_a_thread_of_the_cell_gets_what_it_imports(kernel: LiveKernel, name: str) -> None:
    kernel.shelf.add(name, "x = 5")
    code = """
        import threading
        def work():
            module = __import__("NA" + "ME")
            print(module.x)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    """
    code = _code(code).replace('"NA" + "ME"', f'"".join([{name!r}])')
    ran = kernel.run(code)
    assert (ran.asked, ran.stdout) == ([[name]], "5\n")


def test_two_threads_that_lack_the_same_ask_once(kernel: LiveKernel, name: str) -> None:
    kernel.shelf.add(name, "x = 5")
    code = """
        import concurrent.futures
        def work(_):
            return __import__("".join([NAME])).x
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            print(list(pool.map(work, range(4))))
    """
    ran = kernel.run(_code(code, NAME=repr(name)))
    assert (ran.asked, ran.stdout) == ([[name]], "[5, 5, 5, 5]\n")


def test_after_its_cell_a_thread_asks_for_nothing(kernel: LiveKernel, name: str) -> None:
    code = """
        import threading, time
        errors = []
        def work():
            while installer.is_open:
                time.sleep(0.01)
            try:
                __import__("".join([NAME]))
            except ImportError as error:
                errors.append(str(error))
        installer = get_ipython().kernel.installer
        thread = threading.Thread(target=work)
        thread.start()
    """
    assert kernel.run(_code(code, NAME=repr(name))).asked == []
    seen = kernel.run("thread.join()\nprint(errors)", packages=None)
    assert seen.stdout == f"[\"No module named '{name}'\"]\n"


def test_a_thread_stops_waiting_when_its_cell_ends(kernel: LiveKernel, name: str) -> None:
    code = """
        import threading
        asked, errors = threading.Event(), []
        def work():
            try:
                __import__("".join([NAME]))
            except ImportError as error:
                errors.append(str(error))
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(0.5)
    """
    assert kernel.run(_code(code, NAME=repr(name)), answer=lambda _: None).asked == [[name]]
    ran = kernel.run("thread.join()\nprint(errors, input())", lines=["line"])
    assert "The cell ended" in ran.stdout
    assert "line" in ran.stdout


def test_forked_processes_ask_for_nothing(kernel: LiveKernel, name: str) -> None:
    code = """
        import multiprocessing
        def work(queue):
            try:
                __import__("".join([NAME]))
            except ImportError as error:
                queue.put(str(error))
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        process = context.Process(target=work, args=(queue,))
        process.start()
        print(queue.get())
        process.join()
    """
    ran = kernel.run(_code(code, NAME=repr(name)))
    assert (ran.asked, ran.stdout) == ([], f"No module named {name!r}\n")


def test_programs_that_a_cell_starts_have_the_packages_too(kernel: LiveKernel, name: str) -> None:
    _library(kernel, name, "x = 5")
    ran = kernel.run(
        _code("import sys\n!{sys.executable} -c 'import NAME; print(NAME.x)'", NAME=name)
    )
    assert ran.status == "ok"
    code = """
        import subprocess, sys
        print(subprocess.check_output([sys.executable, "-c", "import NAME; print(NAME.x)"]))
    """
    assert kernel.run(_code(code, NAME=name)).stdout == "b'5\\n'\n"


# -- interrupts, and input() ---------------------------------------------------------------------


def _interrupted(kernel: LiveKernel, code: str) -> Ran:
    """Run a cell that is interrupted in place of the answer to what it asks."""

    def answer(_: Mapping[str, Any]) -> None:
        threading.Timer(0.1, kernel.interrupt).start()

    return kernel.run(code, answer=answer)


@pytest.mark.parametrize(
    "code",
    ["import NAME", "__import__(''.join(['NAME']))", "%pip install NAME", "!pip install NAME"],
)
def test_waiting_is_interrupted(kernel: LiveKernel, name: str, code: str) -> None:
    ran = _interrupted(kernel, code.replace("NAME", name))
    assert (ran.status, ran.ename, ran.asked) == ("error", "KeyboardInterrupt", [[name]])
    assert "questions.py" not in ran.traceback
    assert kernel.run("print(1 + 1)").stdout == "2\n"


def test_a_late_answer_is_not_taken_for_another(kernel: LiveKernel, name: str) -> None:
    _interrupted(kernel, f"import {name}")
    late = kernel.last_request

    def answer(content: Mapping[str, Any]) -> Mapping[str, Any]:
        kernel.reply({"status": "error", "message": "late"}, late)
        return kernel.shelf.answer(content)

    kernel.shelf.add(name, "x = 5")
    ran = kernel.run(f"import {name}\nprint({name}.x)", answer=answer)
    assert (ran.status, ran.stdout) == ("ok", "5\n")
    kernel.reply({"status": "error", "message": "late"}, late)
    ran = kernel.run("print(input())", lines=["a line"])
    assert ran.stdout == "a line\n"


def test_input_and_installing_take_turns(kernel: LiveKernel, name: str) -> None:
    kernel.shelf.add(name, "x = 5")
    code = """
        import threading
        found = []
        def work():
            found.append(__import__("".join([NAME])).x)
        thread = threading.Thread(target=work)
        thread.start()
        print(input())
        thread.join()
        print(found)
    """
    ran = kernel.run(_code(code, NAME=repr(name)), lines=["a line"])
    assert (ran.status, ran.stdout) == ("ok", "a line\n[5]\n")


def test_what_was_printed_is_shown_before_the_wait(kernel: LiveKernel, name: str) -> None:
    def answer(content: Mapping[str, Any]) -> Mapping[str, Any]:
        while not kernel.running.stdout:
            message = kernel.client.get_iopub_msg(timeout=20)
            kernel.running.stdout += message["content"].get("text", "")
        return kernel.shelf.answer(content)

    ran = kernel.run(f"print('before')\n__import__(''.join([{name!r}]))", answer=answer)
    assert (ran.asked, ran.stdout) == ([[name]], "before\n")


# -- by hand -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "%pip install NAME",
        "!pip install NAME",
        "!pip3 install NAME",
        "pip install NAME",
        "!python -m pip install NAME",
        "import sys\n!{sys.executable} -m pip install NAME",
        "python -m pip install NAME",
        "%uv pip install NAME",
        "!uv pip install --system NAME",
        "uv pip install NAME",
        "%conda install -c conda-forge -y NAME",
        "%mamba install NAME",
        "wanted = 'NAME'\n%pip install -q {wanted}",
        "wanted = 'NAME'\n!pip install $wanted",
        "if True:\n    !pip install NAME",
        "if True:\n    pip install NAME",
        "!pip install NAME | tail -1",
        "!pip install NAME > /dev/null 2>&1",
        "!echo begun; true\n!pip install \\\n    NAME",
        "x = !pip install NAME",
        "!pip install NAME && echo done",
    ],
)
def test_each_way_to_install_by_hand_is_served(kernel: LiveKernel, name: str, command: str) -> None:
    kernel.shelf.add(name, "x = 5")
    ran = kernel.run(f"{command.replace('NAME', name)}\nimport {name}\nprint({name}.x)")
    assert ran.requests == [
        {"action": "install", "kind": "command", "requirements": [name], "upgrade": False}
    ]
    # What a program of the shell prints comes by another thread, before or after the cell's own.
    assert (ran.status, "5" in ran.stdout.splitlines()) == ("ok", True)


def test_installing_says_what_was_done(kernel: LiveKernel, name: str) -> None:
    kernel.shelf.add(name)
    assert kernel.run(f"%pip install {name}").stdout == f"Installed {name} 1.0.\n"
    assert kernel.run(f"%pip install {name}").stdout == f"{name} 1.0 is installed already.\n"
    assert kernel.run(f"!pip install -q {name}").stdout == ""
    ran = kernel.run(f"!pip install {name}gone {name}\nprint('on')")
    assert ran.stderr.strip() == f"There is no package {name}gone on the index."
    assert ran.stdout == f"{name} 1.0 is installed already.\non\n"
    assert kernel.run(f"!pip uninstall -y {name}").stdout == f"Removed {name} 1.0.\n"


def test_several_with_versions_and_extras_go_at_once(kernel: LiveKernel) -> None:
    ran = kernel.run("!pip install -U 'a>=1' \"b[x]==2\" c~=3.0", answer=lambda _: {"status": "ok"})
    assert ran.requests == [
        {
            "action": "install",
            "kind": "command",
            "requirements": ["a>=1", "b[x]==2", "c~=3.0"],
            "upgrade": True,
        }
    ]


def test_a_changed_module_in_memory_asks_for_a_restart(kernel: LiveKernel, name: str) -> None:
    kernel.shelf.add(name)
    kernel.run(f"import {name}")

    def answer(_: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"status": "ok", "installed": [f"{name}==2.0"], "changed": [name]}

    ran = kernel.run(f"%pip install -U {name}", answer=answer)
    assert ran.stdout == f"Installed {name} 2.0.\n"
    assert ran.stderr.strip() == (
        f"{name} was imported before in another version: restart the kernel to use the new one."
    )


def test_lists_come_from_the_kernel_itself(kernel: LiveKernel, name: str) -> None:
    kernel.shelf.add(name)
    kernel.run(f"%pip install {name}")
    rows = [line.split() for line in kernel.run("!pip list").stdout.splitlines()]
    assert rows[0] == ["Package", "Version", "Where"]
    assert [name, "1.0", "own"] in rows
    assert [row[2] for row in rows if row[0] == "pandas"] == ["core"]
    assert f"{name}==1.0" in kernel.run("%pip freeze").stdout.splitlines()
    assert kernel.run(f"x = !pip freeze | grep {name}\nprint(x)").stdout == f"['{name}==1.0']\n"
    kernel.run("!pip freeze > frozen.txt")
    assert f"{name}==1.0" in (kernel.work / "frozen.txt").read_text()
    assert "Summary: of a test" in kernel.run(f"%pip show {name}").stdout
    assert kernel.run(f"%pip show {name}gone").stderr == f"{name}gone is not installed.\n"


def test_a_list_of_requirements_is_read(kernel: LiveKernel, name: str) -> None:
    (kernel.work / "wanted.txt").write_text(
        f"# these\n{name}>=1  # that\n\nzzb; python_version<'3'\n"
    )
    ran = kernel.run("!pip install -r wanted.txt", answer=lambda _: {"status": "ok"})
    assert ran.asked == [[f"{name}>=1"]]


def test_refusals_are_one_sentence_and_the_cell_goes_on(kernel: LiveKernel) -> None:
    ran = kernel.run("!pip install --index-url http://x.invalid y\nprint('on')")
    assert (ran.status, ran.asked, ran.stdout) == ("ok", [], "on\n")
    assert ran.stderr == (
        "--index-url can't be used: packages come only from the index that this service is set up "
        "with. Leave it out.\n"
    )


def test_text_that_looks_like_a_command_stays_text(kernel: LiveKernel) -> None:
    code = 'text = """\npip install x\n"""\nprint(text)\npip = 3\nprint(pip - 1)\n# pip install y'
    ran = kernel.run(code)
    assert (ran.asked, ran.stdout) == ([], "\npip install x\n\n2\n")


def test_other_commands_and_their_variables_are_as_ever(kernel: LiveKernel) -> None:
    code = """
        def f(word):
            x = !echo {word} $word {1 + 1} $$HOME
            return x
        print(f("local"))
    """
    assert kernel.run(_code(code)).stdout == f"['local local 2 {kernel.root}/home']\n"


def test_pip_as_a_program_says_what_to_do_instead(kernel: LiveKernel) -> None:
    code = """
        import subprocess, sys
        ran = subprocess.run(
            [sys.executable, "-m", "pip", "install", "x"], capture_output=True, text=True
        )
        print(ran.returncode, ran.stderr)
        print(any("programs" in entry for entry in sys.path))
    """
    ran = kernel.run(_code(code))
    assert "%pip install NAME" in ran.stdout
    assert ran.stdout.startswith("1 ")
    assert ran.stdout.endswith("False\n")
