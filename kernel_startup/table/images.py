"""Types of pictures."""

from kernel_startup.filetype import FileType, Signature, starts


def _image(
    name: str, title: str, extensions: tuple[str, ...], signatures: tuple[Signature, ...], mime: str
) -> FileType:
    return FileType(
        name=name,
        family="image",
        title=title,
        extensions=extensions,
        mime_type=mime,
        object="PIL.Image.Image",
        loader="images:load_image",
        signatures=signatures,
    )


TYPES = (
    _image("png", "PNG image", ("png", "apng"), starts(b"\x89PNG\r\n\x1a\n"), "image/png"),
    _image(
        "jpeg",
        "JPEG image",
        ("jpg", "jpeg", "jpe", "jfif"),
        starts(b"\xff\xd8\xff"),
        "image/jpeg",
    ),
    _image("gif", "GIF image", ("gif",), starts(b"GIF87a", b"GIF89a"), "image/gif"),
    _image(
        "bmp",
        "Windows bitmap",
        ("bmp", "dib"),
        # "BM" alone begins many texts: four reserved bytes and the header's size settle it.
        tuple(
            ((0, b"BM"), (6, b"\0\0\0\0"), (14, bytes([size]) + b"\0\0\0"))
            for size in (12, 40, 52, 56, 64, 108, 124)
        ),
        "image/bmp",
    ),
    _image("webp", "WebP image", ("webp",), (((0, b"RIFF"), (8, b"WEBP")),), "image/webp"),
    _image(
        "tiff",
        "TIFF image",
        ("tiff", "tif"),
        starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
        "image/tiff",
    ),
    _image(
        "ico",
        "Windows icon",
        ("ico",),
        # No more than 255 pictures, and the reserved byte of the first one.
        (((0, b"\0\0\1\0"), (5, b"\0"), (9, b"\0")),),
        "image/vnd.microsoft.icon",
    ),
)
