"""BotSettings: what the environment says of the front ends, alone and with the service's."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bot.settings import BotSettings
from interpreter.environment import load_together
from interpreter.errors import SettingsError
from interpreter.settings import Settings

SECRETS = {"DISCORD_TOKEN", "OPENAI_API_KEY"}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for setting in (*BotSettings.documented(), *Settings.documented()):
        monkeypatch.delenv(setting.env_name, raising=False)
    monkeypatch.chdir(tmp_path)  # Where there is no .env.


def test_defaults_are_the_documented_ones() -> None:
    settings = BotSettings.load()
    assert settings == BotSettings()
    assert settings.discord_token is None
    assert (settings.openai_api_key, settings.openai_base_url) == (None, None)
    assert settings.models == ("gpt-5-mini",)
    assert not settings.has_model
    assert settings.model_sees_images
    assert settings.turn_timeout_s == 1800
    assert (settings.user_turns_per_minute, settings.user_turns_per_day) == (6, 200)
    assert settings.health_port == 8080
    assert not settings.message_content_intent


def test_environment_is_read_in_its_own_units(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "DISCORD_TOKEN": "a.b.c",
        "OPENAI_BASE_URL": "http://localhost:8000/v1/",
        "OPENAI_MODELS": "one, two,, gpt-5-mini",
        "TURN_TIMEOUT_MINUTES": "0.5",
        "USER_TOKENS_PER_DAY": "-1",
        "MESSAGE_CONTENT_INTENT": "true",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = BotSettings.load()
    assert settings.discord_token == SecretStr("a.b.c")
    assert settings.openai_base_url == "http://localhost:8000/v1"
    assert settings.has_model
    assert settings.models == ("gpt-5-mini", "one", "two")
    assert settings.turn_timeout_s == 30
    assert settings.user_tokens_per_day == -1
    assert settings.message_content_intent


def test_mistakes_of_both_are_reported_together_without_secrets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DISCORD_TOKEN", "Bot hunter2")
    monkeypatch.setenv("HEALTH_PORT", "65536")
    monkeypatch.setenv("WARM_KERNELS", "many")
    with pytest.raises(SettingsError) as raised:
        load_together(Settings, BotSettings)
    assert str(raised.value).splitlines() == [
        "3 settings can't be used:",
        "  WARM_KERNELS is 'many', but it must be a whole number from 0 to 64.",
        "  DISCORD_TOKEN (its value is not shown) must be the token as it is, without `Bot` before "
        "it, spaces or quotes.",
        "  HEALTH_PORT is '65536', but it must be a whole number from 0 to 65535.",
    ]


def test_both_are_loaded_from_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("WARM_KERNELS=3\nDRAIN_SECONDS=0\nOPENAI_MODEL=mine\n")
    monkeypatch.setenv("OPENAI_MODEL", "yours")
    settings, bot_settings = load_together(Settings, BotSettings)
    assert settings.warm_kernels == 3
    assert (bot_settings.drain_s, bot_settings.openai_model) == (0, "yours")


def test_unreadable_file_is_one_mistake(tmp_path: Path) -> None:
    (tmp_path / "settings").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(SettingsError, match="UTF-8") as raised:
        load_together(Settings, BotSettings, tmp_path / "settings")
    assert len(raised.value.problems) == 1


@pytest.mark.parametrize(
    ("field", "least", "most"),
    [
        ("discord_shards", 0, 10_000),
        ("model_context_tokens", 1000, 10**12),
        ("model_output_tokens", 1, 10**12),
        ("turn_rounds", 1, 1000),
        ("turn_tokens", 1000, 10**12),
        ("health_port", 0, 65_535),
        ("drain_s", 0, 86_400),
        ("user_turns_per_day", 1, 10**12),
    ],
)
def test_limits_hold_exactly(field: str, least: int, most: int) -> None:
    for allowed in (least, most):
        values: dict[str, Any] = {field: allowed}
        assert getattr(BotSettings(**values), field) == allowed
    for wrong in (least - 1, most + 1):
        values = {field: wrong}
        with pytest.raises(SettingsError) as raised:
            BotSettings(**values)
        assert {problem.name for problem in raised.value.problems} == {field}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPENAI_BASE_URL", "localhost:8000"),
        ("OPENAI_BASE_URL", "http://me:hunter2@localhost"),
        ("DISCORD_API_URL", "ftp://discord.com"),
        ("ADMIN_USERS", "123, somebody"),
        ("ADMIN_ROLES", "1" * 21),
        ("OPENAI_MODELS", "a, b\x07"),
        ("MODEL_TIMEOUT_SECONDS", "0"),
        ("USER_TURNS_PER_MINUTE", "-2"),
        ("USER_TURNS_PER_MINUTE", "0"),
    ],
)
def test_value_that_means_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as raised:
        BotSettings.load()
    (problem,) = raised.value.problems
    assert (problem.name, problem.value) == (name, value)


def test_secrets_are_in_no_repr() -> None:
    settings = BotSettings(
        discord_token=SecretStr("hunter2"), openai_api_key=SecretStr("correct-horse")
    )
    assert not [word for word in ("hunter2", "correct-horse") if word in f"{settings}{settings!r}"]


def test_every_setting_is_documented_with_a_default_that_loads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    documented = BotSettings.documented()
    assert [setting.field_name for setting in documented] == list(BotSettings.model_fields)
    for setting in documented:
        assert setting.description.endswith(".")
        assert setting.secret == (setting.env_name in SECRETS)
        monkeypatch.setenv(setting.env_name, setting.default)
    assert BotSettings.load() == BotSettings()
