"""Camera raw files: developed, or else the preview that the camera put in."""

import io
from typing import TYPE_CHECKING

from kernel_startup.fileinfo import FileInfo
from kernel_startup.source import Source

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image

_MAX_SEARCHED_BYTES = 256 * 1024 * 1024
_MAX_PREVIEWS = 32


def load_raw(
    source: Source,
    *,
    preview: bool = False,
    half_size: bool = False,
    use_camera_wb: bool = True,
    no_auto_bright: bool = False,
    output_bps: int = 8,
) -> "np.ndarray | PIL.Image.Image | FileInfo":
    """Develop a raw photo to RGB of (height, width, 3).

    What LibRaw can't develop is given as the camera's own preview, or at least named.

    Args:
        source: The file.
        preview: Give the camera's preview, which is quicker.
        half_size: Develop at half the width and height, which takes a quarter of the time.
        use_camera_wb: Use the camera's white balance.
        no_auto_bright: Leave the brightness as it is.
        output_bps: Bits of a sample: 8 or 16.
    """
    reason = ""
    if not preview:
        import rawpy

        try:
            with rawpy.imread(str(source.as_path())) as raw:
                developed: np.ndarray = raw.postprocess(
                    half_size=half_size,
                    use_camera_wb=use_camera_wb,
                    no_auto_bright=no_auto_bright,
                    output_bps=output_bps,
                )
                return developed
        except (rawpy.LibRawError, ValueError, MemoryError) as error:
            said = error.args[0] if error.args else type(error).__name__
            reason = said.decode("latin-1") if isinstance(said, bytes) else str(said)
    picture = _preview(source)
    if picture is not None:
        if reason:
            source.note(f"{source.name!r} can't be developed ({reason}): this is its preview.")
        return picture
    from kernel_startup.loaders.described import source_info

    facts: dict[str, object] = {"undecodable": reason} if reason else {}
    return source_info(source, facts, "It holds no preview either; it may be cut off or damaged.")


def _preview(source: Source) -> "PIL.Image.Image | None":

    with source.open() as file:
        content = file.read(_MAX_SEARCHED_BYTES)
    best = _opened(content) if content.startswith((b"II*\0", b"MM\0*")) else None
    start = -1
    for _ in range(_MAX_PREVIEWS):
        start = content.find(b"\xff\xd8\xff", start + 1)
        if start < 0:
            break
        found = _opened(content[start:])
        if found and (best is None or found.width * found.height > best.width * best.height):
            best = found
    return best


def _opened(content: bytes) -> "PIL.Image.Image | None":
    import PIL.Image

    try:
        picture = PIL.Image.open(io.BytesIO(content))
        picture.load()
    except Exception:  # not a picture after all, or one that only the camera's maker reads
        return None
    # Without its file: what else is in there isn't frames of this picture.
    return picture.copy()
