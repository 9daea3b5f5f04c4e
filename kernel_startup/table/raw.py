"""Types of camera raw files."""

from kernel_startup.filetype import FileType, Signature, at, starts

_TIFF = starts(b"II*\0", b"MM\0*")


def _raw(
    name: str,
    maker: str,
    extensions: tuple[str, ...],
    signatures: tuple[Signature, ...] = _TIFF,
    check: str = "",
) -> FileType:
    return FileType(
        name=name,
        family="raw",
        title=f"{maker} raw photo",
        extensions=extensions,
        mime_type=f"image/x-{maker.lower().replace(' ', '-')}-{name}",
        object="numpy.ndarray of (height, width, 3); the preview as PIL.Image.Image if undecodable",
        loader="raw:load_raw",
        signatures=signatures,
        check=check,
        requires=("rawpy",),
    )


TYPES = (
    _raw("cr2", "Canon", ("cr2",), (((0, b"II*\0"), (8, b"CR\2")),)),
    _raw("cr3", "Canon", ("cr3",), at(4, b"ftypcrx ")),
    _raw("crw", "Canon", ("crw",), (((0, b"II"), (6, b"HEAPCCDR")),)),
    # DNG 1.6 may be written as BigTIFF.
    _raw(
        "dng",
        "Adobe",
        ("dng", "gpr"),
        (*_TIFF, *starts(b"II\x2b\0\x08\0", b"MM\0\x2b\0\x08")),
        check="media:is_dng",
    ),
    _raw("nef", "Nikon", ("nef", "nrw"), check="media:is_nef"),
    _raw("arw", "Sony", ("arw", "srf", "sr2"), check="media:is_arw"),
    _raw("pef", "Pentax", ("pef", "ptx"), check="media:is_pef"),
    _raw("srw", "Samsung", ("srw",), check="media:is_srw"),
    _raw("3fr", "Hasselblad", ("3fr", "fff"), check="media:is_3fr"),
    _raw("dcr", "Kodak", ("dcr", "kdc", "k25", "dcs"), check="media:is_kodak"),
    _raw("erf", "Epson", ("erf",), check="media:is_erf"),
    _raw("mef", "Mamiya", ("mef",), check="media:is_mef"),
    _raw("mos", "Leaf", ("mos",), check="media:is_mos"),
    _raw("orf", "Olympus", ("orf", "ori"), starts(b"IIRO", b"IIRS", b"MMOR")),
    _raw("rw2", "Panasonic", ("rw2", "rwl", "rw1"), starts(b"IIU\0")),
    _raw("raf", "Fujifilm", ("raf",), starts(b"FUJIFILMCCD-RAW")),
    _raw("mrw", "Minolta", ("mrw", "mdc"), starts(b"\0MRM")),
    _raw("x3f", "Sigma", ("x3f",), starts(b"FOVb")),
    _raw("iiq", "Phase One", ("iiq", "cap"), at(8, b"IIII", b"MMMM")),
)
