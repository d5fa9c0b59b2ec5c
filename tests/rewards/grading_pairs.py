r"""60 pairs of gold answer and completion with the verdict each deserves, and why.

`deserved`: equal, different or no answer. Units: `deserved` follows the usual convention of mathematical benchmarks,
that a missing unit is forgiven and a contradicting one is not.
"""

from typing import NamedTuple


class Pair(NamedTuple):
    kind: str
    gold: str
    completion: str
    deserved: str


def box(answer: str) -> str:
    return rf"So the answer is $\boxed{{{answer}}}$."


EQUAL, DIFFERENT, NO_ANSWER = "equal", "different", "no answer"
PAIRS = [
    Pair("fractions", r"\frac{1}{2}", box("1/2"), EQUAL),
    Pair("fractions", r"\frac{1}{2}", box("0.5"), EQUAL),
    Pair("fractions", r"\frac{1}{2}", box(r"\frac12"), EQUAL),
    Pair("fractions", r"\frac{1}{2}", box(r"\dfrac{2}{4}"), EQUAL),
    Pair("fractions", r"\frac{1}{3}", box("0.33"), DIFFERENT),
    Pair("fractions", r"1\frac{1}{2}", box(r"\frac{3}{2}"), EQUAL),
    Pair("fractions", r"-\frac{3}{4}", box(r"\frac{-3}{4}"), EQUAL),
    Pair("percent", r"\frac{1}{2}", box(r"50\%"), EQUAL),
    Pair("percent", r"50\%", box("50"), EQUAL),
    Pair("percent", r"50\%", box("0.5"), EQUAL),
    Pair("percent", r"12.5\%", box(r"12\%"), DIFFERENT),
    Pair("percent", "5", box(r"500\%"), EQUAL),
    Pair("numbers", "1000", box("1,000"), EQUAL),
    Pair("numbers", "1000", box(r"1{,}000"), EQUAL),
    Pair("numbers", "1000", box(r"10^{3}"), EQUAL),
    Pair("numbers", "42", box("42.0"), EQUAL),
    Pair("numbers", "042", box("42"), EQUAL),
    Pair("numbers", "3.14159", box(r"\pi"), DIFFERENT),
    Pair("numbers", r"6.02\times 10^{23}", box(r"6.02 \cdot 10^{23}"), EQUAL),
    Pair("numbers", "-7", box("7"), DIFFERENT),
    Pair("radicals", r"\frac{\sqrt{2}}{2}", box(r"\frac{1}{\sqrt{2}}"), EQUAL),
    Pair("radicals", r"\sqrt{12}", box(r"2\sqrt3"), EQUAL),
    Pair("radicals", r"\sqrt[3]{8}", box("2"), EQUAL),
    Pair("radicals", r"2+\sqrt{3}", box(r"2-\sqrt{3}"), DIFFERENT),
    Pair("sets", r"\{1, 2, 3\}", box(r"\{3, 1, 2\}"), EQUAL),
    Pair("sets", r"\{1, 2\}", box("1, 2"), EQUAL),
    Pair("sets", r"\{1, 2\}", box(r"\{1, 3\}"), DIFFERENT),
    Pair("sets", r"\emptyset", box(r"\varnothing"), EQUAL),
    Pair("sets", "2, -3", box(r"x = 2 \text{ or } x = -3"), EQUAL),
    Pair("intervals", "(1, 2]", box("(1,2]"), EQUAL),
    Pair("intervals", "(1, 2]", box("[1, 2]"), DIFFERENT),
    Pair("intervals", r"(-\infty, 3)", box("x < 3"), EQUAL),
    Pair("intervals", r"(-\infty,0)\cup(1,\infty)", box(r"(1,\infty)\cup(-\infty,0)"), EQUAL),
    Pair("intervals", r"0 \le x \le 1", box("[0, 1]"), EQUAL),
    Pair("points", "(1, 2)", box(r"\left(1, 2\right)"), EQUAL),
    Pair("points", "(1, 2)", box("(2, 1)"), DIFFERENT),
    Pair("points", "(3, 4, 5)", box("(3,4,5)"), EQUAL),
    Pair("points", "(3, 4, 5)", box("(5,4,3)"), DIFFERENT),
    Pair("units", r"5\text{ cm}", box("5"), EQUAL),
    Pair("units", "5", box(r"5\text{ cm}^2"), EQUAL),
    Pair("units", r"30^\circ", box("30"), EQUAL),
    Pair("units", r"5\text{ cm}", box(r"5\text{ m}"), DIFFERENT),
    Pair("units", r"\$12.50", box("12.5"), EQUAL),
    Pair("matrices", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", box(r"\begin{bmatrix}1&2\\3&4\end{bmatrix}"), EQUAL),
    Pair("matrices", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", box(r"\begin{pmatrix}1&3\\2&4\end{pmatrix}"), DIFFERENT),
    Pair("matrices", r"\begin{pmatrix}\frac12\\1\end{pmatrix}", box(r"\begin{pmatrix}0.5\\1\end{pmatrix}"), EQUAL),
    Pair("algebra", "x^2+2x+1", box("(x+1)^2"), EQUAL),
    Pair("algebra", "3", box("x = 3"), EQUAL),
    Pair("algebra", "y = 2x + 3", box("2x + 3"), EQUAL),
    Pair("algebra", "2x+3y=6", box("4x+6y=12"), EQUAL),
    Pair("algebra", r"\frac{x}{y}", box(r"\frac{y}{x}"), DIFFERENT),
    Pair("text", r"\text{Sunday}", box("Sunday"), EQUAL),
    Pair("text", r"\text{(B)}", box("B"), EQUAL),
    Pair("text", "B", box(r"\textbf{(C)}"), DIFFERENT),
    Pair("around the box", "7", "I first got \\boxed{6}, but that is wrong. It is \\boxed{7}.", EQUAL),
    Pair("around the box", "1, 2", r"The roots are $\boxed{1}$ and $\boxed{2}$.", EQUAL),
    Pair("around the box", "7", r"\boxed{7} is what I would have said, but it is \boxed{8}.", DIFFERENT),
    Pair("around the box", "7", "The answer is 7.", EQUAL),
    Pair("around the box", "7", "Let me think about seven.", NO_ANSWER),
    Pair("around the box", "7", r"Hence \boxed{7", NO_ANSWER),
]
assert len(PAIRS) == 60
