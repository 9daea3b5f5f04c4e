"""Pictures."""

import io
from typing import TYPE_CHECKING

from kernel_startup.errors import FileLoadError
from kernel_startup.source import Source

if TYPE_CHECKING:
    import PIL.Image


def load_image(source: Source, *, mode: str | None = None) -> "PIL.Image.Image":
    """Open a picture and decode its first frame.

    Args:
        source: The file.
        mode: Convert to this mode ("RGB", "L"); None leaves it.
    """
    import PIL.Image

    try:
        # From memory: the frames of an animation are read later, when the file may be gone.
        image = PIL.Image.open(io.BytesIO(source.read()))
        image.load()
    except PIL.Image.DecompressionBombError as error:
        raise FileLoadError(
            source.name,
            f"a picture of more than {2 * (PIL.Image.MAX_IMAGE_PIXELS or 0):,} pixels in "
            f"{source.size_bytes:,} bytes",
            tried="Pillow",
            reason="a picture this large could take all of the memory",
            remedy='If it is really wanted: set PIL.Image.MAX_IMAGE_PIXELS and open as_="path"',
        ) from error
    except PIL.UnidentifiedImageError as error:
        raise FileLoadError(
            source.name,
            "a picture that is cut off or damaged",
            tried="Pillow",
            reason="it doesn't recognise the content",
        ) from error
    return image if mode is None else image.convert(mode)
