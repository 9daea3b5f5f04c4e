"""What can go wrong in a front end, beyond what the interpreter raises.

    BotError
     ├ ModelError                the language model gave no answer
     │   ├ ModelUnavailable      its server is down, too busy or too slow, after several tries
     │   ├ ModelKeyRefused       the key is wrong, or has no money left
     │   ├ UnknownModel          there is no model of that name
     │   ├ ContextTooLong        more than the model can read
     │   └ BadModelRequest       its server refuses what we sent, and says why
     └ Refusal                   a person may not, or not now: says why and what to do

``str()`` is one plain sentence for a user; ``detail`` is for the operator's log, and may quote a
server, but never a key.
"""


class BotError(Exception):
    """Root of the errors of this package.

    Attributes:
        detail: more, for the operator's log; "" where there is nothing.
    """

    def __init__(self, sentence: str, detail: str = "") -> None:
        super().__init__(sentence)
        self.detail = detail


class ModelError(BotError):
    """The language model gave no answer."""


class ModelUnavailable(ModelError):
    """Its server is down, too busy or too slow."""


class ModelKeyRefused(ModelError):
    """The key is wrong, or has no money left."""


class UnknownModel(ModelError):
    """There is no model of that name."""


class ContextTooLong(ModelError):
    """More than the model can read."""


class BadModelRequest(ModelError):
    """Its server refuses what we sent."""


class Refusal(BotError):
    """A person may not do this, or not now."""
