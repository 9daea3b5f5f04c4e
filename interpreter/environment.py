"""Settings as the environment gives them: names, units, and all mistakes said together.

A class of settings says for each field, in an ``Annotated``, which variable of the environment it
comes from. Several such classes are loaded as one, so that an operator reads every mistake at once.
"""

import io
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self, TypeVar

from dotenv import dotenv_values
from dotenv.parser import Binding, parse_stream
from pydantic import SecretStr, ValidationError, ValidatorFunctionWrapHandler, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from interpreter.errors import SettingProblem, SettingsError

__all__ = [
    "POSITIVE",
    "POSITIVE_OR_NEVER",
    "EnvironmentSettings",
    "SettingDocumentation",
    "Variable",
    "directory",
    "listed",
    "load_together",
    "misspelt",
    "positive_or_never",
]

_LINES = "of the form NAME=value, each quotation mark with a second one"
POSITIVE = "a number of {unit} greater than 0"
POSITIVE_OR_NEVER = "a number of {unit} greater than 0, or -1 for never"


@dataclass(frozen=True, slots=True)
class Variable:
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
        field_name: The attribute of the settings.
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


def directory(path: Path) -> Path:
    """A directory's absolute path; for fields."""
    try:
        return Path(os.path.abspath(path.expanduser()))
    except RuntimeError as error:
        raise ValueError("no home directory to stand for the ~") from error


def positive_or_never(number: float) -> float:
    """A number greater than 0, or -1; for fields."""
    if number == -1 or number > 0:
        return number
    raise ValueError("neither greater than 0 nor -1")


def listed(text: str) -> list[str]:
    """The parts of a text with commas between."""
    return [part.strip() for part in text.split(",") if part.strip()]


class EnvironmentSettings(BaseSettings):
    """Checked, frozen, in the units the names say; what subclasses add are the fields.

    The constructor takes field names and reads nothing else: an environment never leaks into a
    library's caller. ``load()`` is for the composition root.

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

    @classmethod
    def load(cls, env_file: Path | str | None = ".env") -> Self:
        """Read the environment, and below it a file of the same form.

        Unknown names are ignored (``misspelt`` finds those that look like ours), empty values
        count as unset, and the environment wins over the file.

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


_First = TypeVar("_First", bound=EnvironmentSettings)
_Second = TypeVar("_Second", bound=EnvironmentSettings)


def load_together(
    first: type[_First], second: type[_Second], env_file: Path | str | None = ".env"
) -> tuple[_First, _Second]:
    """Load two classes of settings from one environment, as ``load()`` does each.

    Raises:
        SettingsError: Naming every value of both that can't be used.
    """
    problems: list[SettingProblem] = []

    def loaded(settings: type[EnvironmentSettings]) -> Any:
        try:
            return settings.load(env_file)
        except SettingsError as error:
            problems.extend(error.problems)

    both = loaded(first), loaded(second)
    if problems:
        # Each once: a file that can't be read is a mistake for both.
        raise SettingsError(dict.fromkeys(problems))
    return both


def misspelt(*settings: type[EnvironmentSettings], env_file: Path | str = ".env") -> dict[str, str]:
    """What a file sets that is no setting, but looks like one, with the setting it looks like.

    Other names are other programs', which may share the file.

    Args:
        settings: all classes of settings that are read from it.
        env_file: that they could be loaded from.
    """
    known = [variable.name for one in settings for _, _, variable in _variables(one)]
    found = {}
    for name in dotenv_values(env_file, interpolate=False):
        if name not in known:
            for likely in get_close_matches(name.upper(), known, n=1, cutoff=0.85):
                found[name] = likely
    return found


def _variables(settings: type[EnvironmentSettings]) -> list[tuple[str, FieldInfo, Variable]]:
    return [
        (name, field, next(item for item in field.metadata if isinstance(item, Variable)))
        for name, field in settings.model_fields.items()
    ]


def _is_whole(field: FieldInfo) -> bool:
    return field.annotation in (int, int | None)


def _is_secret(field: FieldInfo) -> bool:
    return field.annotation == SecretStr | None


def _environment(
    settings: type[EnvironmentSettings], env_file: Path | str | None
) -> Mapping[str, str]:
    """The texts given for settings, by environment name; without the empty ones."""
    sources = [EnvSettingsSource(settings, case_sensitive=True)]
    if env_file is not None:
        try:
            wrong = _lines_not_understood(Path(env_file).expanduser())
            if wrong:
                raise SettingsError([SettingProblem(f"{env_file}, {wrong}", None, _LINES)])
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


def _lines_not_understood(env_file: Path) -> str | None:
    """Which lines are no settings; None if all are. Their text isn't said: it may be a token.

    Such a line would be skipped, and the token or the limit in it with it.
    """
    if not (env_file.is_file() or env_file.is_dir()):  # which isn't read
        return None
    text = env_file.read_text("utf-8")
    numbers = [
        str(line.original.line + _blank_lines_before(line.original.string))
        for line in parse_stream(io.StringIO(text))
        if line.error or _lacks_equals_sign(line)
    ]
    return f"line {', '.join(numbers)}" if numbers else None


def _lacks_equals_sign(line: Binding) -> bool:
    """Whether a line such as NAME:value is taken for a name without a value."""
    return line.key is not None and line.value is None and not line.key.isidentifier()


def _blank_lines_before(text: str) -> int:
    """How many lines of white space a part of the file begins with."""
    return text[: len(text) - len(text.lstrip())].count("\n")


def _problems(settings: type[EnvironmentSettings], error: ValidationError) -> list[SettingProblem]:
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
