"""Statements and transactions of banks and of finance programs, as tables."""

import datetime
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from kernel_startup.errors import FileLoadError
from kernel_startup.loaders.text import decode
from kernel_startup.source import Source

if TYPE_CHECKING:
    import pandas as pd


def _table(source: Source, rows: list[dict[str, Any]], what: str) -> "pd.DataFrame":
    """A table of records, in which dates are datetimes."""
    import pandas as pd

    if not rows:
        source.note(f"{source.name!r} has no {what}.")
    table = pd.DataFrame(rows)
    for name in table.columns:
        values = table[name].dropna()
        if len(values) and all(isinstance(value, datetime.date) for value in values):
            table[name] = pd.to_datetime(table[name], errors="coerce")
    return table


def _number(text: str | None) -> Any:
    """An amount, whichever of "." and "," is its decimal sign."""
    if text is None:
        return None
    digits = re.sub(r"[\s'\u00a0]", "", text)
    if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?|[+-]?\d+,\d{3}\.\d*", digits):
        digits = digits.replace(",", "")
    elif re.fullmatch(r"[+-]?[\d.]*,\d*", digits):
        digits = digits.replace(".", "").replace(",", ".")
    try:
        return float(digits)
    except ValueError:
        return text


def _day(year: int, month: int, day: int) -> datetime.datetime | None:
    try:
        return datetime.datetime(year, month, day)
    except ValueError:
        return None


# -- OFX ------------------------------------------------------------------------------------------

_OFX_TAG = re.compile(r"<(/?)([A-Za-z0-9.]{1,64})>([^<]*+)")
#: What a transaction is, or a holding, in statements of banks, cards and brokers.
_OFX_RECORDS = ("STMTTRN", "INVBANKTRAN")
_OFX_TRADES = re.compile(
    r"(?:BUY|SELL)(?:DEBT|MF|OPT|OTHER|STOCK)|INCOME|REINVEST|TRANSFER|INVEXPENSE|JRNLSEC|JRNLFUND|SPLIT|RETOFCAP|MARGININTEREST"
)
_OFX_NAMES = {
    "TRNTYPE": "type",
    "DTPOSTED": "date",
    "DTUSER": "user_date",
    "TRNAMT": "amount",
    "FITID": "id",
    "NAME": "name",
    "MEMO": "memo",
    "CHECKNUM": "check_number",
    "REFNUM": "reference",
    "DTTRADE": "date",
    "DTSETTLE": "settled",
    "UNITS": "units",
    "UNITPRICE": "unit_price",
    "TOTAL": "amount",
    "UNIQUEID": "security",
    "SIC": "sic",
    "PAYEEID": "payee",
}
_OFX_NUMBERS = frozenset({"TRNAMT", "UNITS", "UNITPRICE", "TOTAL", "COMMISSION", "FEES", "TAXES"})


def load_ofx(source: Source, *, encoding: str | None = None) -> Any:
    """Read the transactions of an OFX, QFX or QBO file, versions 1 (SGML) and 2 (XML)."""
    text = decode(source, encoding or _ofx_encoding(source.head))
    rows: list[dict[str, Any]] = []
    account = currency = ""
    row: dict[str, Any] | None = None
    opened = ""
    for match in _OFX_TAG.finditer(text):
        closes, tag, value = match[1], match[2].upper(), _unescaped(match[3].strip())
        if closes:
            if row is not None and tag == opened:
                rows.append(row)
                row, opened = None, ""
        elif row is None and (tag in _OFX_RECORDS or _OFX_TRADES.fullmatch(tag)):
            row, opened = {"account": account, "currency": currency}, tag
            if tag not in _OFX_RECORDS:
                row["type"] = tag
        elif not value:
            continue
        elif tag == "ACCTID" and row is None:
            account = value
        elif tag == "CURDEF":
            currency = value
        elif row is not None:
            name = _OFX_NAMES.get(tag, tag.lower())
            row.setdefault(name, _ofx_value(tag, value))
    if "<OFX" not in text.upper():
        raise FileLoadError(source.name, "an OFX file without its data (it has only a header)")
    return _table(source, rows, "transactions")


def _ofx_encoding(head: bytes) -> str | None:
    match = re.search(rb"CHARSET:\s*(1252|8859-1)", head[:500])
    is_ascii = not any(byte > 127 for byte in head)
    return "cp1252" if match and not is_ascii and not _is_utf8(head) else None


def _is_utf8(head: bytes) -> bool:
    try:
        head[:-4].decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _ofx_value(tag: str, value: str) -> Any:
    if tag in _OFX_NUMBERS:
        return _number(value)
    if tag.startswith("DT") and (match := re.match(r"(\d{4})(\d\d)(\d\d)", value)):
        return _day(*map(int, match.groups())) or value
    return value


def _unescaped(text: str) -> str:
    import html

    return html.unescape(text)


# -- QIF ------------------------------------------------------------------------------------------

_QIF_NAMES = {
    "D": "date",
    "T": "amount",
    "U": "amount",
    "P": "payee",
    "M": "memo",
    "L": "category",
    "N": "number",
    "C": "cleared",
    "A": "address",
    "Y": "security",
    "I": "price",
    "Q": "quantity",
    "O": "commission",
}


def load_qif(source: Source, *, encoding: str | None = None, dayfirst: bool | None = None) -> Any:
    """Read Quicken's transactions. Dates that may be read both ways stay text.

    dayfirst= says which of a date's numbers is the day.
    """
    rows: list[dict[str, Any]] = []
    row: dict[str, Any] = {}
    kind = ""
    account: str | None = None
    for line in decode(source, encoding).splitlines():
        line = line.strip()
        if line.startswith("!"):
            kind = line.partition(":")[2].strip() or line[1:]
        elif line == "^":
            if kind == "Account" and row:
                account = row.get("number")
            elif row and kind not in ("Cat", "Class", "Memorized", "Security", "Prices", "Tag"):
                rows.append(
                    {"account": account, "type": kind, **row} if account else {"type": kind, **row}
                )
            row = {}
        elif line[:1] in ("S", "E", "$", "%"):
            # A split's part: its category and amount are kept as written.
            row["splits"] = "; ".join(filter(None, [row.get("splits"), line[1:].strip()]))
        elif line and (name := _QIF_NAMES.get(line[0])):
            value: Any = line[1:].strip()
            if name in ("amount", "price", "quantity", "commission"):
                value = _number(value)
            row[name] = f"{row[name]}\n{value}" if name == "address" and name in row else value
    if row and kind not in ("Account", "Cat", "Class"):
        rows.append({"type": kind, **row})
    _date_qif(rows, dayfirst)
    return _table(source, rows, "transactions")


def _date_qif(rows: list[dict[str, Any]], dayfirst: bool | None) -> None:
    found = [
        tuple(map(int, match.groups()))
        if (
            match := re.fullmatch(
                r"(\d{1,4})[/.\-](\d{1,2})[/.\-' ]\s*(\d{1,4})",
                str(row.get("date", "")).replace("' ", "'").replace(" ", ""),
            )
        )
        else None
        for row in rows
    ]
    known = [parts for parts in found if parts is not None]
    if not known or len(known) < sum("date" in row for row in rows):
        return
    if all(first > 31 for first, _, _ in known):
        order = (0, 1, 2)
    elif dayfirst or (dayfirst is None and any(first > 12 for first, _, _ in known)):
        order = (2, 1, 0)
    elif dayfirst is False or any(second > 12 for _, second, _ in known):
        order = (2, 0, 1)
    else:
        return
    for row, parts in zip(rows, found, strict=True):
        if parts is not None:
            year, month, day = (parts[at] for at in order)
            year += 0 if year > 99 else 2000 if year < 70 else 1900
            row["date"] = _day(year, month, day) or row["date"]


# -- MT940 ----------------------------------------------------------------------------------------

_MT940_LINE = re.compile(
    r"(\d{6})(\d{4})?(R?[DC])([A-Z])?(\d{1,15},\d{0,6})([A-Z][A-Z0-9]{3})([^\n]{0,200})", re.DOTALL
)


def load_mt940(source: Source, *, encoding: str | None = None) -> Any:
    """Read the transactions of SWIFT statements."""
    rows: list[dict[str, Any]] = []
    account = statement = currency = ""
    for tag, value in _mt940_fields(decode(source, encoding)):
        if tag in ("25", "25P"):
            account = value.split("\n")[0].strip()
        elif tag in ("28C", "28"):
            statement = value.strip()
        elif tag in ("60F", "60M") and (match := re.match(r"[DC]\d{6}([A-Z]{3})", value)):
            currency = match[1]
        elif tag == "61" and (match := _MT940_LINE.match(value)) is not None:
            day, _, mark, _, amount, kind, reference = match.groups()
            sign = -1 if mark in ("D", "RC") else 1
            number = _number(amount)
            rows.append(
                {
                    "account": account,
                    "statement": statement,
                    "date": _day(2000 + int(day[:2]), int(day[2:4]), int(day[4:])),
                    "amount": sign * number if isinstance(number, float) else number,
                    "currency": currency,
                    "type": kind,
                    "reference": reference.split("\n")[0].strip(),
                    "details": "",
                }
            )
        elif tag == "86" and rows and not rows[-1]["details"]:
            rows[-1]["details"] = re.sub(r"\s*\n\s*", "", value).strip()
    return _table(source, rows, "transactions")


def _mt940_fields(text: str) -> Iterator[tuple[str, str]]:
    tag, value = "", ""
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        match = re.match(r":(\d{2}[A-Z]?):(.*)", line)
        if match:
            if tag:
                yield tag, value
            tag, value = match[1], match[2]
        elif line.startswith(("-}", "{")) or line.strip() == "-":
            if tag:
                yield tag, value
            tag = ""
        elif tag:
            value += "\n" + line
    if tag:
        yield tag, value


# -- XML: camt, pain, GnuCash, XBRL ---------------------------------------------------------------


def _root(source: Source) -> Any:
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True)
    return etree.fromstring(source.read(), parser)


def _found(element: Any, path: str) -> Any:
    """The first element at a path of local names; ".//" before one looks deeper."""
    if element is None:
        return None
    steps = "/".join(f"{{*}}{step}" for step in path.removeprefix(".//").split("/"))
    return element.find((".//" if path.startswith(".//") else "") + steps)


def _text(element: Any, *paths: str) -> str | None:
    for path in paths:
        found = _found(element, path)
        if found is not None and found.text and found.text.strip():
            return str(found.text).strip()
    return None


def _date(text: str | None) -> Any:
    match = re.match(r"(\d{4})-(\d\d)-(\d\d)", text or "")
    return (_day(*map(int, match.groups())) or text) if match else text


def load_camt(source: Source) -> Any:
    """Read the entries of bank statements; an entry of several transactions is several rows."""
    rows: list[dict[str, Any]] = []
    for kind in ("Stmt", "Rpt", "Ntfctn"):
        for statement in _root(source).iter(f"{{*}}{kind}") if not rows else ():
            account = _text(statement, "Acct/Id/IBAN", "Acct/Id/Othr/Id")
            for entry in statement.iterchildren("{*}Ntry"):
                details = list(entry.iterfind("{*}NtryDtls/{*}TxDtls")) or [None]
                for detail in details:
                    rows.append(_camt_row(account, entry, detail, alone=len(details) == 1))
    return _table(source, rows, "entries")


def _camt_row(account: str | None, entry: Any, detail: Any, *, alone: bool) -> dict[str, Any]:
    amount = _found(entry, "Amt")
    if detail is not None and not alone:
        for path in ("Amt", "AmtDtls/TxAmt/Amt"):
            if (own := _found(detail, path)) is not None:
                amount = own
                break
    mark = (_text(detail, "CdtDbtInd") if not alone else None) or _text(entry, "CdtDbtInd")
    value = _number(amount.text) if amount is not None else None
    is_debit = mark == "DBIT"
    party = "Cdtr" if is_debit else "Dbtr"
    scope = detail if detail is not None else entry
    notes = [e.text.strip() for e in scope.iterfind(".//{*}Ustrd") if e.text]
    return {
        "account": account,
        "date": _date(_text(entry, "BookgDt/Dt", "BookgDt/DtTm")),
        "value_date": _date(_text(entry, "ValDt/Dt", "ValDt/DtTm")),
        "amount": -value if is_debit and isinstance(value, float) else value,
        "currency": amount.get("Ccy") if amount is not None else None,
        "party": _text(scope, f".//RltdPties/{party}/Nm", f".//RltdPties/{party}/Pty/Nm"),
        "party_account": _text(
            scope, f".//RltdPties/{party}Acct/Id/IBAN", f".//RltdPties/{party}Acct/Id/Othr/Id"
        ),
        "reference": _text(scope, ".//Refs/EndToEndId", ".//RmtInf/Strd/CdtrRefInf/Ref")
        or _text(entry, "AcctSvcrRef", "NtryRef"),
        "details": " ".join(notes) or _text(entry, "AddtlNtryInf"),
    }


def load_pain(source: Source) -> Any:
    """Read the payments of a payment order."""
    rows = []
    for block in _root(source).iter("{*}PmtInf"):
        is_debit = _text(block, "PmtMtd") == "DD"
        own, other = ("Cdtr", "Dbtr") if is_debit else ("Dbtr", "Cdtr")
        for payment in block.iterchildren("{*}CdtTrfTxInf", "{*}DrctDbtTxInf"):
            amount = _found(payment, ".//InstdAmt")
            rows.append(
                {
                    "date": _date(_text(block, "ReqdExctnDt/Dt", "ReqdExctnDt", "ReqdColltnDt")),
                    "amount": _number(amount.text) if amount is not None else None,
                    "currency": amount.get("Ccy") if amount is not None else None,
                    "from" if not is_debit else "to": _text(block, f"{own}/Nm"),
                    "account": _text(block, f"{own}Acct/Id/IBAN", f"{own}Acct/Id/Othr/Id"),
                    "party": _text(payment, f"{other}/Nm"),
                    "party_account": _text(
                        payment, f"{other}Acct/Id/IBAN", f"{other}Acct/Id/Othr/Id"
                    ),
                    "reference": _text(payment, "PmtId/EndToEndId"),
                    "details": _text(payment, ".//Ustrd"),
                }
            )
    return _table(source, rows, "payments")


def load_gnucash(source: Source) -> Any:
    """Read the splits of a GnuCash book, one row each, with its account's full name."""
    root = _root(source)
    names = dict(_gnucash_accounts(root))
    rows = []
    for transaction in root.iter("{*}transaction"):
        if any(
            _is_local(parent, "template-transactions") for parent in transaction.iterancestors()
        ):
            continue
        for split in transaction.iter("{*}split"):
            account = _text(split, "account") or ""
            rows.append(
                {
                    "date": _date(_text(transaction, "date-posted/date")),
                    "number": _text(transaction, "num"),
                    "description": _text(transaction, "description"),
                    "account": names.get(account, account),
                    "memo": _text(split, "memo"),
                    "amount": _fraction(_text(split, "value")),
                    "currency": _text(transaction, "currency/id"),
                    "reconciled": _text(split, "reconciled-state"),
                }
            )
    return _table(source, rows, "transactions")


def _is_local(element: Any, name: str) -> bool:
    return isinstance(element.tag, str) and element.tag.rpartition("}")[2] == name


def _gnucash_accounts(root: Any) -> Iterable[tuple[str, str]]:
    said = {}
    for account in root.iter("{*}account"):
        identity = _text(account, "id")
        if identity:
            said[identity] = (
                _text(account, "name") or "",
                _text(account, "parent"),
                _text(account, "type"),
            )
    for identity in said:
        parts: list[str] = []
        at: str | None = identity
        while at in said and len(parts) < 50:
            name, parent, kind = said[at]
            if kind != "ROOT":
                parts.insert(0, name)
            at = parent
        yield identity, ":".join(parts)


def _fraction(text: str | None) -> Any:
    top, _, bottom = (text or "").partition("/")
    try:
        return int(top) / int(bottom or 1)
    except (ValueError, ZeroDivisionError, OverflowError):
        return text


def load_xbrl(source: Source) -> Any:
    """Read the facts of an XBRL report, one row each, with its period and dimensions."""
    root = _root(source)
    contexts = {
        context.get("id"): {
            "entity": _text(context, "entity/identifier"),
            "start": _date(_text(context, "period/startDate")),
            "end": _date(_text(context, "period/endDate", "period/instant")),
            "dimensions": "; ".join(
                f"{member.get('dimension')}={(member.text or '').strip()}"
                for member in context.iter("{*}explicitMember")
            ),
        }
        for context in root.iterchildren("{*}context")
    }
    units = {unit.get("id"): _text(unit, "measure") for unit in root.iterchildren("{*}unit")}
    rows: list[dict[str, Any]] = []
    for fact in root.iterchildren():
        context = contexts.get(fact.get("contextRef")) if isinstance(fact.tag, str) else None
        if context is None:
            continue
        text = "".join(fact.itertext()).strip()
        unit = fact.get("unitRef")
        value = _number(text) if unit is not None else text
        rows.append(
            {
                "name": fact.tag.rpartition("}")[2],
                "value": value,
                "unit": units.get(unit, unit),
                **context,
            }
        )
    return _table(source, rows, "facts")


# -- BAI2 and NACHA -------------------------------------------------------------------------------


def load_bai2(source: Source) -> Any:
    """Read the transactions of BAI2 files. Amounts are in the currency's units, not in cents."""
    lines: list[str] = []
    for line in decode(source).splitlines():
        if line.startswith("88,") and lines:
            lines[-1] = lines[-1].rstrip("/") + "," + line[3:]
        elif line.strip():
            lines.append(line.strip())
    rows = []
    day: Any = None
    account = currency = ""
    for line in lines:
        fields = line.rstrip("/").split(",")
        if fields[0] == "02" and len(fields) > 4 and re.fullmatch(r"\d{6}", fields[4]):
            day = _day(2000 + int(fields[4][:2]), int(fields[4][2:4]), int(fields[4][4:]))
            currency = fields[6] if len(fields) > 6 else ""
        elif fields[0] == "03" and len(fields) > 1:
            account, currency = fields[1], (fields[2] if len(fields) > 2 else "") or currency
        elif fields[0] == "16" and len(fields) > 2:
            code, cents = fields[1], fields[2]
            is_debit = code.isdecimal() and 400 <= int(code) < 700
            amount = int(cents) / 100 if re.fullmatch(r"[+-]?\d{1,15}", cents) else None
            rows.append(
                {
                    "account": account,
                    "date": day,
                    "type": code,
                    "amount": -amount if is_debit and amount is not None else amount,
                    "currency": currency,
                    "details": ",".join(fields[3:]),
                }
            )
    return _table(source, rows, "transactions")


def load_nacha(source: Source) -> Any:
    """Read the entries of an ACH file."""
    rows = []
    batch: dict[str, Any] = {}
    for line in decode(source).splitlines():
        if line.startswith("5"):
            days = line[69:75]
            batch = {
                "company": line[4:20].strip(),
                "class": line[50:53],
                "date": _day(2000 + int(days[:2]), int(days[2:4]), int(days[4:]))
                if re.fullmatch(r"\d{6}", days)
                else None,
            }
        elif line.startswith("6") and len(line) >= 79 and line[29:39].isdecimal():
            code = line[1:3]
            sign = -1 if code[1:] in ("7", "8", "9") else 1
            rows.append(
                {
                    **batch,
                    "type": code,
                    "routing_number": line[3:12],
                    "account": line[12:29].strip(),
                    "amount": sign * int(line[29:39]) / 100,
                    "id": line[39:54].strip(),
                    "name": line[54:76].strip(),
                    "trace": line[79:94].strip(),
                }
            )
    return _table(source, rows, "entries")
