"""Types of finance programs."""

from kernel_startup.filetype import Container, FileType, Signature, starts


def _finance(
    name: str,
    title: str,
    extensions: str,
    loader: str,
    mime_type: str = "text/plain",
    *,
    object: str = "pandas.DataFrame of transactions",
    container: Container = "",
    roots: tuple[str, ...] = (),
    patterns: tuple[str, ...] = (),
    signatures: tuple[Signature, ...] = (),
) -> FileType:
    return FileType(
        name=name,
        family="finance",
        title=title,
        extensions=tuple(extensions.split()),
        mime_type=mime_type,
        object=object,
        loader=loader,
        container=container,
        roots=roots,
        patterns=patterns,
        signatures=signatures,
        is_text=not signatures,
    )


_OFX = (r"OFXHEADER[ \t]*+:", r"(?:<\?xml[^>]{0,200}>\s*+)?<\?OFX\s", r"<OFX>\s*+<SIGNONMSGSRS")
_ISO = "urn:iso:std:iso:20022:tech:xsd:"


def _iso(kind: str, versions: int) -> tuple[str, ...]:
    return tuple(f"{{{_ISO}{kind}.001.{version:02}}}Document" for version in range(1, versions))


TYPES = (
    _finance(
        "ofx",
        "Open Financial Exchange",
        "ofx ofc",
        "finance:load_ofx",
        "application/x-ofx",
        patterns=_OFX,
    ),
    _finance(
        "qfx",
        "Quicken Web Connect",
        "qfx",
        "finance:load_ofx",
        "application/vnd.intu.qfx",
        patterns=_OFX,
    ),
    _finance(
        "qbo",
        "QuickBooks Web Connect",
        "qbo",
        "finance:load_ofx",
        "application/vnd.intu.qbo",
        patterns=_OFX,
    ),
    _finance(
        "qif",
        "Quicken Interchange Format",
        "qif",
        "finance:load_qif",
        "application/x-qif",
        patterns=(r"!(?:Type|Account|Option|Clear)\b",),
    ),
    _finance(
        "mt940",
        "SWIFT MT940 or MT942 statement",
        "sta mt940 940 mt942 swi",
        "finance:load_mt940",
        "text/x-mt940",
        patterns=(r"(?:[^\n]{0,200}\n){0,4}?:20:[^\n]{0,200}\n(?:[^\n]{0,200}\n){0,3}?:25P?:",),
    ),
    _finance(
        "camt",
        "Bank statement (ISO 20022 camt)",
        "camt xml",
        "finance:load_camt",
        "application/xml",
        container="xml",
        roots=(*_iso("camt.052", 14), *_iso("camt.053", 14), *_iso("camt.054", 14)),
    ),
    _finance(
        "pain",
        "Payment order (ISO 20022 pain)",
        "pain xml",
        "finance:load_pain",
        "application/xml",
        object="pandas.DataFrame of payments",
        container="xml",
        roots=(
            *_iso("pain.001", 13),
            *_iso("pain.008", 12),
            *(
                f"{{urn:iso:std:iso:20022:tech:xsd:pain.001.{minor:03}.{version:02}}}Document"
                for minor in (2, 3)
                for version in range(1, 10)
            ),
        ),
    ),
    _finance(
        "bai2",
        "BAI2 cash management",
        "bai bai2",
        "finance:load_bai2",
        object="pandas.DataFrame of transactions",
        patterns=(r"01,[^\n,]{1,40},[^\n,]{1,40},\d{6},\d{0,4},",),
    ),
    _finance(
        "gnucash",
        "GnuCash accounts",
        "gnucash",
        "finance:load_gnucash",
        "application/x-gnucash",
        container="xml",
        roots=("gnc-v2",),
    ),
    _finance(
        "ledger",
        "Ledger or hledger journal",
        "ledger ldg hledger journal",
        "text:load_text",
        object="str",
    ),
    _finance("beancount", "Beancount journal", "beancount bean", "text:load_text", object="str"),
    _finance(
        "nacha",
        "NACHA (ACH) payments",
        "ach nacha",
        "finance:load_nacha",
        object="pandas.DataFrame of payments",
        patterns=(r"101[ \d]{10}[ \d]{10}\d{6}[A-Z\d ]{4}[A-Z\d]094101",),
    ),
    _finance(
        "xbrl",
        "XBRL report",
        "xbrl xml",
        "finance:load_xbrl",
        "application/xbrl+xml",
        object="pandas.DataFrame of facts",
        container="xml",
        roots=("{http://www.xbrl.org/2003/instance}xbrl",),
    ),
    _finance(
        "money",
        "Microsoft Money data",
        "mny mbf",
        "described:load_info",
        "application/x-msmoney",
        object="FileInfo",
        signatures=starts(b"\x00\x01\x00\x00MSISAM Database"),
    ),
)
