"""Text tables, spreadsheets and files of finance programs."""

import gzip
import io
import struct
import zipfile
from collections.abc import Callable
from typing import Any

from tests.formats.uploads import Made


def _text(text: str, encoding: str = "utf-8") -> Callable[[], bytes]:
    return lambda: text.encode(encoding)


def _is_cities(table: Any) -> None:
    assert list(table.columns) == ["city", "people", "code"]
    assert table["city"].tolist() == ["Oslo", "Lima", "Rome"]
    assert table["people"].tolist() == [1, 2, 3]
    assert table["code"].astype(str).tolist() == ["007", "010", "100"]


def _delimited(delimiter: str) -> Callable[[], bytes]:
    rows = ["city,people,code", "Oslo,1,007", "Lima,2,010", "Rome,3,100"]
    return _text("\n".join(rows).replace(",", delimiter) + "\n")


_ROWS = [["city", "people", "code"], ["Oslo", 1, "007"], ["Lima", 2, "010"], ["Rome", 3, "100"]]


def _openpyxl(kind: str = "xlsx") -> Callable[[], bytes]:
    def make() -> bytes:
        import openpyxl

        book = openpyxl.Workbook()
        for row in _ROWS:
            book.active.append(row)
        book.template = kind in ("xltx", "xltm")
        buffer = io.BytesIO()
        book.save(buffer)
        return buffer.getvalue()

    return make


def _with_content_type(new: bytes) -> Callable[[], bytes]:
    def make() -> bytes:
        old = b"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"
        written = io.BytesIO()
        with (
            zipfile.ZipFile(io.BytesIO(_openpyxl()())) as source,
            zipfile.ZipFile(written, "w") as target,
        ):
            for name in source.namelist():
                target.writestr(name, source.read(name).replace(old, new))
        return written.getvalue()

    return make


# -- OpenDocument ---------------------------------------------------------------------------------

_NAMES = (
    'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
    'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" '
    'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"'
)
_OLD_NAMES = (
    'xmlns:office="http://openoffice.org/2000/office" '
    'xmlns:table="http://openoffice.org/2000/table" xmlns:text="http://openoffice.org/2000/text"'
)


def _opendocument_rows(prefix: str) -> str:
    def cell(value: object) -> str:
        if isinstance(value, int):
            return (
                f'<table:table-cell {prefix}:value-type="float" {prefix}:value="{value}">'
                f"<text:p>{value}</text:p></table:table-cell>"
            )
        return (
            f'<table:table-cell {prefix}:value-type="string"><text:p>{value}</text:p>'
            "</table:table-cell>"
        )

    rows = "".join(f"<table:table-row>{''.join(map(cell, row))}</table:table-row>" for row in _ROWS)
    return f'<table:table table:name="Cities">{rows}</table:table>'


def _opendocument(mime: str) -> Callable[[], bytes]:
    def make() -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("mimetype", mime)
            archive.writestr(
                "content.xml",
                f'<office:document-content {_NAMES} office:version="1.2"><office:body>'
                f"<office:spreadsheet>{_opendocument_rows('office')}</office:spreadsheet>"
                "</office:body></office:document-content>",
            )
            archive.writestr(
                "META-INF/manifest.xml",
                '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:'
                f'manifest:1.0"><manifest:file-entry manifest:full-path="/" '
                f'manifest:media-type="{mime}"/></manifest:manifest>',
            )
        return buffer.getvalue()

    return make


def _openoffice(mime: str) -> Callable[[], bytes]:
    def make() -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("mimetype", mime)
            archive.writestr(
                "content.xml",
                f"<office:document-content {_OLD_NAMES}><office:body>"
                f"{_opendocument_rows('table')}</office:body></office:document-content>",
            )
        return buffer.getvalue()

    return make


_FODS = (
    f'<?xml version="1.0" encoding="UTF-8"?>\n<office:document {_NAMES} '
    'office:mimetype="application/vnd.oasis.opendocument.spreadsheet"><office:body>'
    f"<office:spreadsheet>{_opendocument_rows('office')}</office:spreadsheet></office:body>"
    "</office:document>"
)

# -- other XML ------------------------------------------------------------------------------------


def _excel_xml() -> bytes:
    def cell(value: object) -> str:
        kind = "Number" if isinstance(value, int) else "String"
        return f'<Cell><Data ss:Type="{kind}">{value}</Data></Cell>'

    rows = "".join(f"<Row>{''.join(map(cell, row))}</Row>" for row in _ROWS)
    return (
        '<?xml version="1.0"?>\n<?mso-application progid="Excel.Sheet"?>\n'
        '<Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet" '
        'xmlns:ss="urn:schemas-microsoft-com:office:spreadsheet">'
        f'<Worksheet ss:Name="Cities"><Table>{rows}</Table></Worksheet></Workbook>'
    ).encode()


def _gnumeric() -> bytes:
    cells = "".join(
        f'<gnm:Cell Row="{r}" Col="{c}" ValueType="{40 if isinstance(v, int) else 60}">'
        f"{v}</gnm:Cell>"
        for r, row in enumerate(_ROWS)
        for c, v in enumerate(row)
    )
    return gzip.compress(
        (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<gnm:Workbook xmlns:gnm="http://www.gnumeric.org/v10.dtd"><gnm:Sheets><gnm:Sheet>'
            f"<gnm:Name>Cities</gnm:Name><gnm:Cells>{cells}</gnm:Cells></gnm:Sheet></gnm:Sheets>"
            "</gnm:Workbook>"
        ).encode()
    )


# -- old programs ---------------------------------------------------------------------------------


def _record(kind: int, body: bytes) -> bytes:
    return struct.pack("<HH", kind, len(body)) + body


def _lotus(version: int) -> Callable[[], bytes]:
    def make() -> bytes:
        content = _record(0, struct.pack("<H", version))
        for r, row in enumerate(_ROWS):
            for c, value in enumerate(row):
                place = struct.pack("<BHH", 0xFF, c, r)
                if isinstance(value, int):
                    content += _record(0x0E, place + struct.pack("<d", value))
                else:
                    content += _record(0x0F, place + b"'" + value.encode() + b"\0")
        return content + _record(1, b"")

    return make


def _lotus_works() -> bytes:
    return b"\xff\0" + _lotus(0x0404)()[2:]


def _lotus_3(version: int) -> Callable[[], bytes]:
    def make() -> bytes:
        content = _record(0, struct.pack("<HH", version, 4) + bytes(22))
        for r, row in enumerate(_ROWS):
            for c, value in enumerate(row):
                place = struct.pack("<HBB", r, 0, c)
                if isinstance(value, int):
                    content += _record(0x18, place + struct.pack("<h", value << 1))
                else:
                    content += _record(0x16, place + b"'" + value.encode() + b"\0")
        return content + _record(1, b"")

    return make


def _quattro(version: int) -> Callable[[], bytes]:
    def make() -> bytes:
        content = _record(0, struct.pack("<H", version))
        for r, row in enumerate(_ROWS):
            for c, value in enumerate(row):
                place = struct.pack("<BBHH", c, 0, r, 0)
                if isinstance(value, int):
                    content += _record(0x0E, place + struct.pack("<d", value))
                else:
                    content += _record(0x0F, place + b"'" + value.encode() + b"\0")
        return content + _record(1, b"")

    return make


def _early_excel() -> bytes:
    content = _record(0x0009, struct.pack("<HH", 2, 0x10))
    for r, row in enumerate(_ROWS):
        for c, value in enumerate(row):
            place = struct.pack("<HH3x", r, c)
            if isinstance(value, int):
                content += _record(0x0003, place + struct.pack("<d", value))
            else:
                content += _record(0x0004, place + bytes([len(value)]) + value.encode())
    return content + _record(0x000A, b"")


def _dif() -> bytes:
    lines = ["TABLE", "0,1", '"made"', "VECTORS", "0,3", '""', "TUPLES", "0,4", '""']
    lines += ["DATA", "0,0", '""']
    for row in _ROWS:
        lines += ["-1,0", "BOT"]
        for value in row:
            lines += [f"0,{value}", "V"] if isinstance(value, int) else ["1,0", f'"{value}"']
    return "\r\n".join([*lines, "-1,0", "EOD", ""]).encode()


def _sylk() -> bytes:
    lines = ["ID;PWXL;N;E"]
    for r, row in enumerate(_ROWS, start=1):
        for c, value in enumerate(row, start=1):
            said = value if isinstance(value, int) else f'"{value}"'
            lines.append(f"C;Y{r};X{c};K{said}" if c == 1 else f"C;X{c};K{said}")
    return "\r\n".join([*lines, "E", ""]).encode()


# -- text tables ----------------------------------------------------------------------------------

_FIXED = "city    people  code\nOslo         1   007\nLima         2   010\nRome         3   100\n"
_ECSV = (
    "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: city, datatype: string}\n"
    "# - {name: people, unit: m / s, datatype: int64}\n# - {name: code, datatype: string}\n"
    "# schema: astropy-2.0\ncity people code\nOslo 1 007\nLima 2 010\nRome 3 100\n"
)
_ARFF = (
    "% made\n@RELATION cities\n\n@ATTRIBUTE city {Oslo,Lima,Rome}\n@attribute people numeric\n"
    "@ATTRIBUTE code string\n@DATA\nOslo,1,'007'\nLima,2,'010'\nRome,3,'100'\n"
)
_VOTABLE = (
    '<?xml version="1.0"?><VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
    '<RESOURCE><TABLE name="cities"><FIELD name="city" datatype="char" arraysize="*"/>'
    '<FIELD name="people" datatype="int"/><FIELD name="code" datatype="char" arraysize="*"/>'
    "<DATA><TABLEDATA>"
    + "".join(
        f"<TR><TD>{city}</TD><TD>{people}</TD><TD>{code}</TD></TR>"
        for city, people, code in _ROWS[1:]
    )
    + "</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"
)


def _mtx() -> bytes:
    from scipy.io import mmwrite
    from scipy.sparse import coo_array

    buffer = io.BytesIO()
    mmwrite(buffer, coo_array(([1.5, 2.5], ([0, 2], [1, 3])), shape=(3, 4)))
    return buffer.getvalue()


def _is_matrix(matrix: Any) -> None:
    assert matrix.shape == (3, 4)
    assert matrix.toarray()[2, 3] == 2.5


def _is_libsvm(loaded: Any) -> None:
    features, labels = loaded
    assert features.shape == (2, 3)
    assert labels.tolist() == [1, -1]


# -- finance --------------------------------------------------------------------------------------

_OFX_BODY = (
    "<OFX><SIGNONMSGSRSV1><SONRS><LANGUAGE>ENG</SONRS></SIGNONMSGSRSV1><BANKMSGSRSV1><STMTTRNRS>"
    "<STMTRS><CURDEF>EUR<BANKACCTFROM><ACCTID>123</BANKACCTFROM><BANKTRANLIST>\n"
    "<STMTTRN><TRNTYPE>DEBIT<DTPOSTED>20240131120000[0:GMT]<TRNAMT>-5.25<FITID>a1<NAME>Bread &amp; "
    "co</STMTTRN>\n<STMTTRN><TRNTYPE>CREDIT\n<DTPOSTED>20240201\n<TRNAMT>100,50\n<FITID>a2\n"
    "<NAME>Wages\n</STMTTRN></BANKTRANLIST></STMTRS></STMTTRNRS></BANKMSGSRSV1></OFX>"
)
_OFX = f"OFXHEADER:100\nDATA:OFXSGML\nVERSION:102\nENCODING:USASCII\nCHARSET:1252\n\n{_OFX_BODY}"
_QIF = "!Type:Bank\nD31/01/2024\nT-5.25\nPBread & co\nLFood\n^\nD01/02/2024\nT100.50\nPWages\n^\n"
_MT940 = (
    ":20:START\n:25:10020030/123\n:28C:1/1\n:60F:C240101EUR10,00\n"
    ":61:2401310131D5,25NMSCa1\n:86:Bread &\n co\n:61:240201C100,50NMSCa2\n:86:Wages\n"
    ":62F:C240201EUR105,25\n-\n"
)
_CAMT = (
    '<?xml version="1.0"?><Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.02">'
    "<BkToCstmrStmt><Stmt><Acct><Id><IBAN>DE1</IBAN></Id></Acct>"
    '<Ntry><Amt Ccy="EUR">5.25</Amt><CdtDbtInd>DBIT</CdtDbtInd>'
    "<BookgDt><Dt>2024-01-31</Dt></BookgDt></Ntry>"
    '<Ntry><Amt Ccy="EUR">100.50</Amt><CdtDbtInd>CRDT</CdtDbtInd>'
    "<BookgDt><Dt>2024-02-01</Dt></BookgDt></Ntry></Stmt></BkToCstmrStmt></Document>"
)
_PAIN = (
    '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.001.001.03"><CstmrCdtTrfInitn><PmtInf>'
    "<PmtMtd>TRF</PmtMtd><Dbtr><Nm>Me</Nm></Dbtr><CdtTrfTxInf><Amt>"
    '<InstdAmt Ccy="EUR">5.25</InstdAmt></Amt><Cdtr><Nm>Bread</Nm></Cdtr></CdtTrfTxInf>'
    "</PmtInf></CstmrCdtTrfInitn></Document>"
)
_GNUCASH = (
    '<?xml version="1.0" encoding="utf-8" ?><gnc-v2 xmlns:gnc="g" xmlns:act="a" xmlns:trn="t" '
    'xmlns:ts="s" xmlns:split="p"><gnc:book><gnc:account><act:name>Root</act:name><act:id>r'
    "</act:id><act:type>ROOT</act:type></gnc:account><gnc:account><act:name>Cash</act:name>"
    "<act:id>c</act:id><act:type>CASH</act:type><act:parent>r</act:parent></gnc:account>"
    "<gnc:transaction><trn:date-posted><ts:date>2024-01-31 10:59:00 +0000</ts:date>"
    "</trn:date-posted><trn:description>Bread</trn:description><trn:splits><trn:split>"
    "<split:value>-525/100</split:value><split:account>c</split:account></trn:split>"
    "</trn:splits></gnc:transaction></gnc:book></gnc-v2>"
)
_BAI = (
    "01,BANK,ME,240131,1200,1,80,,2/\n02,ME,BANK,1,240131,1200,EUR,2/\n03,123,EUR,010,1000,,/\n"
    "16,475,525,Z,,,Bread/\n16,165,10050,Z,,,Wages/\n49,1000,4/\n98,1000,1,6/\n99,1000,1,8/\n"
)
_XBRL = (
    '<xbrli:xbrl xmlns:xbrli="http://www.xbrl.org/2003/instance" xmlns:f="http://f">'
    '<xbrli:context id="c"><xbrli:entity><xbrli:identifier scheme="s">ACME</xbrli:identifier>'
    "</xbrli:entity><xbrli:period><xbrli:instant>2024-01-31</xbrli:instant></xbrli:period>"
    '</xbrli:context><xbrli:unit id="u"><xbrli:measure>iso4217:EUR</xbrli:measure></xbrli:unit>'
    '<f:Assets contextRef="c" unitRef="u" decimals="0">105</f:Assets></xbrli:xbrl>'
)
_NACHA = (
    "101 091000019 1234567892401311200A094101BANK                   ME                             "
    "\n5200ME                                  1234567890PPDPAY             240131   10910000100000"
    "01\n622091000019123              0000000525ID             BREAD                   00910000100"
    "00001\n"
)


def _is_bank(table: Any) -> None:
    assert table["amount"].tolist() == [-5.25, 100.5]
    assert [str(day)[:10] for day in table["date"]] == ["2024-01-31", "2024-02-01"]


def _is_bai(table: Any) -> None:
    assert table["amount"].tolist() == [-5.25, 100.5]


def _is_pain(table: Any) -> None:
    assert table["amount"].tolist() == [5.25]
    assert table["party"].tolist() == ["Bread"]


def _is_gnucash(table: Any) -> None:
    assert table[["account", "amount"]].to_numpy().tolist() == [["Cash", -5.25]]


def _is_xbrl(table: Any) -> None:
    assert table[["name", "value", "entity"]].to_numpy().tolist() == [["Assets", 105, "ACME"]]


def _is_nacha(table: Any) -> None:
    assert table["amount"].tolist() == [5.25]


def _says(word: str) -> Callable[[Any], None]:
    def check(text: Any) -> None:
        assert isinstance(text, str)
        assert word in text

    return check


_OOXML_MACRO = b"application/vnd.ms-excel.%s.macroEnabled.main+xml"
_OASIS = "application/vnd.oasis.opendocument.spreadsheet"
_SUN = "application/vnd.sun.xml.calc"

MADE = (
    Made("csv", "cities.csv", _delimited(","), _is_cities),
    Made("csv", "cities.txt", _delimited(","), _is_cities),
    Made("tsv", "cities.tsv", _delimited("\t"), _is_cities),
    Made("psv", "cities.psv", _delimited("|"), _is_cities, nameless=False),
    Made("ssv", "cities.ssv", _delimited(" "), _is_cities, nameless=False),
    Made("ssv", "points.dat", _text("# t x\n0 1.5\n1 2.5\n2 3.5\n"), lambda t: t["x"].sum() == 7.5),
    Made("fwf", "cities.prn", _text(_FIXED), _is_cities, nameless=False),
    Made("ecsv", "cities.ecsv", _text(_ECSV), _is_cities),
    Made("arff", "cities.arff", _text(_ARFF), _is_cities),
    Made("votable", "cities.vot", _text(_VOTABLE), _is_cities, requires=("astropy>=7",)),
    Made("mtx", "m.mtx", _mtx, _is_matrix),
    Made("libsvm", "m.libsvm", _text("1 1:0.5 3:2\n-1 2:1\n"), _is_libsvm, nameless=False),
    Made("xlsx", "cities.xlsx", _openpyxl(), _is_cities),
    Made("xltx", "cities.xltx", _openpyxl("xltx"), _is_cities),
    Made("xlsm", "cities.xlsm", _with_content_type(_OOXML_MACRO % b"sheet"), _is_cities),
    Made("xltm", "cities.xltm", _with_content_type(_OOXML_MACRO % b"template"), _is_cities),
    Made("xlam", "cities.xlam", _with_content_type(_OOXML_MACRO % b"addin"), _is_cities),
    Made("xls-early", "cities.xls", _early_excel, _is_cities, requires=("xlrd>=2.0.1",)),
    Made("excel-xml", "cities.xls", _excel_xml, _is_cities),
    Made("ods", "cities.ods", _opendocument(_OASIS), _is_cities),
    Made("ots", "cities.ots", _opendocument(f"{_OASIS}-template"), _is_cities),
    Made("fods", "cities.fods", _text(_FODS), _is_cities),
    Made("sxc", "cities.sxc", _openoffice(_SUN), _is_cities),
    Made("stc", "cities.stc", _openoffice(f"{_SUN}.template"), _is_cities),
    Made("gnumeric", "cities.gnumeric", _gnumeric, _is_cities),
    Made("wks", "cities.wks", _lotus(0x0404), _is_cities),
    Made("wk1", "cities.wk1", _lotus(0x0406), _is_cities),
    Made("works-wks", "cities.wks", _lotus_works, _is_cities),
    Made("wq1", "cities.wq1", _lotus(0x5120), _is_cities),
    Made("wk3", "cities.wk3", _lotus_3(0x1000), _is_cities),
    Made("wk4", "cities.wk4", _lotus_3(0x1002), _is_cities),
    Made("123", "cities.123", _lotus_3(0x1003), _is_cities),
    Made("wq2", "cities.wq2", _quattro(0x5121), _is_cities),
    Made("wb1", "cities.wb1", _quattro(0x1001), _is_cities),
    Made("wb2", "cities.wb2", _quattro(0x1002), _is_cities),
    Made("dif-table", "cities.dif", _dif, _is_cities),
    Made("slk", "cities.slk", _sylk, _is_cities),
    Made("ofx", "bank.ofx", _text(_OFX), _is_bank),
    Made("qfx", "bank.qfx", _text(_OFX), _is_bank, nameless=False),
    Made("qbo", "bank.qbo", _text(_OFX), _is_bank, nameless=False),
    Made("qif", "bank.qif", _text(_QIF), _is_bank),
    Made("mt940", "bank.sta", _text(_MT940), _is_bank),
    Made("camt", "bank.xml", _text(_CAMT), _is_bank),
    Made("pain", "pay.xml", _text(_PAIN), _is_pain),
    Made("gnucash", "book.gnucash", lambda: gzip.compress(_GNUCASH.encode()), _is_gnucash),
    Made("bai2", "bank.bai", _text(_BAI), _is_bai),
    Made("xbrl", "report.xbrl", _text(_XBRL), _is_xbrl),
    Made("nacha", "pay.ach", _text(_NACHA), _is_nacha),
    Made(
        "ledger",
        "a.ledger",
        _text("2024-01-31 Bread\n  Food  5 EUR\n  Cash\n"),
        _says("Bread"),
        nameless=False,
    ),
    Made(
        "beancount",
        "a.beancount",
        _text('2024-01-31 * "Bread"\n  Food  5 EUR\n'),
        _says("Bread"),
        nameless=False,
    ),
)
