"""Types of video."""

from kernel_startup.filetype import FileType, Signature, at, starts


def _video(
    name: str,
    title: str,
    extensions: str,
    mime: str,
    signatures: tuple[Signature, ...] = (),
    check: str = "",
) -> FileType:
    return FileType(
        name=name,
        family="video",
        title=title,
        extensions=tuple(extensions.split()),
        mime_type=mime,
        object="Video, which reads frames as they are asked for",
        loader="video:load_video",
        signatures=signatures,
        check=check and f"media:{check}",
    )


def _ftyp(*brands: bytes) -> tuple[Signature, ...]:
    return at(4, *(b"ftyp" + brand for brand in brands))


_EBML = starts(b"\x1a\x45\xdf\xa3")

TYPES: tuple[FileType, ...] = (
    _video("mp4", "MPEG-4 video", "mp4 mpg4 mp4v f4p", "video/mp4", at(4, b"ftyp"), "is_movie"),
    _video(
        "m4v",
        "MPEG-4 video (Apple)",
        "m4v",
        "video/x-m4v",
        (*_ftyp(b"M4V ", b"M4VH", b"M4VP"), *at(4, b"ftyp")),
        "is_m4v",
    ),
    _video(
        "mov",
        "QuickTime video",
        "mov qt",
        "video/quicktime",
        (*_ftyp(b"qt  "), *at(4, b"moov", b"mdat", b"wide", b"pnot", b"free", b"skip")),
        "is_quicktime",
    ),
    _video("3gp", "3GPP video", "3gp 3gpp", "video/3gpp", _ftyp(b"3gp", b"3ge", b"3gs", b"3gr")),
    _video("3g2", "3GPP2 video", "3g2 3gpp2", "video/3gpp2", _ftyp(b"3g2", b"kddi")),
    _video("f4v", "Flash MP4 video", "f4v", "video/x-f4v", _ftyp(b"f4v ", b"F4V ")),
    _video(
        "mj2",
        "Motion JPEG 2000 video",
        "mj2 mjp2",
        "video/mj2",
        (((0, b"\0\0\0\x0cjP  \r\n\x87\n"), (20, b"mjp2")),),
    ),
    _video(
        "avi",
        "AVI video",
        "avi divx",
        "video/x-msvideo",
        (((0, b"RIFF"), (8, b"AVI ")), ((0, b"RIFF"), (8, b"AVIX"))),
    ),
    _video("mkv", "Matroska video", "mkv mk3d", "video/x-matroska", _EBML, "is_mkv"),
    _video("webm", "WebM video", "webm", "video/webm", _EBML, "is_webm"),
    _video("flv", "Flash video", "flv", "video/x-flv", starts(b"FLV\1")),
    _video(
        "wmv",
        "Windows Media video",
        "wmv asf",
        "video/x-ms-wmv",
        starts(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
        "is_wmv",
    ),
    _video(
        "mpg",
        "MPEG program stream",
        "mpg mpeg vob m2p mpe dat mod tod evo m1v",
        "video/mpeg",
        starts(b"\0\0\1\xba"),
    ),
    _video("m2v", "MPEG video stream", "m2v m1v mpv mpeg mpg", "video/mpeg", starts(b"\0\0\1\xb3")),
    _video(
        "mpegts",
        "MPEG transport stream",
        "ts mts tsv tp trp m2t",
        "video/mp2t",
        (),
        "is_transport_stream",
    ),
    _video("m2ts", "AVCHD or Blu-ray video", "m2ts mts bdmv", "video/mp2t", (), "is_m2ts"),
    _video(
        "ogv",
        "Ogg Theora video",
        "ogv ogg ogx",
        "video/ogg",
        (((0, b"OggS"), (28, b"\x80theora")), ((0, b"OggS"), (28, b"fishead"))),
    ),
    _video("ogm", "Ogg media video", "ogm ogg", "video/x-ogm", (((0, b"OggS"), (28, b"\1video")),)),
    _video(
        "mxf",
        "Material exchange video",
        "mxf",
        "application/mxf",
        starts(b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02\x01\x01"),
    ),
    _video(
        "rm",
        "RealMedia video",
        "rm rmvb rv ram ra",
        "application/vnd.rn-realmedia",
        starts(b".RMF\0\0\0"),
    ),
    _video("dv-video", "DV video", "dv dif", "video/x-dv", (), "is_dv"),
    _video(
        "y4m", "Uncompressed video (YUV4MPEG2)", "y4m", "video/x-yuv4mpeg", starts(b"YUV4MPEG2 ")
    ),
    _video("ivf", "IVF video", "ivf", "video/x-ivf", starts(b"DKIF\0\0")),
    _video("nut", "NUT video", "nut", "video/x-nut", starts(b"nut/multimedia container\0")),
    _video(
        "h264",
        "H.264 video stream",
        "h264 264 avc jsv",
        "video/h264",
        starts(b"\0\0\0\1\x67", b"\0\0\0\1\x27", b"\0\0\1\x67", b"\0\0\0\1\x09"),
    ),
    _video(
        "h265",
        "H.265 video stream",
        "h265 265 hevc",
        "video/h265",
        starts(b"\0\0\0\1\x40\1", b"\0\0\1\x40\1", b"\0\0\0\1\x46\1"),
    ),
    _video(
        "m4vraw",
        "MPEG-4 video stream",
        "m4e cmp",
        "video/mp4v-es",
        starts(b"\0\0\1\xb0", b"\0\0\1\xb6"),
    ),
    _video(
        "mjpeg",
        "Motion JPEG video",
        "mjpeg mjpg",
        "video/x-motion-jpeg",
        starts(b"\xff\xd8\xff"),
        "is_mjpeg",
    ),
    _video("nsv", "Nullsoft video", "nsv", "video/x-nsv", starts(b"NSVf", b"NSVs")),
    _video(
        "wtv",
        "Windows recorded television",
        "wtv",
        "video/x-wtv",
        starts(b"\xb7\xd8\x00\x20\x37\x49\xda\x11"),
    ),
    _video(
        "bik", "Bink video", "bik bk2", "video/x-bink", starts(b"BIKi", b"BIKb", b"BIKf", b"KB2")
    ),
    _video("smk", "Smacker video", "smk", "video/x-smacker", starts(b"SMK2", b"SMK4")),
    _video("roq", "id RoQ video", "roq", "video/x-roq", starts(b"\x84\x10\xff\xff\xff\xff")),
    _video("amv", "AMV video", "amv", "video/x-amv", (((0, b"RIFF"), (8, b"AMV ")),)),
    _video(
        "gxf-video",
        "General exchange video",
        "gxf",
        "application/gxf",
        starts(b"\0\0\0\0\1\xbc\0\0\0"),
    ),
)
