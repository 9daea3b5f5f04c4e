"""What can be drawn as a picture, and what draws it; shared with the service, imports nothing."""

import re
from collections.abc import Mapping
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["svg", "html", "csv", "latex", "vega", "vegalite", "plotly"]

#: Sides of a picture, in pixels.
MOST_SIDE = 4000
#: A picture's file.
MOST_PNG_BYTES = 8 << 20
#: What a picture is drawn from, in UTF-8. A page with all of plotly's JavaScript has 5 MB.
MOST_CONTENT_BYTES = 8 << 20
#: Seconds that a picture may take.
TIME_S = 20.0

#: The drawing packages that aren't in the kernels' environment, got when a picture needs them: tens
#: of megabytes each. kaleido 0.2.1 is the last one with its browser inside (later ones look for an
#: installed Chrome); as long as it draws what today's plotly.js makes, it is the one to have.
RENDERERS: Mapping[Kind, tuple[str, ...]] = {
    "html": ("plutoprint",),
    "latex": ("ziamath",),
    "vega": ("vl-convert-python",),
    "vegalite": ("vl-convert-python",),
    "plotly": ("kaleido==0.2.1", "plotly"),
}

_MIMES: tuple[tuple[Kind, str], ...] = (
    ("svg", r"image/svg\+xml"),
    ("html", r"text/html"),
    ("csv", r"text/csv"),
    ("latex", r"text/latex"),
    ("plotly", r"application/vnd\.plotly\.v\d{1,3}\+json"),
    ("vegalite", r"application/vnd\.vegalite\.v\d{1,3}(?:\.\d{1,3}){0,2}\+json"),
    ("vega", r"application/vnd\.vega\.v\d{1,3}(?:\.\d{1,3}){0,2}\+json"),
)
_PATTERNS = tuple((kind, re.compile(pattern, re.ASCII)) for kind, pattern in _MIMES)


def kind_of(mime: str) -> Kind | None:
    """What kind of content a MIME type is, None if it can't be drawn."""
    for kind, pattern in _PATTERNS:
        if pattern.fullmatch(mime):
            return kind
    return None
