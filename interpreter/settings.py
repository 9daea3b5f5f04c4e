"""What can be set: one frozen model, read from the environment in one place."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from packaging.specifiers import SpecifierSet
from platformdirs import user_cache_path
from pydantic import AfterValidator, Field, SecretStr

from interpreter.environment import (
    POSITIVE,
    POSITIVE_OR_NEVER,
    EnvironmentSettings,
    Variable,
    directory,
    listed,
    positive_or_never,
)

__all__ = ["Settings", "listed"]

MIB = 1 << 20
_SANDBOXES = ("auto", "namespaces", "landlock", "none")
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def _log_level(name: str) -> str:
    if name.upper() not in _LOG_LEVELS:
        raise ValueError("no such level")
    return name.upper()


def _sandbox(name: str) -> str:
    if name.lower() not in _SANDBOXES:
        raise ValueError("no such sandbox")
    return name.lower()


def _database_name(name: str) -> str:
    # Source: MongoDB manual, "Naming restrictions"; the strictest (Windows) set of characters.
    if not 0 < len(name.encode()) < 64 or set(name) & set('/\\. "$*<>:|?\0'):
        raise ValueError("not a database name")
    if name in ("admin", "config", "local"):
        raise ValueError("MongoDB's own database")
    return name


def _mongodb_uri(uri: SecretStr) -> SecretStr:
    if not uri.get_secret_value().startswith(("mongodb://", "mongodb+srv://")):
        raise ValueError("not a MongoDB URI")
    return uri


def _index_url(url: SecretStr) -> SecretStr:
    parts = urlsplit(url.get_secret_value())
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError("not an index' address")
    return url


def _index_urls(urls: SecretStr) -> SecretStr:
    for url in urls.get_secret_value().split(","):
        _index_url(SecretStr(url.strip()))
    return urls


def _host_names(names: str) -> str:
    for name in listed(names):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?", name):
            raise ValueError("not a host's name")
    return names


def _package_patterns(patterns: str) -> str:
    for pattern in listed(patterns):
        if not re.fullmatch(r"[A-Za-z0-9*?][A-Za-z0-9._*?-]*\s*([<>=!~]=?.*)?", pattern):
            raise ValueError("not a package's name")
        SpecifierSet(re.sub(r"^[A-Za-z0-9._*?-]+", "", pattern))
    return patterns


_INDEX_URL = "the address of an index, beginning with https:// or http://"
_PATTERNS = (
    "names of packages with commas between, each with wildcards (`scikit-*`) or one condition "
    "(`django<5`) if need be"
)
_MOST_HOURS = 876_000  # A century: what dates can be subtracted from without overflowing.
_MOST_BYTES = 1 << 50  # Far beyond any disk here, and well within MongoDB's 64-bit integers.

_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _bytes(least: int) -> Any:
    return Field(ge=least, le=_MOST_BYTES)


class Settings(EnvironmentSettings):
    """Everything an operator can set of the service, checked, frozen, in the units the names say.

    ``Settings(data_dir=...)`` takes field names and reads nothing else: an environment never leaks
    into a library's caller. ``Settings.load()`` is for the composition root.

    Raises:
        SettingsError: Naming every value that can't be used.
    """

    data_dir: Annotated[
        Path,
        AfterValidator(directory),
        Variable("DATA_DIR", "a directory"),
    ] = Field(
        default=Path("/tmp/bot_code_interpreter"),
        description="Where users' files, sessions and the embedded database are kept.",
    )
    kernel_env_dir: Annotated[
        Path,
        AfterValidator(directory),
        Variable("KERNEL_ENV_DIR", "a directory", default="~/.cache/cellmate/kernel-envs"),
    ] = Field(
        default_factory=lambda: user_cache_path("cellmate", appauthor=False) / "kernel-envs",
        description="Where the kernels' Python environments are built and kept.",
    )
    mongodb_uri: Annotated[
        SecretStr | None,
        AfterValidator(lambda uri: uri and _mongodb_uri(uri)),
        Variable("MONGODB_URI", "a MongoDB address such as mongodb://user:password@host:27017"),
    ] = Field(
        default=None,
        description="The MongoDB to use; without it an embedded one is started in the data "
        "directory.",
    )
    mongodb_database: Annotated[
        str,
        AfterValidator(_database_name),
        Variable(
            "MONGODB_DATABASE",
            'a database name of 1 to 63 bytes without spaces or any of / \\ . " $ * < > : | ?, '
            "and not admin, config or local",
        ),
    ] = Field(default="cellmate", description="The database in that MongoDB.")
    file_retention_hours: Annotated[
        float,
        Field(le=_MOST_HOURS, allow_inf_nan=False),
        AfterValidator(positive_or_never),
        Variable("FILE_EXPIRATION_HOURS", POSITIVE_OR_NEVER, unit="hours"),
    ] = Field(
        default=48.0,
        description="How long a file is kept after its upload; -1 keeps files for ever. Applies "
        "to files already stored, too.",
    )
    max_files_per_user: Annotated[
        int,
        Field(ge=1, le=1000),
        Variable("MAX_FILES_PER_USER", "a whole number from 1 to 1000", unit="files"),
    ] = Field(
        default=20,
        description="How many files a user may keep; one more, and the oldest goes.",
    )
    max_file_bytes: Annotated[
        int,
        _bytes(1),
        Variable("MAX_FILE_SIZE_MB", POSITIVE, unit="MiB", field_unit="bytes", scale=MIB),
    ] = Field(default=50 * MIB, description="How large one file may be.")
    cleanup_interval_s: Annotated[
        _Seconds,
        Variable(
            "CLEANUP_INTERVAL_MINUTES", POSITIVE, unit="minutes", field_unit="seconds", scale=60
        ),
    ] = Field(
        default=600.0,
        description="How often stored files and their records are compared, and what a crash left "
        "is removed. Expired files go at once, whatever this is.",
    )
    cell_timeout_s: Annotated[
        _Seconds,
        Variable("CODE_EXECUTION_TIMEOUT", POSITIVE, unit="seconds"),
    ] = Field(
        default=300.0,
        description="How long a cell may run; waiting, installing packages and collecting files "
        "don't count.",
    )
    interrupt_grace_s: Annotated[
        _Seconds,
        Variable("INTERRUPT_GRACE_SECONDS", POSITIVE, unit="seconds"),
    ] = Field(
        default=5.0,
        description="How long an interrupted cell has to stop before its kernel is replaced.",
    )
    input_timeout_s: Annotated[
        _Seconds,
        Variable("INPUT_TIMEOUT_SECONDS", POSITIVE, unit="seconds"),
    ] = Field(default=300.0, description="How long input() waits for a person's answer.")
    cell_queue_limit: Annotated[
        int,
        Field(ge=0, le=1000),
        Variable("CELL_QUEUE_LIMIT", "a whole number from 0 to 1000", unit="cells"),
    ] = Field(default=5, description="How many of a user's cells may wait behind the running one.")
    kernel_memory_bytes: Annotated[
        int,
        _bytes(128 * MIB),
        Variable(
            "KERNEL_MEMORY_MB",
            "a number of MiB, 128 or more",
            unit="MiB",
            field_unit="bytes",
            scale=MIB,
        ),
    ] = Field(default=1024 * MIB, description="How much memory one kernel may use.")
    kernel_processes: Annotated[
        int,
        Field(ge=16, le=32768),
        Variable(
            "KERNEL_MAX_PROCESSES", "a whole number from 16 to 32768", unit="processes and threads"
        ),
    ] = Field(
        default=64,
        description="How many processes and threads one kernel may have; a kernel itself needs "
        "about 14.",
    )
    kernel_cpu_percent: Annotated[
        int,
        Field(ge=5, le=100_000),
        Variable(
            "KERNEL_CPU_PERCENT", "a whole number from 5 to 100000", unit="percent of one processor"
        ),
    ] = Field(
        default=100,
        description="How much processor time one kernel may use, in percent of one processor: 200 "
        "is two processors all the time. Kernels that want more than there is share it evenly.",
    )
    kernel_open_files: Annotated[
        int,
        Field(ge=64, le=65_536),
        Variable("KERNEL_MAX_OPEN_FILES", "a whole number from 64 to 65536", unit="files"),
    ] = Field(default=1024, description="How many files one process of a kernel may have open.")
    kernel_file_bytes: Annotated[
        int,
        _bytes(MIB),
        Variable(
            "KERNEL_FILE_SIZE_MB",
            "a number of MiB, 1 or more",
            unit="MiB",
            field_unit="bytes",
            scale=MIB,
        ),
    ] = Field(default=500 * MIB, description="How large one file may be that a cell writes.")
    kernel_tmp_bytes: Annotated[
        int,
        _bytes(MIB),
        Variable(
            "KERNEL_TMP_MB", "a number of MiB, 1 or more", unit="MiB", field_unit="bytes", scale=MIB
        ),
    ] = Field(
        default=256 * MIB,
        description="How large a kernel's private /tmp may be, and its shared memory as well. Both "
        "count as memory.",
    )
    working_directory_bytes: Annotated[
        int,
        _bytes(MIB),
        Variable(
            "WORKING_DIRECTORY_MB",
            "a number of MiB, 1 or more",
            unit="MiB",
            field_unit="bytes",
            scale=MIB,
        ),
    ] = Field(
        default=500 * MIB,
        description="How much room a user's working directory and home may take together; a kernel "
        "that goes on writing is stopped.",
    )
    working_directory_files: Annotated[
        int,
        Field(ge=100, le=10_000_000),
        Variable("WORKING_DIRECTORY_FILES", "a whole number from 100 to 10000000", unit="files"),
    ] = Field(
        default=50_000,
        description="How many files and directories those may hold; a kernel that goes on making "
        "them is stopped.",
    )
    kernel_idle_s: Annotated[
        float,
        Field(allow_inf_nan=False),
        AfterValidator(positive_or_never),
        Variable(
            "KERNEL_IDLE_MINUTES",
            POSITIVE_OR_NEVER,
            unit="minutes",
            field_unit="seconds",
            scale=60,
        ),
    ] = Field(
        default=3600.0,
        description="How long a kernel nobody uses is kept, with its variables; -1 keeps it.",
    )
    orphan_s: Annotated[
        float,
        Field(ge=0, le=7 * 86400, allow_inf_nan=False),
        Variable(
            "KERNEL_ORPHAN_MINUTES",
            "a number of minutes from 0 to 10080; 0 for not at all",
            unit="minutes",
            field_unit="seconds",
            scale=60,
        ),
    ] = Field(
        default=900.0,
        description="How long kernels live on when the service has gone, with their variables and "
        "the cells they run: so long it may take to start it again.",
    )
    max_kernels: Annotated[
        int | None,
        Field(ge=1, le=100_000),
        Variable("MAX_KERNELS", "a whole number from 1 to 100000", unit="kernels"),
    ] = Field(
        default=None,
        description="How many kernels may live at once; without it, as many as memory allows.",
    )
    warm_kernels: Annotated[
        int,
        Field(ge=0, le=64),
        Variable("WARM_KERNELS", "a whole number from 0 to 64", unit="kernels"),
    ] = Field(
        default=1,
        description="How many kernels are kept ready for users yet to come, at least; more while "
        "many come.",
    )
    warm_kernels_max: Annotated[
        int | None,
        Field(ge=0, le=1000),
        Variable("WARM_KERNELS_MAX", "a whole number from 0 to 1000", unit="kernels"),
    ] = Field(
        default=None,
        description="How many kernels are kept ready at most; without it a quarter of those that "
        "may live at once, or none where `WARM_KERNELS` is 0.",
    )
    snapshot_bytes: Annotated[
        int,
        _bytes(0),
        Variable(
            "SNAPSHOT_MB", "a number of MiB, 0 or more", unit="MiB", field_unit="bytes", scale=MIB
        ),
    ] = Field(
        default=256 * MIB,
        description="How much is saved of a user's variables, for the kernel that comes when "
        "theirs has been stopped or has ended; 0 saves nothing.",
    )
    snapshot_interval_s: Annotated[
        float,
        Field(allow_inf_nan=False),
        AfterValidator(positive_or_never),
        Variable(
            "SNAPSHOT_MINUTES",
            POSITIVE_OR_NEVER,
            unit="minutes",
            field_unit="seconds",
            scale=60,
        ),
    ] = Field(
        default=300.0,
        description="How often the variables of kernels are saved that have run cells since; -1 "
        "saves them only before a kernel is stopped.",
    )
    max_output_chars: Annotated[
        int,
        Field(ge=1, le=1_000_000_000),
        Variable("MAX_OUTPUT_CHARS", "a whole number from 1 to 1000000000", unit="characters"),
    ] = Field(
        default=200_000,
        description="How much text of a cell is kept, half from its start, half from its end.",
    )
    max_artifacts: Annotated[
        int,
        Field(ge=0, le=1000),
        Variable("MAX_ARTIFACTS", "a whole number from 0 to 1000", unit="files"),
    ] = Field(default=10, description="How many files of one cell are collected.")
    max_artifacts_bytes: Annotated[
        int,
        _bytes(1),
        Variable("MAX_ARTIFACTS_MB", POSITIVE, unit="MiB", field_unit="bytes", scale=MIB),
    ] = Field(default=100 * MIB, description="How large the files of one cell may be together.")
    sandbox: Annotated[
        str,
        AfterValidator(_sandbox),
        Variable("SANDBOX", "one of " + ", ".join(_SANDBOXES)),
    ] = Field(
        default="namespaces",
        description="What confines kernels: namespaces (the strongest); landlock, for containers "
        "that refuse namespaces; auto, the strongest of the two that works here; or none: then "
        "whoever runs code can do all that this account can. `python -m interpreter doctor` tells "
        "what works.",
    )
    review_code: Annotated[
        bool,
        Variable("REVIEW_CODE", "true or false"),
    ] = Field(
        default=True,
        description="Whether a cell is read before it runs, and answered at once where it can't "
        "work here, such as a download. Protects nobody: the sandbox does.",
    )
    install_packages: Annotated[
        bool,
        Variable("INSTALL_PACKAGES", "true or false"),
    ] = Field(
        default=True,
        description="Whether packages that a cell imports, or asks for with `pip install`, are "
        "installed for its user: wheels only, by a sandboxed installer.",
    )
    package_index: Annotated[
        SecretStr | None,
        AfterValidator(lambda url: url and _index_url(url)),
        Variable("PACKAGE_INDEX", _INDEX_URL),
    ] = Field(
        default=None,
        description="The index that packages come from; without it, the one that uv is configured "
        "with. A user name and password in it are kept from everybody.",
    )
    package_extra_indexes: Annotated[
        SecretStr | None,
        AfterValidator(lambda urls: urls and _index_urls(urls)),
        Variable("PACKAGE_EXTRA_INDEXES", f"{_INDEX_URL}, or several with commas between"),
    ] = Field(
        default=None,
        description="Further indexes, which come before that one: a package that one of them has "
        "is never taken from elsewhere.",
    )
    package_hosts: Annotated[
        str,
        AfterValidator(_host_names),
        Variable("PACKAGE_HOSTS", "names of hosts such as files.example.org, with commas between"),
    ] = Field(
        default="",
        description="Further hosts that the installer may reach, where an index' files are on "
        "hosts that it doesn't name.",
    )
    package_offline: Annotated[
        bool,
        Variable("PACKAGE_OFFLINE", "true or false"),
    ] = Field(
        default=False, description="Whether only packages that are in the cache are installed."
    )
    packages_allowed: Annotated[
        str,
        AfterValidator(_package_patterns),
        Variable("PACKAGES_ALLOWED", _PATTERNS),
    ] = Field(
        default="*",
        description="Which packages users may ask for, such as `seaborn, scikit-*, django<5`. What "
        "those need is installed with them.",
    )
    packages_denied: Annotated[
        str,
        AfterValidator(_package_patterns),
        Variable("PACKAGES_DENIED", _PATTERNS),
    ] = Field(default="", description="Which packages are never installed, not even for another.")
    package_download_bytes: Annotated[
        int,
        _bytes(MIB),
        Variable(
            "PACKAGE_DOWNLOAD_MB",
            "a number of MiB, 1 or more",
            unit="MiB",
            field_unit="bytes",
            scale=MIB,
        ),
    ] = Field(default=300 * MIB, description="How much may be downloaded for one installation.")
    user_packages_bytes: Annotated[
        int,
        _bytes(MIB),
        Variable(
            "USER_PACKAGES_MB",
            "a number of MiB, 1 or more",
            unit="MiB",
            field_unit="bytes",
            scale=MIB,
        ),
    ] = Field(
        default=1024 * MIB,
        description="How large all of a user's packages may be together. Users with the same "
        "packages share them.",
    )
    package_cache_bytes: Annotated[
        int,
        _bytes(MIB),
        Variable(
            "PACKAGE_CACHE_MB",
            "a number of MiB, 1 or more",
            unit="MiB",
            field_unit="bytes",
            scale=MIB,
        ),
    ] = Field(
        default=4096 * MIB,
        description="How large the packages of all users may be together; beyond it, those not in "
        "use go first.",
    )
    install_timeout_s: Annotated[
        _Seconds,
        Variable("INSTALL_TIMEOUT_SECONDS", POSITIVE, unit="seconds"),
    ] = Field(default=120.0, description="How long one installation may take.")
    kernel_python: Annotated[
        Path | None,
        AfterValidator(lambda path: path and directory(path)),
        Variable("KERNEL_PYTHON", "the path of a Python interpreter"),
    ] = Field(
        default=None,
        description="The Python that kernels run on; without it, the one the service runs on.",
    )
    kernel_uid: Annotated[
        int,
        # 2**32 - 1 means "no uid" to the system, and 0 is what kernels must never have.
        Field(ge=1, le=(1 << 32) - 2),
        Variable("KERNEL_UID", "a user id from 1 to 4294967294"),
    ] = Field(
        default=52525,
        description="When the service runs as root, each kernel runs as a user of its own: one of "
        "the 10000 ids above this one.",
    )
    log_level: Annotated[
        str,
        AfterValidator(_log_level),
        Variable("LOG_LEVEL", "one of " + ", ".join(_LOG_LEVELS)),
    ] = Field(default="INFO", description="How much is logged.")

    @property
    def file_retention(self) -> timedelta | None:
        """How long a file is kept, or None for ever."""
        if self.file_retention_hours == -1:
            return None
        return timedelta(hours=self.file_retention_hours)
