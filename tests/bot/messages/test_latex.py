"""Formulas as plain text, or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.messages.latex import unicode_math


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (r"\alpha^2 + \beta_1 \cdot x", "α² + β₁ · x"),
        (r"\frac{a+b}{c}", "(a+b)/c"),
        (r"\frac{1}{n}\sum_{i=1}^n x_i", "(1/n)∑ᵢ₌₁ⁿ xᵢ"),
        (r"\sqrt{2}", "√2"),
        (r"\sqrt[3]{x+1}", "∛(x+1)"),
        (r"\hat{y}", "ŷ"),
        (r"x \in \mathbb{R}^n", "x ∈ ℝⁿ"),
        (r"R^2 \approx 0.95", "R² ≈ 0.95"),
        (r"\text{RMSE} \neq 90\%", "RMSE ≠ 90%"),
        (r"\left( a \right)", "( a )"),
        (r"\int_0^\infty e^{-x^2}\,dx", "∫₀^∞ e^(-x²) dx"),
        (r"\begin{pmatrix}1 & 2 \\ 3 & 4\end{pmatrix}", "(1 2; 3 4)"),
        (r"\begin{aligned} a &= b \\ c &= d\end{aligned}", "a = b\nc = d"),
        (r"90^\circ", "90°"),
        (r"\sin x", "sin x"),
        (r"A^\top", "Aᵀ"),
        (r"f'(x)", "f′(x)"),  # noqa: RUF001
    ],
)
def test_what_can_be_read_is_written_plainly(source: str, text: str) -> None:
    assert unicode_math(source) == text


@pytest.mark.parametrize(
    "source",
    ["", " ", r"\unknown{x}", r"\frac{a", "{", "}", "a}", r"\begin{tikzpicture}\end{tikzpicture}",
     r"\begin{matrix}", "x^", "x_}", r"\sqrt[n]{x}", "{" * 500, r"\frac{" * 300, "a & b", "\\",
     "x" * 1001, r"\def\x{y}", r"\mathbb{\alpha}"],
)  # fmt: skip
def test_what_can_t_is_left_to_its_source(source: str) -> None:
    assert unicode_math(source) is None


def test_a_formula_as_long_as_may_be_is_read() -> None:
    assert unicode_math("x" * 1000) == "x" * 1000


@given(st.text(st.sampled_from(r"\{}^_&[]$ab1 ()frac"), max_size=60))
def test_no_formula_trips_it(source: str) -> None:
    text = unicode_math(source)
    assert text is None or text.strip()
