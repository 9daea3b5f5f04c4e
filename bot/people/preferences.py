"""Preferences: what users chose."""

from bot.settings import BotSettings
from interpreter import RecordStore

_KIND = "preferences"


class Preferences:
    """Which model answers whom."""

    def __init__(self, records: RecordStore, settings: BotSettings) -> None:
        """Make it.

        Args:
            records: where it is kept.
            settings: which models there are.
        """
        self._records = records
        self._settings = settings

    async def model(self, user_id: str) -> str:
        """The model that answers a user; the setting's, where their choice isn't allowed now.

        Raises:
            DatabaseUnavailable: the database can't be used.
        """
        chosen = (await self._records.get(_KIND, user_id) or {}).get("model")
        return chosen if chosen in self._settings.models else self._settings.openai_model

    async def set_model(self, user_id: str, model: str) -> None:
        """Choose one of the models that may be chosen.

        Raises:
            ValueError: it isn't one of them.
            DatabaseUnavailable: the database can't be used.
        """
        if model not in self._settings.models:
            raise ValueError(f"{model!r} isn't one of the models to choose from")
        await self._records.put(_KIND, user_id, {"model": model}, owner=user_id)

    async def clear(self, user_id: str) -> None:
        """Forget what a user chose.

        Raises:
            DatabaseUnavailable: the database can't be used.
        """
        await self._records.delete(_KIND, user_id)
