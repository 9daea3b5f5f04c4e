"""Settings: what the environment says, in one place, with every mistake named."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from interpreter.environment import misspelt
from interpreter.errors import SettingProblem, SettingsError
from interpreter.settings import Settings

MIB = 1 << 20
SECRETS = {"MONGODB_URI", "PACKAGE_INDEX", "PACKAGE_EXTRA_INDEXES"}
ENVIRONMENT = {setting.env_name for setting in Settings.documented()}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)  # Where there is no .env.


def refused(error: SettingsError) -> set[str]:
    return {problem.name for problem in error.problems}


def test_defaults_are_the_documented_ones() -> None:
    settings = Settings.load()
    assert settings == Settings()
    assert settings.data_dir == Path("/tmp/bot_code_interpreter")
    assert settings.mongodb_uri is None
    assert settings.mongodb_database == "cellmate"
    assert settings.file_retention_hours == 48
    assert settings.max_files_per_user == 20
    assert settings.max_file_bytes == 50 * MIB
    assert settings.cleanup_interval_s == 600
    assert settings.cell_timeout_s == 300
    assert settings.interrupt_grace_s == 5
    assert settings.input_timeout_s == 300
    assert settings.cell_queue_limit == 5
    assert settings.kernel_memory_bytes == 1024 * MIB
    assert settings.kernel_processes == 64
    assert settings.kernel_idle_s == 3600
    assert settings.max_kernels is None
    assert settings.warm_kernels == 1
    assert settings.max_output_chars == 200_000
    assert settings.max_artifacts == 10
    assert settings.max_artifacts_bytes == 100 * MIB
    assert settings.kernel_python is None
    assert settings.kernel_uid == 52525
    assert settings.log_level == "INFO"


def test_environment_is_read_in_its_own_units(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "DATA_DIR": "/srv/cellmate",
        "MONGODB_URI": "mongodb://db",
        "FILE_EXPIRATION_HOURS": "-1",
        "MAX_FILES_PER_USER": "3",
        "MAX_FILE_SIZE_MB": "1.5",
        "CLEANUP_INTERVAL_MINUTES": "0.5",
        "CODE_EXECUTION_TIMEOUT": "12",
        "KERNEL_MEMORY_MB": "128",
        "KERNEL_IDLE_MINUTES": "-1",
        "MAX_KERNELS": "7",
        "LOG_LEVEL": "debug",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = Settings.load()
    assert settings.data_dir == Path("/srv/cellmate")
    assert settings.mongodb_uri == SecretStr("mongodb://db")
    assert settings.file_retention is None
    assert settings.max_files_per_user == 3
    assert settings.max_file_bytes == MIB * 3 // 2
    assert settings.cleanup_interval_s == 30
    assert settings.cell_timeout_s == 12
    assert settings.kernel_memory_bytes == 128 * MIB
    assert settings.kernel_idle_s == -1
    assert settings.max_kernels == 7
    assert settings.log_level == "DEBUG"


def test_settings_made_in_code_read_no_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("MAX_FILES_PER_USER=7\nmax_files_per_user=7\n")
    for name in ("MAX_FILES_PER_USER", "max_files_per_user", "CODE_EXECUTION_TIMEOUT"):
        monkeypatch.setenv(name, "9")
    assert Settings() == Settings(max_files_per_user=20, cell_timeout_s=300.0)


def test_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MAX_FILES_PER_USER=7\nWARM_KERNELS=3\nUNKNOWN=1\n")
    monkeypatch.setenv("MAX_FILES_PER_USER", "8")
    settings = Settings.load()
    assert (settings.max_files_per_user, settings.warm_kernels) == (8, 3)
    assert Settings.load(env_file=None).warm_kernels == 1


@pytest.mark.parametrize("empty", ["", "   "])
def test_empty_value_counts_as_unset(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, empty: str
) -> None:
    (tmp_path / ".env").write_text("MAX_FILES_PER_USER=7\nWARM_KERNELS=\nMAX_KERNELS\n")
    for name in ENVIRONMENT:
        monkeypatch.setenv(name, empty)
    assert Settings.load() == Settings(max_files_per_user=7)


def test_all_mistakes_are_reported_together(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("WARM_KERNELS=many\n")
    monkeypatch.setenv("FILE_EXPIRATION_HOURS", "0")
    monkeypatch.setenv("MONGODB_URI", "mongo://me:hunter2@db")
    monkeypatch.setenv("MAX_FILE_SIZE_MB", "fifty")
    with pytest.raises(SettingsError) as raised:
        Settings.load()
    text = str(raised.value)
    assert text.splitlines() == [
        "4 settings can't be used:",
        "  MONGODB_URI (its value is not shown) must be a MongoDB address such as "
        "mongodb://user:password@host:27017.",
        "  FILE_EXPIRATION_HOURS is '0', but it must be a number of hours greater than 0, or -1 "
        "for never.",
        "  MAX_FILE_SIZE_MB is 'fifty', but it must be a number of MiB greater than 0.",
        "  WARM_KERNELS is 'many', but it must be a whole number from 0 to 64.",
    ]
    assert raised.value.__cause__ is None  # pydantic's error knows the password.
    assert raised.value.__suppress_context__


def test_mistakes_in_code_are_reported_by_field_name() -> None:
    with pytest.raises(SettingsError) as raised:
        Settings(cell_timeout_s=-1.0, max_file_bytes=0, no_such_setting=1)  # type: ignore[call-arg]
    assert str(raised.value).splitlines()[1:] == [
        "  max_file_bytes is '0', but it must be a number of bytes greater than 0.",
        "  cell_timeout_s is '-1.0', but it must be a number of seconds greater than 0.",
        "  no_such_setting is '1', but it must be left out: there is no such setting.",
    ]


@pytest.mark.parametrize(
    ("field", "least", "most"),
    [
        ("max_files_per_user", 1, 1000),
        ("cell_queue_limit", 0, 1000),
        ("kernel_memory_bytes", 128 * MIB, 1 << 50),
        ("kernel_processes", 16, 32768),
        ("max_kernels", 1, 100_000),
        ("warm_kernels", 0, 64),
        ("max_output_chars", 1, 1_000_000_000),
        ("max_artifacts", 0, 1000),
        ("max_file_bytes", 1, 1 << 50),
        ("max_artifacts_bytes", 1, 1 << 50),
        ("kernel_uid", 1, 2**32 - 2),
        ("file_retention_hours", -1, 876_000),
    ],
)
def test_limits_hold_exactly(field: str, least: int, most: int) -> None:
    for allowed in (least, most):
        values: dict[str, Any] = {field: allowed}
        assert getattr(Settings(**values), field) == allowed
    for wrong in (least - 1, most + 1):
        values = {field: wrong}
        with pytest.raises(SettingsError) as raised:
            Settings(**values)
        assert refused(raised.value) == {field}


IN_SECONDS = ["CODE_EXECUTION_TIMEOUT", "INTERRUPT_GRACE_SECONDS", "INPUT_TIMEOUT_SECONDS"]
IN_OTHER_UNITS = [
    "CLEANUP_INTERVAL_MINUTES",
    "KERNEL_IDLE_MINUTES",
    "FILE_EXPIRATION_HOURS",
    "MAX_FILE_SIZE_MB",
]
NO_NUMBERS = ["0", "-0.5", "-2", "nan", "inf", "-inf", "1e999", "1 s"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in (*IN_SECONDS, *IN_OTHER_UNITS) for value in NO_NUMBERS),
        # Finite, until it is converted.
        *((name, "1e308") for name in IN_OTHER_UNITS),
    ],
)
def test_number_that_means_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as raised:
        Settings.load()
    (problem,) = raised.value.problems
    assert (problem.name, problem.value) == (name, value)


@pytest.mark.parametrize("name", ["CODE_EXECUTION_TIMEOUT", "MAX_FILE_SIZE_MB"])
def test_never_is_refused_where_there_is_no_never(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "-1")
    with pytest.raises(SettingsError):
        Settings.load()


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a.b", "$x", "é" * 32, "admin", "local"])
def test_database_name_mongodb_would_refuse_is_refused(name: str) -> None:
    with pytest.raises(SettingsError):
        Settings(mongodb_database=name)


def test_secrets_are_in_no_repr() -> None:
    settings = Settings(mongodb_uri=SecretStr("mongodb://me:hunter2@db"))
    assert "hunter2" not in repr(settings) + str(settings)


def test_settings_are_frozen() -> None:
    settings: Any = Settings()
    with pytest.raises(Exception, match="frozen"):
        settings.max_files_per_user = 3


def test_directories_are_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert Settings(data_dir=Path("here/../there")).data_dir == tmp_path / "there"
    assert Settings(data_dir=Path("~/x")).data_dir == tmp_path / "home/x"
    with pytest.raises(SettingsError):
        Settings(data_dir=Path("~no-such-user-here/x"))


def test_kernel_environments_follow_the_users_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert Settings().kernel_env_dir == tmp_path / "cache/cellmate/kernel-envs"


def test_unreadable_file_is_a_mistake_like_others(tmp_path: Path) -> None:
    (tmp_path / "settings").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(SettingsError, match="UTF-8"):
        Settings.load(env_file=tmp_path / "settings")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("WARM_KERNELS: 3\n", "1"),
        ("# a comment\n\nWARM_KERNELS=3\n\n\nMONGODB_URI hunter2\nMAX_KERNELS: 4\n", "6, 7"),
        ('\nMONGODB_URI="hunter2\nWARM_KERNELS=3\n', "2"),
        ("WARM_KERNELS\nMONGODB_URI:hunter2\n", "2"),
    ],
)
def test_line_that_would_be_skipped_is_a_mistake(tmp_path: Path, text: str, lines: str) -> None:
    (tmp_path / ".env").write_text(text)
    with pytest.raises(SettingsError) as raised:
        Settings.load()
    assert str(raised.value) == (
        f".env, line {lines} (its value is not shown) must be of the form NAME=value, each "
        "quotation mark with a second one."
    )


def test_all_that_files_of_settings_may_look_like_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(
        b"\xef\xbb\xbfexport MAX_FILES_PER_USER = '7' # of 20\r\nWARM_KERNELS\r\n\r\nMAX_KERNELS=4"
    )
    assert Settings.load() == Settings(max_files_per_user=7, max_kernels=4)


def test_names_that_look_like_settings_are_found(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "PACKAGE_DENIED=torch\nmax_kernels=3\nMONGODB_URL=x\nWARM_KERNELS=1\nCOMPOSE_FILE=a\n"
    )
    assert misspelt(Settings) == {
        "PACKAGE_DENIED": "PACKAGES_DENIED",
        "max_kernels": "MAX_KERNELS",
        "MONGODB_URL": "MONGODB_URI",
    }
    assert misspelt(Settings, env_file=tmp_path / "none") == {}


def test_directory_in_place_of_the_file_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()  # as an engine makes one that is to be mounted and isn't there
    with pytest.raises(SettingsError, match=r"\.env is 'unreadable \(Is a directory\)'"):
        Settings.load()


def test_address_is_said_without_its_user_and_password() -> None:
    problem = SettingProblem("OPENAI_BASE_URL", "https://me:hunt/er@2@model:1/v1", "another")
    assert str(problem) == "OPENAI_BASE_URL is 'https://...@model:1/v1', but it must be another."


def test_retention_is_a_duration_or_none() -> None:
    assert Settings(file_retention_hours=1.5).file_retention == timedelta(minutes=90)
    assert Settings(file_retention_hours=-1).file_retention is None


def test_every_setting_is_documented_with_a_default_that_loads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    documented = Settings.documented()
    assert [setting.field_name for setting in documented] == list(Settings.model_fields)
    for setting in documented:
        assert setting.description.endswith(".")
        assert setting.secret == (setting.env_name in SECRETS)
        monkeypatch.setenv(setting.env_name, setting.default)
    assert Settings.load() == Settings()
