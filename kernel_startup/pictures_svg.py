"""SVG drawings as pictures, with fonts for every script."""

from kernel_startup.loaders.vector import RESOLUTION, Svg, without_references
from kernel_startup.picture_types import MOST_SIDE
from kernel_startup.pictures import CannotDraw
from kernel_startup.pictures_fonts import MONOSPACE, SANS, SERIF, text_fonts

#: A drawing that says how large it is is drawn at twice that, as long as it isn't large already:
#: chats show pictures on screens with several pixels to a point.
_SHARPNESS = 2.0
_SHARP_SIDE = 1600
_DEFAULT_SIZE = (800.0, 600.0)


def draw_svg(text: str, *, sharp: bool = True) -> bytes:
    """Draw an SVG document on white.

    Nothing that it refers to outside itself is read.

    Raises:
        CannotDraw: it isn't one.
    """
    import resvg_py

    width, height = Svg(text).size or _DEFAULT_SIZE
    longest = max(width, height)
    zoom = max(1.0, min(_SHARPNESS, _SHARP_SIDE / longest)) if sharp else 1.0
    zoom = min(zoom, MOST_SIDE / longest)
    try:
        drawn = resvg_py.svg_to_bytes(
            svg_string=without_references(text),
            width=max(1, int(width * zoom)),
            height=max(1, int(height * zoom)),
            dpi=RESOLUTION,
            background="white",
            skip_system_fonts=True,
            font_files=[str(file) for file in text_fonts()],
            font_family=SANS,
            sans_serif_family=SANS,
            serif_family=SERIF,
            monospace_family=MONOSPACE,
            cursive_family=SANS,
            fantasy_family=SANS,
        )
    except ValueError as error:
        raise CannotDraw(str(error)) from None
    return bytes(drawn)
