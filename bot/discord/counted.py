"""The model and the assistant, with what they do counted for Prometheus."""

import time
from collections.abc import Callable
from typing import Any

from bot.assistant import Assistant
from bot.chat import TurnResult
from bot.chat_model import ChatModel, ModelReply, ModelRequest
from bot.discord.metrics import Metrics
from bot.errors import ModelError


class CountedModel:
    """A model whose answers are counted.

    Args:
        model: who answers.
        metrics: where it is counted.
    """

    def __init__(self, model: ChatModel, metrics: Metrics) -> None:
        """See the class."""
        self._model = model
        self._metrics = metrics

    async def reply(
        self,
        request: ModelRequest,
        *,
        on_text: Callable[[str], None] | None = None,
        on_wait: Callable[[str, float], None] | None = None,
    ) -> ModelReply:
        """See ``ChatModel.reply``."""
        try:
            reply = await self._model.reply(request, on_text=on_text, on_wait=on_wait)
        except ModelError as error:
            self._metrics.model_request(type(error).__name__)
            raise
        self._metrics.model_request("ok")
        self._metrics.tokens(read=reply.usage.input_tokens, written=reply.usage.output_tokens)
        return reply


class CountedAssistant(Assistant):
    """An assistant whose turns are counted."""

    def __init__(self, metrics: Metrics, **options: Any) -> None:
        """Make one; ``options`` are those of ``Assistant``."""
        super().__init__(**options)
        self._metrics = metrics

    async def turn(self, **options: Any) -> TurnResult:
        """See ``Assistant.turn``."""
        began = time.monotonic()
        result = await super().turn(**options)
        self._metrics.turn(result.status, time.monotonic() - began)
        return result
