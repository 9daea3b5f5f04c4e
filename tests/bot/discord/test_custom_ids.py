"""Custom ids: what can be one, and what is made of anything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.discord.custom_ids import COMPONENT, FORM, CustomId

ASKER = "1067162944699961234"


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (CustomId("stop", ASKER, "a1b2c3"), f"cm:stop:{ASKER}:a1b2c3"),
        (CustomId("restart", ASKER), f"cm:restart:{ASKER}:"),
        (CustomId("answer", ASKER, "x", is_form=True), f"cmm:answer:{ASKER}:x"),
        (CustomId("adm", "1", "cpu.3_b-2"), "cm:adm:1:cpu.3_b-2"),
    ],
)
def test_id_is_read_as_it_was_made(made: CustomId, text: str) -> None:
    assert str(made) == text
    assert CustomId.parse(text) == made


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cm",
        "cm:stop",
        f"cm:stop:{ASKER}",
        f"cm::{ASKER}:x",
        f"cm:Stop:{ASKER}:x",
        f"cm:stop:{ASKER}:x:y",
        f"cm:stop:{ASKER}:x\n",
        f"cm:stop:{ASKER}:../x",
        f"cm:stop:{ASKER}:ü",
        "cm:stop:-1:x",
        "cm:stop:１２:x",  # digits, but not ours  # noqa: RUF001
        f"cmx:stop:{ASKER}:x",
        f" cm:stop:{ASKER}:x",
        f"cm:stop:{'1' * 21}:x",
        f"cm:{'a' * 17}:1:x",
    ],
)
def test_what_is_no_id_of_ours_is_none(text: str) -> None:
    assert CustomId.parse(text) is None


@pytest.mark.parametrize(("chars", "fits"), [(55, True), (56, True), (57, False)])
def test_reference_has_a_longest_length(chars: int, fits: bool) -> None:
    made = CustomId("stop", ASKER, "r" * chars)
    if fits:
        assert CustomId.parse(str(made)) == made
    else:
        with pytest.raises(ValueError, match="no custom id"):
            str(made)
    assert (CustomId.parse(f"cm:stop:{ASKER}:{'r' * chars}") is not None) is fits


def test_longest_id_of_all_fits_into_discords_limit() -> None:
    longest = CustomId("a" * 16, "9" * 20, "r" * 56, is_form=True)
    assert len(str(longest)) <= 100


def test_forms_and_components_are_told_apart_by_their_beginning() -> None:
    component, form = str(CustomId("run", "1")), str(CustomId("run", "1", is_form=True))
    assert COMPONENT.fullmatch(component) and not COMPONENT.fullmatch(form)
    assert FORM.fullmatch(form) and not FORM.fullmatch(component)


@given(st.text(max_size=130))
def test_whatever_comes_is_read_exactly_or_not_at_all(text: str) -> None:
    found = CustomId.parse(text)
    assert found is None or str(found) == text
