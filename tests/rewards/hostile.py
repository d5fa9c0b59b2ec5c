"""Forty completions that a grader must survive."""

DIGITS = "7" * 3_000_000


def box(answer: str) -> str:
    return rf"\boxed{{{answer}}}"


HOSTILE = {
    "tower of powers": box("9^{9^{9^{9}}}"),
    "taller tower": box("2^{2^{2^{2^{2^{2^{2}}}}}}"),
    "tower in a fraction": box(r"\frac{1}{9^{9^{9^{9}}}}"),
    "tower under a root": box(r"\sqrt{7^{7^{7^{7}}}}"),
    "tower minus itself": box("9^{9^{9^{9}}} - 9^{9^{9^{9}}}"),
    "tower modulo": box(r"9^{9^{9^{9}}} \mod 7"),
    "factorial": box("(10^{9})!"),
    "iterated factorial": box("((((9!)!)!)!)"),
    "factorial ratio": box(r"\frac{(10^8)!}{(10^8-1)!}"),
    "binomial": box(r"\binom{10^{12}}{10^{11}}"),
    "huge sum": box(r"\sum_{i=1}^{10^{15}} \frac{1}{i^{1.5}}"),
    "huge product": box(r"\prod_{i=1}^{10^{12}} (i^2+1)"),
    "nasty integral": box(r"\int_0^{1} \sin(x^{x^{x}}) e^{\cos(x^5)} \, dx"),
    "nasty limit": box(r"\lim_{x \to \infty} \left(1+\frac{\sin x}{x}\right)^{x^{x^{x}}}"),
    "expansion": box("(a+b+c+d+e+f+g)^{300}"),
    "long polynomial": box("+".join(f"x_{{{i}}}^{{{i}}}" for i in range(130))),
    "continued fraction": box(r"\frac{1}{1+" * 110 + "1" + "}" * 110),
    "large matrix": box(r"\begin{pmatrix}" + r"\\".join("&".join("1" * 22) for _ in range(22)) + r"\end{pmatrix}"),
    "matrix power": box(r"\begin{pmatrix}1&2\\3&4\end{pmatrix}^{10^{9}}"),
    "decimal exponent": box("1e999999999"),
    "megabytes of digits": box(DIGITS),
    "megabytes after an anchor": "the answer is " + DIGITS,
    "megabytes without a box": DIGITS,
    "many boxes": r"\boxed{" * 300_000,
    "many closed boxes": r"\boxed{1}, " * 200_000,
    "unbalanced open": r"\boxed{" + "{" * 1_500,
    "unbalanced close": r"\boxed{1" + "}" * 500_000,
    "deep braces": box("{" * 900 + "1" + "}" * 900),
    "deep parentheses": box("(" * 900 + "1" + ")" * 900),
    "deep roots": box(r"\sqrt{" * 250 + "2" + "}" * 250),
    "many anchors": "answer is answer: " * 200_000,
    "dollar signs": "$" * 1_000_000,
    "NUL bytes": box("\x00" * 100) + "\x00",
    "lone surrogates": "\ud800" + box("\udfff3\ud83d"),
    "right-to-left and combining": box("\u202e" + "\u0301" * 500 + "7"),
    "other digits": box("\u0667\u096d\uff17"),
    "Python code": box("__import__('os').system('touch /tmp/trl_entropy_was_here')"),
    "Python loop": box("[x for x in iter(int, 1)]"),
    "template injection": "{{7*7}} ${7*7} <%= 7*7 %> #{7*7} " + box(r"{{ config.__class__ }} \input{/etc/passwd}"),
    "only whitespace": box(" \n\t" * 500),
}
assert len(HOSTILE) == 40
