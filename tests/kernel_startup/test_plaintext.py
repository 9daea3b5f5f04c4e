# ruff: noqa: RUF001  (texts in many scripts are what is tested)
import pytest

from kernel_startup.plaintext import looks_like_markup, sniff_encoding, sniff_json

_JAPANESE = "名前,年齢\n山田太郎,30\nスズキ花子,25\nデータ分析の結果\n"
_RUSSIAN = "имя;возраст\nИван;30\nПётр;25\nсводка продаж за год\n"
_CHINESE = "姓名,年龄\n张三,30\n李四,25\n销售数据分析结果\n"
_KOREAN = "이름,나이\n홍길동,30\n판매 데이터 분석 결과\n"
_FRENCH = "prénom;âge\nZoë;30\nFrançois;25\nété à la mer\n"


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [
        ("a,b\n1,2\n", "ascii", "utf-8"),
        (_FRENCH, "utf-8", "utf-8"),
        (_FRENCH, "utf-8-sig", "utf-8-sig"),
        (_FRENCH, "utf-16", "utf-16"),
        (_FRENCH, "utf-16-le", "utf-16-le"),
        (_FRENCH, "utf-16-be", "utf-16-be"),
        (_FRENCH, "utf-32", "utf-32"),
        (_FRENCH, "cp1252", "cp1252"),
        ("MÜNCHEN;KÖLN;ÄÖÜ\n", "cp1252", "cp1252"),
        ("prix;5 €\n", "cp1252", "cp1252"),
        (_JAPANESE, "utf-8", "utf-8"),
        (_JAPANESE, "cp932", "cp932"),
        (_JAPANESE, "euc_jp", "euc_jp"),
        (_RUSSIAN, "cp1251", "cp1251"),
        (_CHINESE, "gb18030", "gb18030"),
        (_KOREAN, "euc_kr", "euc_kr"),
    ],
)
def test_encoding_is_found(text: str, encoding: str, expected: str) -> None:
    content = text.encode(encoding)
    assert sniff_encoding(content) == expected
    assert content.decode(expected).lstrip("\ufeff") == text


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_encoding_is_found_when_the_head_ends_within_a_character(cut: int) -> None:
    assert sniff_encoding(("売上" * 50).encode()[:-cut]) == "utf-8"
    assert sniff_encoding("データの表".encode("cp932")[:-1]) == "cp932"


@pytest.mark.parametrize(
    "content",
    [b"\x7fELF\x02\x01\x01\0\0\0", bytes(range(256)) * 4, b"\0" * 100, b"\x01\x02\x03\x04" * 10],
)
def test_binary_content_has_no_encoding(content: bytes) -> None:
    assert sniff_encoding(content) is None


def test_a_stray_control_character_leaves_a_text_a_text() -> None:
    assert sniff_encoding(b"x" * 1_000 + b"\x01") == "utf-8"
    assert sniff_encoding(b"\x1b[31mred\x1b[0m and a\x08 backspace") == "utf-8"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}', "json"),
        ("\ufeff [1, 2]\n", "json"),
        ("[]", "json"),
        ("{}", "json"),
        ('[{"a": 1},\n {"a": 2}]', "json"),
        ('{"a": 1}\n{"a": 2}', "jsonl"),
        ('{"a": 1}\r\n\r\n[2]\r\n', "jsonl"),
        ('{"a": [1, 2', "json"),  # the head of a longer one
        ('[{"a": "x', "json"),
        ("[section]\nkey = 1\n", None),
        ("[1] 5.5 6.5\n", None),  # what R prints
        ("{% block title %}", None),
        ("{ return 1; }", None),
        ("{a: 1}", None),
        ("5", None),
        ("text", None),
        ("", None),
    ],
)
def test_json_is_told_from_what_looks_like_it(text: str, expected: str | None) -> None:
    assert sniff_json(text) == expected


def test_markup_is_recognised() -> None:
    assert looks_like_markup("\n<!doctype html>\n<html>")
    assert looks_like_markup("<?xml version='1.0'?>")
    assert not looks_like_markup("a,b\n<1,2\n")


def test_half_a_character_at_the_end_is_no_utf_16() -> None:
    content = "grüße".encode("utf-16-le")
    assert sniff_encoding(content, whole=True) == "utf-16-le"
    assert sniff_encoding(content + b"x", whole=True) is None
    assert sniff_encoding(content + b"x") == "utf-16-le"  # the head of a longer one
