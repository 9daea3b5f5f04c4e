"""What can be set of the front ends: the service's own settings are ``interpreter.Settings``."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from interpreter.environment import POSITIVE, EnvironmentSettings, Variable, listed

__all__ = ["BotSettings"]

_MOST_COUNTED = 10**12
_IDS = "ids (whole numbers) with commas between"
_URL = "an address beginning with https:// or http://, without a user name or password"

_Seconds = Annotated[float, Field(gt=0, le=86_400 * 365, allow_inf_nan=False)]


def _secret_word(secret: SecretStr) -> SecretStr:
    # What an HTTP header can carry; and nothing of a copied "Bot " or of quotes with a space.
    if not re.fullmatch(r"[\x21-\x7e]+", secret.get_secret_value()):
        raise ValueError("not one word")
    return secret


def _url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname or "@" in parts.netloc:
        raise ValueError("not an address")
    return url.rstrip("/")


def _ids(text: str) -> str:
    for part in listed(text):
        if not re.fullmatch(r"[0-9]{1,20}", part):
            raise ValueError("not an id")
    return text


def _name(name: str) -> str:
    if not name.isprintable() or not 0 < len(name) <= 200:
        raise ValueError("not a model's name")
    return name


def _names(names: str) -> str:
    for name in listed(names):
        _name(name)
    return names


def _count_or_unlimited(number: int) -> int:
    if number == -1 or number > 0:
        return number
    raise ValueError("neither greater than 0 nor -1")


_Budget = Annotated[int, Field(le=_MOST_COUNTED), AfterValidator(_count_or_unlimited)]
_BUDGET = "a whole number, 1 or more, or -1 for no limit"


class BotSettings(EnvironmentSettings):
    """Everything an operator can set of the front ends, in the units the names say.

    ``load_together(Settings, BotSettings)`` is for the composition root.

    Raises:
        SettingsError: Naming every value that can't be used.
    """

    discord_token: Annotated[
        SecretStr | None,
        AfterValidator(lambda token: token and _secret_word(token)),
        Variable("DISCORD_TOKEN", "the token as it is, without `Bot` before it, spaces or quotes"),
    ] = Field(
        default=None,
        description="The bot's token, from the application's page in Discord's developer portal. "
        "Without it, the program is a console.",
    )
    discord_shards: Annotated[
        int,
        Field(ge=0, le=10_000),
        Variable("DISCORD_SHARDS", "a whole number from 0 to 10000", unit="connections"),
    ] = Field(
        default=1,
        description="Over how many connections the servers are spread; 0 for as many as Discord "
        "recommends. One is enough up to about 2000 servers.",
    )
    message_content_intent: Annotated[
        bool,
        Variable("MESSAGE_CONTENT_INTENT", "true or false"),
    ] = Field(
        default=False,
        description="Whether the bot reads messages that don't mention it, in its threads for "
        "example. Has to be switched on in the developer portal as well.",
    )
    discord_api_url: Annotated[
        str | None,
        AfterValidator(lambda url: url and _url(url)),
        Variable("DISCORD_API_URL", f"{_URL}, such as https://discord.com/api/v10"),
    ] = Field(
        default=None,
        description="Another server that speaks Discord's protocol; without it, Discord itself.",
    )
    discord_cdn_url: Annotated[
        str | None,
        AfterValidator(lambda url: url and _url(url)),
        Variable("DISCORD_CDN_URL", _URL),
    ] = Field(default=None, description="Where that server's files are.")
    openai_api_key: Annotated[
        SecretStr | None,
        AfterValidator(lambda key: key and _secret_word(key)),
        Variable("OPENAI_API_KEY", "the key as it is, without spaces or quotes"),
    ] = Field(
        default=None,
        description="The key for the language model's server. Without it and OPENAI_BASE_URL there "
        "is no model: code runs, but questions in words are not answered.",
    )
    openai_base_url: Annotated[
        str | None,
        AfterValidator(lambda url: url and _url(url)),
        Variable("OPENAI_BASE_URL", f"{_URL}, such as http://localhost:8000/v1"),
    ] = Field(
        default=None,
        description="A server that speaks OpenAI's protocol (chat completions); without it, "
        "OpenAI's own.",
    )
    openai_model: Annotated[
        str,
        AfterValidator(_name),
        Variable("OPENAI_MODEL", "a model's name, as its server knows it"),
    ] = Field(default="gpt-5-mini", description="Which model answers.")
    openai_models: Annotated[
        str,
        AfterValidator(_names),
        Variable("OPENAI_MODELS", "models' names with commas between"),
    ] = Field(
        default="",
        description="Which models users may choose from with /model, besides that one.",
    )
    model_sees_images: Annotated[
        bool,
        Variable("MODEL_SEES_IMAGES", "true or false"),
    ] = Field(default=True, description="Whether models are shown pictures.")
    model_context_tokens: Annotated[
        int,
        Field(ge=1000, le=_MOST_COUNTED),
        Variable("MODEL_CONTEXT_TOKENS", "a whole number, 1000 or more", unit="tokens"),
    ] = Field(
        default=100_000,
        description="How much a model is given to read; beyond it, the oldest of a conversation is "
        "left out.",
    )
    model_output_tokens: Annotated[
        int,
        Field(ge=1, le=_MOST_COUNTED),
        Variable("MODEL_MAX_OUTPUT_TOKENS", "a whole number, 1 or more", unit="tokens"),
    ] = Field(default=4096, description="How much a model may say in one reply, code included.")
    model_timeout_s: Annotated[
        _Seconds,
        Variable("MODEL_TIMEOUT_SECONDS", POSITIVE, unit="seconds"),
    ] = Field(
        default=120.0,
        description="How long a model's server may be silent before it is asked anew.",
    )
    turn_rounds: Annotated[
        int,
        Field(ge=1, le=1000),
        Variable("TURN_MAX_ROUNDS", "a whole number from 1 to 1000", unit="rounds"),
    ] = Field(
        default=10, description="How often a model may run code before it has to answer a question."
    )
    turn_tokens: Annotated[
        int,
        Field(ge=1000, le=_MOST_COUNTED),
        Variable("TURN_MAX_TOKENS", "a whole number, 1000 or more", unit="tokens"),
    ] = Field(default=200_000, description="How many tokens the answer to one question may cost.")
    turn_timeout_s: Annotated[
        _Seconds,
        Variable("TURN_TIMEOUT_MINUTES", POSITIVE, unit="minutes", field_unit="seconds", scale=60),
    ] = Field(default=1800.0, description="How long the answer to one question may take.")
    conversation_hours: Annotated[
        float,
        Field(gt=0, le=876_000, allow_inf_nan=False),
        Variable("CONVERSATION_EXPIRATION_HOURS", POSITIVE, unit="hours"),
    ] = Field(
        default=48.0, description="How long a conversation is remembered after its last question."
    )
    user_turns_per_minute: Annotated[
        _Budget,
        Variable("USER_TURNS_PER_MINUTE", _BUDGET, unit="questions"),
    ] = Field(default=6, description="How many questions a user may ask in a minute.")
    user_turns_per_day: Annotated[
        _Budget,
        Variable("USER_TURNS_PER_DAY", _BUDGET, unit="questions"),
    ] = Field(default=200, description="How many questions a user may ask in a day.")
    user_tokens_per_day: Annotated[
        _Budget,
        Variable("USER_TOKENS_PER_DAY", _BUDGET, unit="tokens"),
    ] = Field(default=1_000_000, description="How many tokens a user may spend in a day.")
    guild_turns_per_day: Annotated[
        _Budget,
        Variable("GUILD_TURNS_PER_DAY", _BUDGET, unit="questions"),
    ] = Field(
        default=2000, description="How many questions may be asked in a Discord server in a day."
    )
    guild_tokens_per_day: Annotated[
        _Budget,
        Variable("GUILD_TOKENS_PER_DAY", _BUDGET, unit="tokens"),
    ] = Field(
        default=10_000_000, description="How many tokens a Discord server may spend in a day."
    )
    admin_users: Annotated[
        str,
        AfterValidator(_ids),
        Variable("ADMIN_USERS", _IDS),
    ] = Field(
        default="",
        description="Which users may use /admin, besides those who administrate a Discord server.",
    )
    admin_roles: Annotated[
        str,
        AfterValidator(_ids),
        Variable("ADMIN_ROLES", _IDS),
    ] = Field(default="", description="Which roles may use /admin.")
    health_port: Annotated[
        int,
        Field(ge=0, le=65_535),
        Variable("HEALTH_PORT", "a whole number from 0 to 65535"),
    ] = Field(
        default=8080,
        description="On which port of this machine alone (127.0.0.1) the bot answers /healthz and "
        "/metrics; 0 for none.",
    )
    drain_s: Annotated[
        float,
        Field(ge=0, le=86_400, allow_inf_nan=False),
        Variable("DRAIN_SECONDS", "a number of {unit} from 0 to 86400", unit="seconds"),
    ] = Field(
        default=30.0,
        description="How long running questions are given to end when the bot is told to stop.",
    )

    @property
    def models(self) -> tuple[str, ...]:
        """The models that may be chosen, the default first, each once."""
        return tuple(dict.fromkeys((self.openai_model, *listed(self.openai_models))))

    @property
    def has_model(self) -> bool:
        """Whether there is a language model at all."""
        return self.openai_api_key is not None or self.openai_base_url is not None
