"""Events for the operator, through the standard library's logging: silent until someone listens.

An event says what happened, with ids and durations as keywords; never a user's code, output, file
contents or a token.
"""

import logging
from typing import cast

import structlog


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module.

    Args:
        name: the module's name, which is the logger's.
    """
    logger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            # repr() of every value: names and reasons can hold control characters.
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return cast(structlog.stdlib.BoundLogger, logger)
