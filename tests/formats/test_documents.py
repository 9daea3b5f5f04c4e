"""Documents, e-mail, fonts, captures and certificates: the samples, options, hostile files."""

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernel_startup.errors import FileLoadError
from kernel_startup.fileinfo import FileInfo
from kernel_startup.recognition import type_of_content
from kernel_startup.types import TYPES
from tests.formats.made import documents as made
from tests.formats.uploads import Loading, Sample, samples

#: What is called otherwise than by its extension.
NAMES = {
    "key": "keynote",
    "pages": "pages-09",
    "hwp": "hwp3",
    "mht": "mhtml",
    "vcf": "vcard",
    "warc.gz": "warc",
    "arc": "web-arc",
    "axx": "axcrypt",
}


@pytest.mark.parametrize("sample", samples("document", "email", "font", "network", "misc"))
def test_sample(sample: Sample, load: Loading, on_demand: Callable[..., None]) -> None:
    expected = NAMES.get(sample.extension, sample.extension)
    file_type = type_of_content(sample.path)
    assert file_type.name == expected
    assert type_of_content(sample.path, "upload").name == expected
    if file_type.requires:
        on_demand(*file_type.requires)
    loaded = load(sample.path)
    for kind, value in sample.fact.items():
        check_fact(loaded, kind, value, sample)


def check_fact(loaded: Any, kind: str, value: Any, sample: Sample) -> None:
    if kind == "bytes":
        assert sample.path.stat().st_size == value
        assert not isinstance(loaded, (str, bytes))
    elif kind == "text_contains":
        assert_has_words(loaded.text, value)
    elif kind == "pages":
        assert (loaded.facts["pages"] if isinstance(loaded, FileInfo) else len(loaded)) == value
    elif kind == "slides":
        assert len(loaded.slides) == value
    elif kind in ("packets", "records", "events", "cards", "messages"):
        assert len(loaded) == value
    elif kind == "mimetype":
        assert loaded.mime_type == value
    elif kind == "family":
        assert loaded["name"].getDebugName(1) == value
    elif kind == "ctype":
        assert loaded.get_content_type() == value
    elif kind == "parts":
        assert len([part for part in loaded.walk() if not part.is_multipart()]) == value
    else:
        assert kind in ("note", "nwords")  # a graph of Graphviz's, which another group tests


def assert_has_words(text: str, words: str) -> None:
    """The words are there, in their order."""
    pattern = r"\b.*?\b".join(map(re.escape, words.split()))
    assert re.search(pattern, text, re.DOTALL), text[:500]


# -- options -------------------------------------------------------------------------------------


def test_pdf_page_is_drawn_at_the_resolution_asked_for(load: Loading) -> None:
    page = load(made.pdf(), "a.pdf").pages[0]
    assert page.render(dpi=72).size == (612, 792)
    assert page.size == (612, 792)


def test_enormous_pdf_page_is_drawn_small(load: Loading) -> None:
    content = made.pdf().replace(b"[0 0 612 792]", b"[0 0 14400 14400]")
    picture = load(content, "a.pdf").render(dpi=6000)
    assert picture.width * picture.height <= 51_000_000


def test_pdf_has_no_page_zero(load: Loading) -> None:
    with pytest.raises(IndexError, match="has 1 pages, from 1"):
        load(made.pdf(), "a.pdf").render(page=0)


def test_pdf_after_a_byte_order_mark(load: Loading) -> None:
    assert len(load(b"\xef\xbb\xbf" + made.pdf(), "upload")) == 1


def test_packets_are_limited_and_have_payload_if_asked_for(load: Loading) -> None:
    table = load(made.pcap(), "a.pcap", nrows=2, payload=True)
    assert table["payload"].tolist() == [made.PACKET] * 2


def test_web_archive_without_payload(load: Loading) -> None:
    assert "payload" not in load(made.warc(), "a.warc", payload=False, nrows=1)


def test_font_of_a_collection(load: Loading) -> None:
    made.is_font(load(made.collection(), "a.ttc", number=1))


def test_text_of_a_document_is_found_by_in(load: Loading) -> None:
    document = load(made.odf("text", "text"), "a.odt")
    assert made.WORDS in document
    assert str(document) == document.text
    assert repr(document) == "<OpenDocument text 'a.odt': 6 words, 1 tables; .text has them>"


# -- certificates --------------------------------------------------------------------------------


@pytest.fixture
def identity(on_demand: Callable[..., None]) -> Any:
    """A key and its certificate."""
    on_demand("cryptography")
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "example.org")])
    start = datetime.datetime(2024, 1, 1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=9))
        .sign(key, hashes.SHA256())
    )
    return key, certificate


def test_certificates_as_text_and_as_bytes(load: Loading, identity: Any, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding

    _, certificate = identity
    pem, der = certificate.public_bytes(Encoding.PEM), certificate.public_bytes(Encoding.DER)
    assert load(pem, "a.pem") == certificate
    assert load(b"subject=example\n" + pem * 2, "chain.crt") == [certificate] * 2
    assert load(der, "upload") == certificate
    path = tmp_path / "upload"
    for content, name in ((pem, "pem"), (der, "der")):
        path.write_bytes(content)
        assert type_of_content(path).name == name


def test_protected_keys_ask_for_their_password(load: Loading, identity: Any) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.serialization import pkcs12

    key, certificate = identity
    secret = serialization.BestAvailableEncryption(b"open")
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret)
    with pytest.raises(FileLoadError, match=r'password="\.\.\."'):
        load(pem, "a.key")
    with pytest.raises(FileLoadError, match="password isn't right"):
        load(pem, "b.key", password="shut")
    assert load(pem, "c.key", password="open").private_numbers() == key.private_numbers()
    p12 = pkcs12.serialize_key_and_certificates(b"me", key, certificate, None, secret)
    assert load(p12, "a.p12").facts == {"encrypted": True}
    assert load(p12, "upload", password="open").cert.certificate == certificate
    with pytest.raises(FileLoadError, match="may not be the right one"):
        load(p12, "b.p12", password="shut")


def test_pkcs7(load: Loading, identity: Any) -> None:
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.serialization import pkcs7

    key, certificate = identity
    bundle = pkcs7.serialize_certificates([certificate], serialization.Encoding.DER)
    assert load(bundle, "upload") == [certificate]
    signed = (
        pkcs7.PKCS7SignatureBuilder()
        .set_data(b"Quarterly report")
        .add_signer(certificate, key, hashes.SHA256())
        .sign(serialization.Encoding.DER, [pkcs7.PKCS7Options.Binary])
    )
    assert load(signed, "a.p7m").facts["content"] == b"Quarterly report"


# -- what can't be read --------------------------------------------------------------------------


def test_zip_bomb_in_a_document_is_not_unpacked(load: Loading) -> None:
    content = made.odf("text", "text")
    size = struct.pack("<I", 600 << 20)
    place = content.rindex(b"PK\1\2")  # of content.xml
    content = content[: place + 24] + size + content[place + 28 :]
    with pytest.raises(FileLoadError, match="unpack to 600 MiB"):
        load(content, "a.odt")


def test_entities_are_not_expanded(load: Loading) -> None:
    content = made.FB2.decode().replace(
        "?>", '?><!DOCTYPE x [<!ENTITY a "xxxx"><!ENTITY f SYSTEM "file:///etc/passwd">]>', 1
    )
    book = load(content.replace("One.", "&a;&f;One."), "a.fb2")
    assert "root" not in book.text
    assert "One." in book.text


def test_document_nested_without_end_is_read(load: Loading) -> None:
    depth = 100_000
    page = "<div>" * depth + made.WORDS + "</div>" * depth
    message = (
        f"From: a@b.c\nTo: a@b.c\nSubject: x\nMIME-Version: 1.0\nContent-Type: text/html\n\n{page}"
    )
    assert isinstance(load(message, "a.eml").text, str)


def test_parts_nested_without_end(load: Loading) -> None:
    parts = "".join(
        f'Content-Type: multipart/mixed; boundary="b{n}"\n\n--b{n}\n' for n in range(3000)
    )
    with pytest.raises(FileLoadError, match="nested too deeply"):
        load(f"From: a@b.c\nTo: b@b.c\nSubject: x\nMIME-Version: 1.0\n{parts}", "a.eml")


def test_sectors_that_run_in_circles(load: Loading) -> None:
    content = bytearray(made.doc())
    (fat,) = struct.unpack_from("<I", content, 76)
    for number in range(20):
        struct.pack_into("<I", content, (fat + 1) * 512 + 4 * number, number)
    assert isinstance(load(bytes(content), "a.doc").text, str)


@pytest.mark.parametrize("flag", ["doc", "pdf"])
def test_password_is_named(load: Loading, flag: str) -> None:
    if flag == "doc":
        content = made.doc().replace(b"\xec\xa5\xc1\0" + bytes(6) + b"\0\2",
                                     b"\xec\xa5\xc1\0" + bytes(6) + b"\0\3")  # fmt: skip
    else:
        content = made.pdf().replace(
            b"/Root 1 0 R",
            b"/Root 1 0 R /ID [<00><00>] /Encrypt << /Filter /Standard /V 1 /R 2 /P -4 "
            b"/O <" + b"00" * 32 + b"> /U <" + b"11" * 32 + b"> >>",
        )
    with pytest.raises(FileLoadError, match="password"):
        load(content, f"a.{flag}")


@pytest.mark.parametrize("name", ["a.docx", "a.pptx"])
def test_encrypted_office_file_is_named(load: Loading, name: str) -> None:
    content = made.ole({"EncryptionInfo": b"x", "EncryptedPackage": b"y"})
    with pytest.raises(FileLoadError, match="protected by a password"):
        load(content, name)


def test_capture_that_is_cut_off_keeps_what_it_has(load: Loading) -> None:
    table = load(made.pcap()[:-5], "a.pcap")
    assert len(table) == 2
    assert "cut off or damaged after 2 packets" in load.notes[0]


def test_packet_that_claims_gigabytes(load: Loading) -> None:
    content = bytearray(made.pcap())
    struct.pack_into("<I", content, 24 + 8, 0xFFFFFFF0)
    with pytest.raises(FileLoadError, match="claims to have"):
        load(bytes(content), "a.pcap")


@pytest.mark.parametrize(
    "name",
    ["a.pdf", "a.docx", "a.pptx", "a.odt", "a.doc", "a.epub", "a.ttf", "a.pcap", "a.msg", "a.warc"],
)
def test_empty_file_is_refused(load: Loading, name: str) -> None:
    with pytest.raises(FileLoadError):
        load(b"", name)


def test_program_in_disguise_is_named(load: Loading) -> None:
    assert load(made.exe(), "invoice.pdf").type == "exe"


def test_every_loader_of_the_group_exists() -> None:
    from kernel_startup.loaders import find_loader

    families = {"documents", "e-mail and calendar", "fonts", "network captures", "certificates"}
    for file_type in TYPES.values():
        if file_type.family in families | {"system"}:
            assert callable(find_loader(file_type.loader)), file_type.name


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [("a.vssm", "stencil", "vssx"), ("a.vstm", "template", "vstx"), ("a.vsdm", "drawing", "vsdm")],
)
def test_visio_with_macros(name: str, kind: str, expected: str, tmp_path: Path) -> None:
    import zipfile

    content_type = f"application/vnd.ms-visio.{kind}.macroEnabled.main+xml"
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr(
            "[Content_Types].xml", f"<Types><Override ContentType='{content_type}'/></Types>"
        )
        archive.writestr("visio/document.xml", "<VisioDocument/>")
    assert type_of_content(tmp_path / name).name == expected


@pytest.mark.parametrize(
    ("name", "members", "expected"),
    [
        ("a.pages", ("Index/Document.iwa", "Index/Tables/DataList.iwa"), "pages-13"),
        ("a.numbers", ("Index/Document.iwa", "Index/Tables/DataList.iwa"), "numbers"),
        ("a.key", ("Presentation.key/Index.zip",), "keynote-package"),
    ],
)
def test_iwork_by_its_members(
    name: str, members: tuple[str, ...], expected: str, tmp_path: Path
) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        for member in members:
            archive.writestr(member, b"")
    assert type_of_content(tmp_path / name).name == expected


def test_mail_that_was_taken_out_of_a_mailbox(load: Loading) -> None:
    text = "From a@b.org Wed Jul 20 17:35:09 2016\nReceived: from c\nFrom: a@b.org\n"
    text += "To: d@e.org\nSubject: One\nDate: Wed, 20 Jul 2016 17:35:09 +0000\n\nHello\n"
    assert load(text, "one.eml")["subject"] == "One"
    assert len(load(text, "one.mbox")) == 1


@pytest.mark.parametrize(
    ("identifier", "kind"),
    [
        ("2a864886f70d010705", "digestedData"),
        ("2a864886f70d010910010" + "9", "compressedData"),
        ("2a864886f70d010910011f", "timestampedData"),
    ],
)
def test_short_cms(
    load: Loading, on_demand: Callable[..., None], identifier: str, kind: str
) -> None:
    on_demand(*TYPES["p7m"].requires)
    oid = bytes.fromhex(identifier)
    inner = bytes([6, len(oid)]) + oid + b"\xa0\x02\x30\x00"
    place = load.files[load.add(bytes([0x30, len(inner)]) + inner, "upload")]
    assert type_of_content(place).name == "p7m"
    assert load.by_id("f1").facts["kind"] == kind
