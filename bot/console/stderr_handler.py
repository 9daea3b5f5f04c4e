"""The log's way out: the standard error stream of the moment."""

import logging
import sys


class StderrHandler(logging.Handler):
    """Writes each record to ``sys.stderr``, looked up anew: an open prompt has one of its own."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            print(self.format(record), file=sys.stderr)
        except Exception:
            self.handleError(record)
