"""Types of audio."""

from kernel_startup.filetype import FileType, Signature, at, starts


def _audio(
    name: str,
    title: str,
    extensions: str,
    mime: str,
    signatures: tuple[Signature, ...] = (),
    check: str = "",
    *,
    loader: str = "audio:load_audio",
    object: str = "tuple of (numpy.ndarray of samples, rate in Hz)",
    requires: tuple[str, ...] = (),
    contains: tuple[bytes, ...] = (),
) -> FileType:
    return FileType(
        name=name,
        family="audio",
        title=title,
        extensions=tuple(extensions.split()),
        mime_type=mime,
        object=object,
        loader=loader,
        signatures=signatures,
        check=check and f"media:{check}",
        requires=requires,
        contains=contains,
    )


def _module(
    name: str, title: str, extensions: str, signatures: tuple[Signature, ...] = (), check: str = ""
) -> FileType:
    return _audio(
        name,
        title,
        extensions,
        f"audio/x-{name}",
        signatures,
        check,
        loader="audio:load_module",
        object="FileInfo with the title",
    )


def _playlist(name: str, title: str, extensions: str, mime: str, *patterns: str) -> FileType:
    return FileType(
        name=name,
        family="audio",
        title=title,
        extensions=tuple(extensions.split()),
        mime_type=mime,
        object="str",
        loader="text:load_text",
        patterns=patterns,
        is_text=True,
    )


def _riff(*forms: bytes) -> tuple[Signature, ...]:
    return tuple(((0, b"RIFF"), (8, form)) for form in forms)


def _ogg(packet: bytes) -> tuple[Signature, ...]:
    return (((0, b"OggS"), (28, packet)),)


_ASF = starts(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11")
_EBML = starts(b"\x1a\x45\xdf\xa3")
_MIDI = "mido.MidiFile"

TYPES: tuple[FileType, ...] = (
    _audio(
        "wav",
        "WAVE audio",
        "wav wave bwf",
        "audio/wav",
        (*_riff(b"WAVE"), ((0, b"RIFX"), (8, b"WAVE"))),
    ),
    _audio(
        "rf64",
        "WAVE audio, 64 bits",
        "rf64 wav bw64",
        "audio/wav",
        (((0, b"RF64"), (8, b"WAVE")), ((0, b"BW64"), (8, b"WAVE"))),
    ),
    _audio("w64", "Sony Wave64 audio", "w64", "audio/x-w64", starts(b"riff\x2e\x91\xcf\x11")),
    _audio("flac", "FLAC audio", "flac fla", "audio/flac", starts(b"fLaC", b"ID3"), "is_flac"),
    _audio("ogg", "Ogg Vorbis audio", "ogg oga", "audio/ogg", _ogg(b"\x01vorbis")),
    _audio("oga", "FLAC in Ogg audio", "oga ogg", "audio/ogg", _ogg(b"\x7fFLAC")),
    _audio("ogg-any", "Ogg media", "ogx ogg oga ogv", "application/ogg", starts(b"OggS")),
    _audio("ogg-opus", "Opus audio", "opus ogg oga", "audio/opus", _ogg(b"OpusHead")),
    _audio("spx", "Speex audio", "spx ogg oga", "audio/x-speex", _ogg(b"Speex   ")),
    _audio("mp3", "MP3 audio", "mp3 mpga", "audio/mpeg", (), "is_mp3"),
    _audio("mp2", "MPEG audio, layer 2", "mp2 mpa m2a", "audio/mpeg", (), "is_mp2"),
    _audio("mp1", "MPEG audio, layer 1", "mp1 mpa", "audio/mpeg", (), "is_mp1"),
    _audio("aac", "AAC audio", "aac adts", "audio/aac", (), "is_aac"),
    _audio("latm", "AAC audio in LATM", "latm loas", "audio/mp4a-latm", (), "is_latm"),
    _audio("aiff", "AIFF audio", "aiff aif aff", "audio/aiff", (((0, b"FORM"), (8, b"AIFF")),)),
    _audio("aifc", "AIFF-C audio", "aifc aif aiff", "audio/aiff", (((0, b"FORM"), (8, b"AIFC")),)),
    _audio(
        "8svx",
        "Amiga 8SVX audio",
        "8svx svx iff",
        "audio/x-8svx",
        (((0, b"FORM"), (8, b"8SVX")), ((0, b"FORM"), (8, b"16SV"))),
    ),
    _audio("au", "Sun audio", "au snd", "audio/basic", starts(b".snd", b"dns.")),
    _audio("voc", "Creative Voice audio", "voc", "audio/x-voc", starts(b"Creative Voice File\x1a")),
    _audio("caf", "Apple Core Audio", "caf", "audio/x-caf", starts(b"caff\0\1")),
    _audio("avr", "Audio Visual Research audio", "avr", "audio/x-avr", starts(b"2BIT")),
    _audio("nist-sphere", "NIST SPHERE audio", "nist sph", "audio/x-nist", starts(b"NIST_1A\n")),
    _audio(
        "ircam",
        "IRCAM audio",
        "sf ircam",
        "audio/x-ircam",
        starts(b"\x64\xa3\1\0", b"\x64\xa3\2\0", b"\x64\xa3\3\0", b"\0\1\xa3\x64", b"\0\2\xa3\x64"),
    ),
    _audio("pvf", "Portable Voice Format audio", "pvf", "audio/x-pvf", starts(b"PVF1\n")),
    _audio(
        "m4a", "MPEG-4 audio", "m4a m4r m4p f4a f4b", "audio/mp4", at(4, b"ftyp"), "is_mp4_audio"
    ),
    _audio("m4b", "MPEG-4 audiobook", "m4b", "audio/mp4", at(4, b"ftyp"), "is_named_m4b"),
    _audio("ac3", "Dolby Digital audio", "ac3", "audio/ac3", starts(b"\x0b\x77"), "is_ac3"),
    _audio(
        "eac3", "Dolby Digital Plus audio", "eac3 ec3", "audio/eac3", starts(b"\x0b\x77"), "is_eac3"
    ),
    _audio(
        "dts",
        "DTS audio",
        "dts dtshd",
        "audio/vnd.dts",
        starts(b"\x7f\xfe\x80\x01", b"\xfe\x7f\x01\x80", b"\x1f\xff\xe8\0", b"DTSHDHDR"),
    ),
    _audio(
        "truehd",
        "Dolby TrueHD audio",
        "thd mlp truehd",
        "audio/vnd.dolby.mlp",
        at(4, b"\xf8\x72\x6f\xba", b"\xf8\x72\x6f\xbb"),
    ),
    _audio("amr", "AMR speech", "amr", "audio/amr", starts(b"#!AMR\n", b"#!AMR_MC1.0\n")),
    _audio(
        "awb",
        "AMR wideband speech",
        "awb",
        "audio/amr-wb",
        starts(b"#!AMR-WB\n", b"#!AMR-WB_MC1.0\n"),
    ),
    _audio("wma", "Windows Media audio", "wma", "audio/x-ms-wma", _ASF, "is_wma"),
    _audio("ape", "Monkey's Audio", "ape mac", "audio/x-ape", starts(b"MAC ")),
    _audio("wv", "WavPack audio", "wv", "audio/x-wavpack", starts(b"wvpk")),
    _audio("dsf", "DSD stream", "dsf", "audio/x-dsf", starts(b"DSD \x1c\0\0\0")),
    _audio("dff", "DSD interchange", "dff", "audio/x-dff", (((0, b"FRM8"), (12, b"DSD ")),)),
    _audio("mpc", "Musepack audio", "mpc mp+ mpp", "audio/x-musepack", starts(b"MPCK", b"MP+")),
    _audio("tta", "True Audio", "tta", "audio/x-tta", starts(b"TTA1", b"TTA2")),
    _audio("tak", "TAK audio", "tak", "audio/x-tak", starts(b"tBaK")),
    _audio(
        "ofr",
        "OptimFROG audio",
        "ofr ofs",
        "audio/x-optimfrog",
        starts(b"OFR "),
        loader="described:load_info",
        object="FileInfo",
    ),
    _audio("shn", "Shorten audio", "shn", "audio/x-shorten", starts(b"ajkg")),
    _audio("qcp", "Qualcomm PureVoice speech", "qcp", "audio/qcelp", _riff(b"QLCM")),
    _audio("ra", "RealAudio", "ra", "audio/vnd.rn-realaudio", starts(b".ra\xfd")),
    _audio("mka", "Matroska audio", "mka", "audio/x-matroska", _EBML, "is_mka"),
    _audio("weba", "WebM audio", "weba", "audio/webm", _EBML, "is_weba"),
    _audio("gsm", "GSM speech", "gsm", "audio/x-gsm"),
    _audio("g722", "G.722 speech", "g722", "audio/G722"),
    _audio("adx", "CRI ADX audio", "adx", "audio/x-adx", starts(b"\x80\0"), "is_adx"),
    _audio("rso", "Lego Mindstorms audio", "rso", "audio/x-rso"),
    _audio(
        "midi",
        "MIDI",
        "mid midi smf kar",
        "audio/midi",
        (((0, b"MThd"), (4, b"\0\0\0\x06")), *_riff(b"RMID")),
        loader="audio:load_midi",
        object=_MIDI,
        requires=("mido",),
    ),
    _audio(
        "rmi",
        "MIDI in RIFF",
        "rmi",
        "audio/midi",
        _riff(b"RMID"),
        loader="audio:load_midi",
        object=_MIDI,
        requires=("mido",),
    ),
    _module("protracker", "ProTracker module", "mod", (), "is_mod"),
    _module("xm", "FastTracker 2 module", "xm", starts(b"Extended Module: ")),
    _module("s3m", "Scream Tracker 3 module", "s3m", at(44, b"SCRM")),
    _module("it", "Impulse Tracker module", "it", starts(b"IMPM")),
    _module("mptm", "OpenMPT module", "mptm", starts(b"tpm.")),
    _module("mtm", "MultiTracker module", "mtm", starts(b"MTM\x10")),
    _module("stm", "Scream Tracker 2 module", "stm", at(20, b"!Scream!\x1a", b"BMOD2STM\x1a")),
    _module("sf2", "SoundFont", "sf2 sf3 sbk", _riff(b"sfbk")),
    _module("dls", "Downloadable sounds", "dls", _riff(b"DLS ")),
    _module("sid", "Commodore 64 music", "sid psid", starts(b"PSID\0", b"RSID\0")),
    _module("nsf-music", "NES music", "nsf", starts(b"NESM\x1a")),
    _module("spc700", "SNES music", "spc", starts(b"SNES-SPC700 Sound File Data")),
    _module("vgm", "Video game music", "vgm vgz", starts(b"Vgm ")),
    _playlist(
        "m3u", "Playlist (M3U)", "m3u", "audio/x-mpegurl", r"#EXTM3U(?!\s[\s\S]{0,2000}#EXT-X)"
    ),
    _playlist("m3u8", "Playlist (HLS)", "m3u8", "application/vnd.apple.mpegurl", r"#EXTM3U\b"),
    _playlist("pls", "Playlist (PLS)", "pls", "audio/x-scpls", r"(?i)\[playlist\]"),
    _playlist(
        "cue",
        "Cue sheet",
        "cue",
        "application/x-cue",
        r"(?:(?:REM|CATALOG|PERFORMER|TITLE|SONGWRITER|CDTEXTFILE)\b[^\n]{0,500}\n\s{0,9}){0,40}"
        r"FILE[ \t]{1,9}[^\n]{1,500}[ \t](?:WAVE|BINARY|MP3|AIFF|MOTOROLA|FLAC)\b",
    ),
)
