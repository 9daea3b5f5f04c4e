"""Types of fonts."""

from kernel_startup.filetype import FileType, Signature, at, starts

_TTFONT = "fontTools.ttLib.TTFont"


def _font(
    name: str,
    title: str,
    extensions: tuple[str, ...],
    mime_type: str,
    signatures: tuple[Signature, ...] = (),
    *,
    loader: str = "fonts:load_font",
    object: str = _TTFONT,
    patterns: tuple[str, ...] = (),
    check: str = "",
    contains: tuple[bytes, ...] = (),
) -> FileType:
    return FileType(
        name=name,
        family="fonts",
        title=title,
        extensions=extensions,
        mime_type=mime_type,
        object=object,
        loader=loader,
        signatures=signatures,
        contains=contains,
        check=f"documents:{check}" if check else "",
        patterns=patterns,
        is_text=bool(patterns),
    )


TYPES: tuple[FileType, ...] = (
    _font(
        "ttf",
        "TrueType font",
        ("ttf", "tte", "suit"),
        "font/ttf",
        # The number of tables is small, and the first one's name is in letters.
        tuple(
            ((0, b"\0\1\0\0\0"), (12, first))
            for first in (
                *(b"BASE", b"CBDT", b"CFF ", b"COLR", b"DSIG", b"EBDT", b"FFTM", b"FeatGlat"[:4]),
                *(b"GDEF", b"GPOS", b"GSUB", b"HVAR", b"LTSH", b"MATH", b"MERG", b"OS/2", b"PCLT"),
                *(b"Silf", b"STAT", b"SVG ", b"TSI0", b"VDMX", b"avar", b"bdat", b"bhed", b"cmap"),
                *(b"cvt ", b"fpgm", b"glyf", b"head", b"meta", b"prop", b"Zapf", b"acnt", b"feat"),
                *(b"JSTF", b"MVAR", b"TeX ", b"bloc", b"gasp", b"fvar", b"post", b"name", b"Glat"),
            )
        )
        + starts(b"true\0"),
    ),
    _font("otf", "OpenType font", ("otf",), "font/otf", starts(b"OTTO\0")),
    _font(
        "ttc",
        "Collection of fonts",
        ("ttc", "otc"),
        "font/collection",
        starts(b"ttcf\0\1\0\0", b"ttcf\0\2\0\0"),
        loader="fonts:load_collection",
        object="fontTools.ttLib.TTCollection; with number= a fontTools.ttLib.TTFont",
    ),
    _font("woff", "Font for the web", ("woff",), "font/woff", starts(b"wOFF")),
    _font("woff2", "Font for the web, second version", ("woff2",), "font/woff2", starts(b"wOF2")),
    _font(
        "eot",
        "Embedded font of Internet Explorer",
        ("eot",),
        "application/vnd.ms-fontobject",
        tuple(((8, version), (34, b"LP")) for version in (b"\0\0\1\0", b"\1\0\2\0", b"\2\0\2\0")),
        loader="fonts:load_eot",
        object="FileInfo",
    ),
    _font(
        "pfb",
        "PostScript Type 1 font",
        ("pfb", "pfa", "t1"),
        "application/x-font-type1",
        (
            ((0, b"\x80\1"), (6, b"%!PS-AdobeFont")),
            ((0, b"\x80\1"), (6, b"%!FontType1")),
            *starts(b"%!PS-AdobeFont-1", b"%!FontType1"),
        ),
        loader="fonts:load_type1",
        object="FileInfo",
    ),
    _font(
        "afm",
        "Adobe font metrics",
        ("afm",),
        "application/x-font-afm",
        loader="fonts:load_metrics",
        object="pandas.DataFrame of characters",
        patterns=(r"StartFontMetrics\s",),
    ),
    _font(
        "pcf",
        "Bitmap font of X11",
        ("pcf",),
        "application/x-font-pcf",
        starts(b"\1fcp"),
        loader="fonts:load_pcf",
        object="FileInfo",
    ),
    _font(
        "fon",
        "Bitmap font of Windows",
        ("fon",),
        "application/x-font-fon",
        starts(b"MZ"),
        loader="described:load_info",
        object="FileInfo",
        check="is_windows_font",
    ),
    _font(
        "psf",
        "Font of the Linux console",
        ("psf", "psfu"),
        "application/x-font-linux-psf",
        starts(b"\x72\xb5\x4a\x86"),
        loader="described:load_info",
        object="FileInfo",
    ),
    _font(
        "snf",
        "Server normal font",
        ("snf",),
        "application/x-font-snf",
        starts(b"\x14\0\0\0\x10\0\0\0\0\0\0\0\0"),
        loader="described:load_info",
        object="FileInfo",
    ),
    _font(
        "pfm-metrics",
        "Type 1 metrics of Windows",
        ("pfm",),
        "application/x-font-printer-metric",
        at(0, b"\0\1"),
        loader="described:load_info",
        object="FileInfo",
        contains=(b"PostScript\0",),
    ),
)
