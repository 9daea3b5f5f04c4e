"""What can be set: one frozen model, read from the environment in one place."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from packaging.specifiers import SpecifierSet
from platformdirs import user_cache_path
from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from interpreter.errors import SettingProblem, SettingsError

__all__ = ["SettingDocumentation", "Settings", "listed"]

MIB = 1 << 20
_SANDBOXES = ("auto", "namespaces", "landlock", "none")
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True, slots=True)
class _Variable:
    """How a field is called, measured and explained in the environment.

    Attributes:
        name: The environment's name for it.
        allowed: What may stand there; ``{unit}`` in it becomes the unit of whoever reads it.
        unit: The environment's unit, or "" for what isn't measured.
        field_unit: The field's own unit.
        scale: How many field units make one of the environment's; -1 ("never") is not scaled.
        default: How the default is written down, where the default itself depends on the machine.
    """

    name: str
    allowed: str
    unit: str = ""
    field_unit: str = ""
    scale: int = 1
    default: str | None = None

    def allowed_in_environment(self) -> str:
        return self.allowed.format(unit=self.unit)

    def allowed_in_field(self) -> str:
        return self.allowed.format(unit=self.field_unit or self.unit)

    def to_field(self, text: str, *, whole: bool) -> float | int | str:
        """Convert from the environment's unit; what is no number the model then refuses."""
        if self.scale == 1:
            return text
        try:
            number = float(text)
        except ValueError:
            return text
        if not math.isfinite(number):
            return text
        if number != -1:
            number *= self.scale
        return int(number) if whole and math.isfinite(number) else number

    def to_environment(self, value: object) -> str:
        """Say a field's value as it would stand in the environment."""
        if value is None:
            return ""
        if isinstance(value, int | float):
            if self.scale != 1 and value != -1:
                value = value / self.scale
            return f"{value:g}" if isinstance(value, float) else str(value)
        return str(value)


@dataclass(frozen=True, slots=True)
class SettingDocumentation:
    """What ``.env.example`` and the reference say about one setting.

    Attributes:
        env_name: The environment's name, such as ``FILE_EXPIRATION_HOURS``.
        field_name: The attribute of ``Settings``.
        description: What it is for.
        allowed: What may stand there, in the environment's unit.
        unit: The environment's unit, or "" for what isn't measured.
        default: The default as it would stand in the environment; "" where there is none.
        secret: Whether its value must not be shown.
    """

    env_name: str
    field_name: str
    description: str
    allowed: str
    unit: str
    default: str
    secret: bool


def _directory(path: Path) -> Path:
    try:
        return Path(os.path.abspath(path.expanduser()))
    except RuntimeError as error:
        raise ValueError("no home directory to stand for the ~") from error


def _positive_or_never(number: float) -> float:
    if number == -1 or number > 0:
        return number
    raise ValueError("neither greater than 0 nor -1")


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


def listed(text: str) -> list[str]:
    """The parts of a text with commas between."""
    return [part.strip() for part in text.split(",") if part.strip()]


_INDEX_URL = "the address of an index, beginning with https:// or http://"
_PATTERNS = (
    "names of packages with commas between, each with wildcards (`scikit-*`) or one condition "
    "(`django<5`) if need be"
)
_POSITIVE = "a number of {unit} greater than 0"
_POSITIVE_OR_NEVER = "a number of {unit} greater than 0, or -1 for never"
_MOST_HOURS = 876_000  # A century: what dates can be subtracted from without overflowing.
_MOST_BYTES = 1 << 50  # Far beyond any disk here, and well within MongoDB's 64-bit integers.

_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _bytes(least: int) -> Any:
    return Field(ge=least, le=_MOST_BYTES)


class Settings(BaseSettings):
    """Everything an operator can set, checked, frozen, in the units the names say.

    ``Settings(data_dir=...)`` takes field names and reads nothing else: an environment never leaks
    into a library's caller. ``Settings.load()`` is for the composition root.

    Raises:
        SettingsError: Naming every value that can't be used.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        # What pydantic says about a wrong value would quote it, secrets too.
        hide_input_in_errors=True,
    )

    data_dir: Annotated[
        Path,
        AfterValidator(_directory),
        _Variable("DATA_DIR", "a directory"),
    ] = Field(
        default=Path("/tmp/bot_code_interpreter"),
        description="Where users' files, sessions and the embedded database are kept.",
    )
    kernel_env_dir: Annotated[
        Path,
        AfterValidator(_directory),
        _Variable("KERNEL_ENV_DIR", "a directory", default="~/.cache/cellmate/kernel-envs"),
    ] = Field(
        default_factory=lambda: user_cache_path("cellmate", appauthor=False) / "kernel-envs",
        description="Where the kernels' Python environments are built and kept.",
    )
    mongodb_uri: Annotated[
        SecretStr | None,
        AfterValidator(lambda uri: uri and _mongodb_uri(uri)),
        _Variable("MONGODB_URI", "a MongoDB address such as mongodb://user:password@host:27017"),
    ] = Field(
        default=None,
        description="The MongoDB to use; without it an embedded one is started in the data "
        "directory.",
    )
    mongodb_database: Annotated[
        str,
        AfterValidator(_database_name),
        _Variable(
            "MONGODB_DATABASE",
            'a database name of 1 to 63 bytes without spaces or any of / \\ . " $ * < > : | ?, '
            "and not admin, config or local",
        ),
    ] = Field(default="cellmate", description="The database in that MongoDB.")
    file_retention_hours: Annotated[
        float,
        Field(le=_MOST_HOURS, allow_inf_nan=False),
        AfterValidator(_positive_or_never),
        _Variable("FILE_EXPIRATION_HOURS", _POSITIVE_OR_NEVER, unit="hours"),
    ] = Field(
        default=48.0,
        description="How long a file is kept after its upload; -1 keeps files for ever. Applies "
        "to files already stored, too.",
    )
    max_files_per_user: Annotated[
        int,
        Field(ge=1, le=1000),
        _Variable("MAX_FILES_PER_USER", "a whole number from 1 to 1000", unit="files"),
    ] = Field(
        default=20,
        description="How many files a user may keep; one more, and the oldest goes.",
    )
    max_file_bytes: Annotated[
        int,
        _bytes(1),
        _Variable("MAX_FILE_SIZE_MB", _POSITIVE, unit="MiB", field_unit="bytes", scale=MIB),
    ] = Field(default=50 * MIB, description="How large one file may be.")
    cleanup_interval_s: Annotated[
        _Seconds,
        _Variable(
            "CLEANUP_INTERVAL_MINUTES", _POSITIVE, unit="minutes", field_unit="seconds", scale=60
        ),
    ] = Field(
        default=600.0,
        description="How often stored files and their records are compared, and what a crash left "
        "is removed. Expired files go at once, whatever this is.",
    )
    cell_timeout_s: Annotated[
        _Seconds,
        _Variable("CODE_EXECUTION_TIMEOUT", _POSITIVE, unit="seconds"),
    ] = Field(
        default=300.0,
        description="How long a cell may run; waiting, installing packages and collecting files "
        "don't count.",
    )
    interrupt_grace_s: Annotated[
        _Seconds,
        _Variable("INTERRUPT_GRACE_SECONDS", _POSITIVE, unit="seconds"),
    ] = Field(
        default=5.0,
        description="How long an interrupted cell has to stop before its kernel is replaced.",
    )
    input_timeout_s: Annotated[
        _Seconds,
        _Variable("INPUT_TIMEOUT_SECONDS", _POSITIVE, unit="seconds"),
    ] = Field(default=300.0, description="How long input() waits for a person's answer.")
    cell_queue_limit: Annotated[
        int,
        Field(ge=0, le=1000),
        _Variable("CELL_QUEUE_LIMIT", "a whole number from 0 to 1000", unit="cells"),
    ] = Field(default=5, description="How many of a user's cells may wait behind the running one.")
    kernel_memory_bytes: Annotated[
        int,
        _bytes(64 * MIB),
        _Variable(
            "KERNEL_MEMORY_MB",
            "a number of MiB, 64 or more",
            unit="MiB",
            field_unit="bytes",
            scale=MIB,
        ),
    ] = Field(default=1024 * MIB, description="How much memory one kernel may use.")
    kernel_processes: Annotated[
        int,
        Field(ge=16, le=32768),
        _Variable(
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
        _Variable(
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
        _Variable("KERNEL_MAX_OPEN_FILES", "a whole number from 64 to 65536", unit="files"),
    ] = Field(default=1024, description="How many files one process of a kernel may have open.")
    kernel_file_bytes: Annotated[
        int,
        _bytes(MIB),
        _Variable(
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
        _Variable(
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
        _Variable(
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
        _Variable("WORKING_DIRECTORY_FILES", "a whole number from 100 to 10000000", unit="files"),
    ] = Field(
        default=50_000,
        description="How many files and directories those may hold; a kernel that goes on making "
        "them is stopped.",
    )
    kernel_idle_s: Annotated[
        float,
        Field(allow_inf_nan=False),
        AfterValidator(_positive_or_never),
        _Variable(
            "KERNEL_IDLE_MINUTES",
            _POSITIVE_OR_NEVER,
            unit="minutes",
            field_unit="seconds",
            scale=60,
        ),
    ] = Field(
        default=3600.0,
        description="How long a kernel nobody uses is kept, with its variables; -1 keeps it.",
    )
    max_kernels: Annotated[
        int | None,
        Field(ge=1, le=100_000),
        _Variable("MAX_KERNELS", "a whole number from 1 to 100000", unit="kernels"),
    ] = Field(
        default=None,
        description="How many kernels may live at once; without it, as many as memory allows.",
    )
    warm_kernels: Annotated[
        int,
        Field(ge=0, le=64),
        _Variable("WARM_KERNELS", "a whole number from 0 to 64", unit="kernels"),
    ] = Field(default=1, description="How many kernels are kept ready for users yet to come.")
    max_output_chars: Annotated[
        int,
        Field(ge=1, le=1_000_000_000),
        _Variable("MAX_OUTPUT_CHARS", "a whole number from 1 to 1000000000", unit="characters"),
    ] = Field(
        default=200_000,
        description="How much text of a cell is kept, half from its start, half from its end.",
    )
    max_artifacts: Annotated[
        int,
        Field(ge=0, le=1000),
        _Variable("MAX_ARTIFACTS", "a whole number from 0 to 1000", unit="files"),
    ] = Field(default=10, description="How many files of one cell are collected.")
    max_artifacts_bytes: Annotated[
        int,
        _bytes(1),
        _Variable("MAX_ARTIFACTS_MB", _POSITIVE, unit="MiB", field_unit="bytes", scale=MIB),
    ] = Field(default=100 * MIB, description="How large the files of one cell may be together.")
    sandbox: Annotated[
        str,
        AfterValidator(_sandbox),
        _Variable("SANDBOX", "one of " + ", ".join(_SANDBOXES)),
    ] = Field(
        default="namespaces",
        description="What confines kernels: namespaces (the strongest); landlock, for containers "
        "that refuse namespaces; auto, the strongest of the two that works here; or none: then "
        "whoever runs code can do all that this account can. `python -m interpreter doctor` tells "
        "what works.",
    )
    review_code: Annotated[
        bool,
        _Variable("REVIEW_CODE", "true or false"),
    ] = Field(
        default=True,
        description="Whether a cell is read before it runs, and answered at once where it can't "
        "work here, such as a download. Protects nobody: the sandbox does.",
    )
    install_packages: Annotated[
        bool,
        _Variable("INSTALL_PACKAGES", "true or false"),
    ] = Field(
        default=True,
        description="Whether packages that a cell imports, or asks for with `pip install`, are "
        "installed for its user: wheels only, by a sandboxed installer.",
    )
    package_index: Annotated[
        SecretStr | None,
        AfterValidator(lambda url: url and _index_url(url)),
        _Variable("PACKAGE_INDEX", _INDEX_URL),
    ] = Field(
        default=None,
        description="The index that packages come from; without it, the one that uv is configured "
        "with. A user name and password in it are kept from everybody.",
    )
    package_extra_indexes: Annotated[
        SecretStr | None,
        AfterValidator(lambda urls: urls and _index_urls(urls)),
        _Variable("PACKAGE_EXTRA_INDEXES", f"{_INDEX_URL}, or several with commas between"),
    ] = Field(
        default=None,
        description="Further indexes, which come before that one: a package that one of them has "
        "is never taken from elsewhere.",
    )
    package_hosts: Annotated[
        str,
        AfterValidator(_host_names),
        _Variable("PACKAGE_HOSTS", "names of hosts such as files.example.org, with commas between"),
    ] = Field(
        default="",
        description="Further hosts that the installer may reach, where an index' files are on "
        "hosts that it doesn't name.",
    )
    package_offline: Annotated[
        bool,
        _Variable("PACKAGE_OFFLINE", "true or false"),
    ] = Field(
        default=False, description="Whether only packages that are in the cache are installed."
    )
    packages_allowed: Annotated[
        str,
        AfterValidator(_package_patterns),
        _Variable("PACKAGES_ALLOWED", _PATTERNS),
    ] = Field(
        default="*",
        description="Which packages users may ask for, such as `seaborn, scikit-*, django<5`. What "
        "those need is installed with them.",
    )
    packages_denied: Annotated[
        str,
        AfterValidator(_package_patterns),
        _Variable("PACKAGES_DENIED", _PATTERNS),
    ] = Field(default="", description="Which packages are never installed, not even for another.")
    package_download_bytes: Annotated[
        int,
        _bytes(MIB),
        _Variable(
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
        _Variable(
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
        _Variable(
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
        _Variable("INSTALL_TIMEOUT_SECONDS", _POSITIVE, unit="seconds"),
    ] = Field(default=120.0, description="How long one installation may take.")
    kernel_python: Annotated[
        Path | None,
        AfterValidator(lambda path: path and _directory(path)),
        _Variable("KERNEL_PYTHON", "the path of a Python interpreter"),
    ] = Field(
        default=None,
        description="The Python that kernels run on; without it, the one the service runs on.",
    )
    kernel_uid: Annotated[
        int,
        # 2**32 - 1 means "no uid" to the system, and 0 is what kernels must never have.
        Field(ge=1, le=(1 << 32) - 2),
        _Variable("KERNEL_UID", "a user id from 1 to 4294967294"),
    ] = Field(
        default=52525,
        description="When the service runs as root, each kernel runs as a user of its own: one of "
        "the 10000 ids above this one.",
    )
    log_level: Annotated[
        str,
        AfterValidator(_log_level),
        _Variable("LOG_LEVEL", "one of " + ", ".join(_LOG_LEVELS)),
    ] = Field(default="INFO", description="How much is logged.")

    @classmethod
    def load(cls, env_file: Path | str | None = ".env") -> Self:
        """Read the environment, and below it a file of the same form.

        Unknown names are ignored, empty values count as unset, and the environment wins over the
        file.

        Args:
            env_file: The file, relative to the working directory; None reads none. One that
                doesn't exist is no mistake.

        Raises:
            SettingsError: Naming every value that can't be used, under its environment name.
        """
        given = _environment(cls, env_file)
        values: dict[str, Any] = {
            field_name: variable.to_field(given[variable.name], whole=_is_whole(field))
            for field_name, field, variable in _variables(cls)
            if variable.name in given
        }
        try:
            return cls(**values)
        except SettingsError as error:
            # Said again in the names and units that the operator wrote.
            variables = {field_name: variable for field_name, _, variable in _variables(cls)}
            wrong = [variables[problem.name] for problem in error.problems]
            secret = {problem.name for problem in error.problems if problem.value is None}
            raise SettingsError(
                SettingProblem(
                    variable.name,
                    None if problem.name in secret else given[variable.name],
                    variable.allowed_in_environment(),
                )
                for problem, variable in zip(error.problems, wrong, strict=True)
            ) from None

    @classmethod
    def documented(cls) -> tuple[SettingDocumentation, ...]:
        """Everything there is to say about each setting, in the order of the fields."""
        return tuple(
            SettingDocumentation(
                env_name=variable.name,
                field_name=field_name,
                description=field.description or "",
                allowed=variable.allowed_in_environment(),
                unit=variable.unit,
                default=variable.default or variable.to_environment(field.default),
                secret=_is_secret(field),
            )
            for field_name, field, variable in _variables(cls)
        )

    @property
    def file_retention(self) -> timedelta | None:
        """How long a file is kept, or None for ever."""
        if self.file_retention_hours == -1:
            return None
        return timedelta(hours=self.file_retention_hours)

    @model_validator(mode="wrap")
    @classmethod
    def _report_all(cls, values: object, validate: ValidatorFunctionWrapHandler) -> Self:
        try:
            checked: Self = validate(values)
        except ValidationError as error:
            # Not chained: pydantic's own report knows the values, secrets too.
            raise SettingsError(_problems(cls, error)) from None
        return checked

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Called by pydantic-settings: of all it could read, only what the caller gave."""
        return (init_settings,)


def _variables(settings: type[Settings]) -> list[tuple[str, FieldInfo, _Variable]]:
    return [
        (name, field, next(item for item in field.metadata if isinstance(item, _Variable)))
        for name, field in settings.model_fields.items()
    ]


def _is_whole(field: FieldInfo) -> bool:
    return field.annotation in (int, int | None)


def _is_secret(field: FieldInfo) -> bool:
    return field.annotation == SecretStr | None


def _environment(settings: type[Settings], env_file: Path | str | None) -> Mapping[str, str]:
    """The texts given for settings, by environment name; without the empty ones."""
    sources = [EnvSettingsSource(settings, case_sensitive=True)]
    if env_file is not None:
        try:
            sources.insert(
                0, DotEnvSettingsSource(settings, env_file, "utf-8", case_sensitive=True)
            )
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise SettingsError(
                [SettingProblem(str(env_file), f"unreadable ({reason})", "a UTF-8 text file")]
            ) from error
    given = {}
    for source in sources:
        given.update({k: v.strip() for k, v in source.env_vars.items() if v and v.strip()})
    return given


def _problems(settings: type[Settings], error: ValidationError) -> list[SettingProblem]:
    """One problem for each wrong field, in the order of the fields, and one for each unknown."""
    wrong = {str(detail["loc"][0]): detail["input"] for detail in reversed(error.errors())}
    problems = []
    for name, field, variable in _variables(settings):
        if name in wrong:
            value = None if _is_secret(field) else str(wrong.pop(name))
            wrong.pop(name, None)
            problems.append(SettingProblem(name, value, variable.allowed_in_field()))
    for name, value in wrong.items():
        problems.append(SettingProblem(name, str(value), "left out: there is no such setting"))
    return problems
