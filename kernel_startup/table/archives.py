"""Types of archives and compression."""

from kernel_startup.filetype import FileType, Signature, at, starts

_LISTING = "Archive: a Mapping of member name -> Member, with load(), read() and extract()"


def _wrapper(
    name: str, title: str, mime_type: str, *extensions: str, signatures: tuple[Signature, ...] = ()
) -> FileType:
    """A compression around one file, of whose content nothing is known."""
    return FileType(
        name=name,
        family="archives",
        title=title,
        extensions=extensions,
        mime_type=mime_type,
        object="bytes of what is inside; the inner file's object if its type is known",
        loader="archives:load_inner",
        signatures=signatures,
    )


def _zipped(name: str, title: str, mime_type: str, extensions: str, *members: str) -> FileType:
    return FileType(
        name=name,
        family="archives",
        title=title,
        extensions=tuple(extensions.split()),
        mime_type=mime_type,
        object=_LISTING,
        loader="archives:load_archive",
        container="zip",
        members=members,
    )


def _archive(
    name: str,
    title: str,
    mime_type: str,
    extensions: str,
    signatures: tuple[Signature, ...] = (),
    check: str = "",
    requires: tuple[str, ...] = (),
) -> FileType:
    return FileType(
        name=name,
        family="archives",
        title=title,
        extensions=tuple(extensions.split()),
        mime_type=mime_type,
        object=_LISTING,
        loader="archives:load_archive",
        signatures=signatures,
        check=check,
        requires=requires,
    )


def _named(
    name: str,
    title: str,
    mime_type: str,
    extensions: str,
    signatures: tuple[Signature, ...] = (),
    check: str = "",
) -> FileType:
    """A type that nothing here unpacks: what its header tells."""
    return FileType(
        name=name,
        family="archives",
        title=title,
        extensions=tuple(extensions.split()),
        mime_type=mime_type,
        object="FileInfo with what its header tells",
        loader="archives:load_named",
        signatures=signatures,
        check=check,
    )


_ZIP = "application/zip"
TYPES: tuple[FileType, ...] = (
    # -- compressions around one file: what is inside decides, these are for when it isn't known
    _wrapper("gzip", "File compressed by gzip", "application/gzip", "gz", "gzip", "bgz"),
    _wrapper("bzip2", "File compressed by bzip2", "application/x-bzip2", "bz2", "bz"),
    _wrapper("xz", "File compressed by xz", "application/x-xz", "xz"),
    _wrapper("lzma", "File compressed by LZMA", "application/x-lzma", "lzma"),
    _wrapper("zstd", "File compressed by Zstandard", "application/zstd", "zst", "zstd"),
    _wrapper("lz4", "File compressed by LZ4", "application/x-lz4", "lz4"),
    _wrapper("brotli", "File compressed by Brotli", "application/x-brotli", "br"),
    _wrapper("compress", "File compressed by compress", "application/x-compress", "z"),
    _wrapper("lzip", "File compressed by lzip", "application/lzip", "lz"),
    _wrapper("zlib", "File compressed by zlib", "application/zlib", "zz", "zlib"),
    # -- archives on their own
    FileType(
        name="tar",
        family="archives",
        title="Tape archive",
        extensions=(
            *("tar", "tar.gz", "tgz", "taz", "tar.bz2", "tbz2", "tbz", "tb2", "tar.xz", "txz"),
            *("tar.lzma", "tlz", "tar.zst", "tzst", "tar.lz4", "tar.z", "tar.lz", "tar.br"),
            *("tar.bz", "tar.gzip", "ova", "gem", "cbt", "crate", "ustar", "gtar", "unitypackage"),
        ),
        mime_type="application/x-tar",
        object=_LISTING,
        loader="archives:load_archive",
        # A header of Unix V7 has no mark: the kind of member, and the check looks at its checksum.
        signatures=(*at(257, b"ustar"), *at(156, b"0", b"5", b"\0")),
        check="archives:is_tar",
    ),
    _archive(
        "7z",
        "7-Zip archive",
        "application/x-7z-compressed",
        "7z cb7",
        starts(b"7z\xbc\xaf\x27\x1c"),
        requires=("py7zr>=1",),
    ),
    _archive(
        "rar",
        "RAR archive",
        "application/vnd.rar",
        "rar cbr r00",
        starts(b"Rar!\x1a\x07\x00", b"Rar!\x1a\x07\x01\x00"),
    ),
    _archive(
        "cab",
        "Windows cabinet",
        "application/vnd.ms-cab-compressed",
        "cab",
        starts(b"MSCF\0\0\0\0"),
    ),
    _archive(
        "cpio",
        "cpio archive",
        "application/x-cpio",
        "cpio cpgz cpio.gz",
        starts(b"070701", b"070702", b"070707", b"\xc7\x71", b"\x71\xc7"),
        check="archives:is_cpio",
    ),
    _archive(
        "deb",
        "Debian package",
        "application/vnd.debian.binary-package",
        "deb udeb ipk",
        starts(b"!<arch>\ndebian-binary"),
    ),
    _archive(
        "ar", "Unix ar archive or library", "application/x-archive", "ar a", starts(b"!<arch>\n")
    ),
    _archive("rpm", "RPM package", "application/x-rpm", "rpm srpm", starts(b"\xed\xab\xee\xdb")),
    _archive(
        "iso",
        "ISO 9660 disc image",
        "application/x-iso9660-image",
        "iso isoimage",
        at(0x8001, b"CD001"),
    ),
    _archive("xar", "XAR archive", "application/x-xar", "xar pkg xip", starts(b"xar!")),
    _archive(
        "lzh",
        "LHA archive",
        "application/x-lzh-compressed",
        "lzh lha lzs",
        at(2, b"-lh", b"-lz", b"-pm"),
        check="archives:is_lzh",
    ),
    _archive("crx", "Chrome extension", "application/x-chrome-extension", "crx", starts(b"Cr24")),
    _archive("jmod", "Java module", "application/x-java-jmod", "jmod", starts(b"JM\1\0PK\3\4")),
    _archive(
        "zip_with_prefix",
        "Zip archive with something before it",
        _ZIP,
        "pyz pyzw zipx sfx",
        check="archives:is_prefixed_zip",
    ),
    # -- what is a zip inside
    _zipped("zip", "Zip archive", _ZIP, "zip"),
    _zipped("jar", "Java archive", "application/java-archive", "jar", "META-INF/MANIFEST.MF"),
    _zipped("war", "Java web application", "application/java-archive", "war", "WEB-INF/*"),
    _zipped(
        "ear",
        "Java enterprise application",
        "application/java-archive",
        "ear",
        "META-INF/application.xml",
    ),
    _zipped(
        "aar",
        "Android library",
        "application/java-archive",
        "aar",
        "AndroidManifest.xml",
        "classes.jar",
    ),
    _zipped(
        "apk",
        "Android application",
        "application/vnd.android.package-archive",
        "apk",
        "AndroidManifest.xml",
        "classes*.dex",
    ),
    _zipped("aab", "Android app bundle", _ZIP, "aab", "BundleConfig.pb", "base/*"),
    _zipped("xapk", "Android package bundle", _ZIP, "xapk apks apkm", "manifest.json", "*.apk"),
    _zipped("ipa", "iOS application", "application/octet-stream", "ipa", "Payload/*.app/*"),
    _zipped("xpi", "Mozilla extension", "application/x-xpinstall", "xpi"),
    _zipped("whl", "Python wheel", "application/x-wheel+zip", "whl", "*.dist-info/WHEEL"),
    _zipped("egg", "Python egg", _ZIP, "egg", "EGG-INF/PKG-INFO"),
    _zipped("conda", "Conda package", _ZIP, "conda", "metadata.json", "pkg-*.tar.zst"),
    _zipped("nupkg", "NuGet package", _ZIP, "nupkg snupkg", "*.nuspec", "_rels/.rels"),
    _zipped(
        "vsix", "Visual Studio extension", "application/vsix", "vsix", "extension.vsixmanifest"
    ),
    _zipped(
        "msix",
        "Windows app package",
        "application/msix",
        "msix appx msixbundle appxbundle",
        "AppxManifest.xml",
        "AppxBlockMap.xml",
    ),
    _zipped(
        "oxt",
        "OpenOffice extension",
        "application/vnd.openofficeorg.extension",
        "oxt",
        "META-INF/manifest.xml",
        "description.xml",
    ),
    _zipped(
        "wacz",
        "Web archive collection",
        "application/wacz",
        "wacz",
        "datapackage.json",
        "archive/*",
    ),
    _zipped("cbz", "Comic book in a zip", "application/vnd.comicbook+zip", "cbz"),
    _zipped("mcpack", "Minecraft pack", _ZIP, "mcpack mcaddon mcworld mrpack"),
    _zipped("sb3", "Scratch project", "application/x.scratch.sb3", "sb3 sprite3"),
    # -- named, and what the header tells
    _named("zip_spanned", "Part of a zip in several", _ZIP, "z01 z02", starts(b"PK\7\x08")),
    _named(
        "arj", "ARJ archive", "application/x-arj", "arj", starts(b"\x60\xea"), "archives:is_arj"
    ),
    _named("ace_archive", "ACE archive", "application/x-ace-compressed", "ace", at(7, b"**ACE**")),
    _named("zoo", "Zoo archive", "application/x-zoo", "zoo", at(20, b"\xdc\xa7\xc4\xfd")),
    _named("arc", "ARC archive", "application/x-arc", "arc ark", (), "archives:is_arc"),
    _named(
        "sit",
        "StuffIt archive",
        "application/x-stuffit",
        "sit",
        starts(b"SIT!", b"StuffIt (c)1997-"),
    ),
    _named(
        "sitx",
        "StuffIt X archive",
        "application/x-stuffitx",
        "sitx",
        starts(b"StuffIt!", b"StuffIt?"),
    ),
    _named("zpaq", "ZPAQ archive", "application/x-zpaq", "zpaq", starts(b"zPQ", b"7kSt")),
    _named("alz", "ALZip archive", "application/x-alz-compressed", "alz", starts(b"ALZ\1")),
    _named("egg_archive", "ALZip EGG archive", "application/x-egg", "egg", starts(b"EGGA")),
    _named("lrzip", "File compressed by lrzip", "application/x-lrzip", "lrz", starts(b"LRZI")),
    _named("rzip", "File compressed by rzip", "application/x-rzip", "rz", starts(b"RZIP")),
    _named(
        "lzop",
        "File compressed by lzop",
        "application/x-lzop",
        "lzo",
        starts(b"\x89LZO\0\r\n\x1a\n"),
    ),
    _named(
        "snappy",
        "File compressed by Snappy",
        "application/x-snappy-framed",
        "sz snappy",
        starts(b"\xff\6\0\0sNaPpY"),
    ),
    _named(
        "lzfse",
        "File compressed by LZFSE",
        "application/x-lzfse",
        "lzfse",
        starts(b"bvx2", b"bvx-", b"bvxn"),
    ),
    _named(
        "pack",
        "File compressed by pack",
        "application/x-pack",
        "",
        starts(b"\x1f\x1e"),
        "archives:is_pack",
    ),
    _named(
        "szdd",
        "File compressed by MS-DOS compress",
        "application/x-ms-compress",
        "ex_ dl_ sy_",
        starts(b"SZDD\x88\xf0\x27\x33", b"KWAJ\x88\xf0\x27\xd1"),
    ),
    _named("paq8", "PAQ archive", "application/x-paq", "paq8 paq", starts(b"paq8")),
    _named("freearc", "FreeArc archive", "application/x-freearc", "", starts(b"ArC\1")),
    _named("uharc", "UHARC archive", "application/x-uharc", "uha", starts(b"UHA\6")),
    _named("dar", "DAR archive", "application/x-dar", "dar"),
    _named(
        "dmg", "Apple disk image", "application/x-apple-diskimage", "dmg", (), "archives:is_dmg"
    ),
    _named(
        "squashfs",
        "SquashFS file system",
        "application/vnd.squashfs",
        "squashfs sqfs snap sfs",
        starts(b"hsqs", b"sqsh"),
    ),
    _named(
        "cramfs",
        "cramfs file system",
        "application/x-cramfs",
        "cramfs",
        starts(b"\x45\x3d\xcd\x28", b"\x28\xcd\x3d\x45"),
    ),
    _named("romfs", "romfs file system", "application/x-romfs", "romfs", starts(b"-rom1fs-")),
    _named(
        "wim",
        "Windows image",
        "application/x-ms-wim",
        "wim esd swm",
        starts(b"MSWIM\0\0\0", b"WLPWM\0\0\0"),
    ),
    _named("qcow", "QEMU disk image", "application/x-qemu-disk", "qcow qcow2", starts(b"QFI\xfb")),
    _named(
        "vmdk",
        "VMware disk image",
        "application/x-vmdk",
        "vmdk",
        starts(b"KDMV", b"COWD", b"# Disk DescriptorFile"),
    ),
    _named("vhd", "Virtual PC disk image", "application/x-vhd", "vhd", (), "archives:is_vhd"),
    _named("vhdx", "Hyper-V disk image", "application/x-vhdx", "vhdx", starts(b"vhdxfile")),
    _named(
        "vdi",
        "VirtualBox disk image",
        "application/x-virtualbox-vdi",
        "vdi",
        at(0x40, b"\x7f\x10\xda\xbe"),
    ),
    _named(
        "ext",
        "ext file system",
        "application/x-ext",
        "ext2 ext3 ext4",
        at(0x438, b"\x53\xef"),
        "archives:is_ext",
    ),
    _named(
        "udf",
        "UDF disc image",
        "application/x-udf",
        "udf",
        at(0x8001, b"BEA01", b"NSR02", b"NSR03"),
    ),
    _named("nrg", "Nero disc image", "application/x-nrg", "nrg", (), "archives:is_nrg"),
    _named("cso", "Compressed ISO image", "application/x-cso", "cso ciso", starts(b"CISO")),
    _named(
        "partclone", "Partclone image", "application/x-partclone", "", starts(b"partclone-image")
    ),
)
