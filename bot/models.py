"""The language model that the settings name."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from bot.chat_model import ChatModel
from bot.settings import BotSettings


@asynccontextmanager
async def open_model(settings: BotSettings) -> AsyncGenerator[ChatModel | None]:
    """Who answers questions; None where no model is set. Its connections end with the context.

    Args:
        settings: the bot's.
    """
    if not settings.has_model:
        yield None
        return
    from bot.openai_model import OpenAIModel  # its library takes a second to import

    key = settings.openai_api_key
    async with OpenAIModel.open(
        api_key=None if key is None else key.get_secret_value(),
        base_url=settings.openai_base_url,
        timeout_s=settings.model_timeout_s,
    ) as model:
        yield model
