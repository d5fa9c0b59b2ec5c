"""Matplotlib's SVG made fit to stand inside an HTML page."""

from __future__ import annotations

import io
import re
from html import escape
from typing import TYPE_CHECKING

from ..plots.style import dark_colors


if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Colours of the page's own things; the lines' colours come from the plots' palette.
_INK = {"#000000": "--ink", "#dddddd": "--rule", "#777777": "--muted", "#ffffff": "--page"}


def inline_svg(figure: Figure, prefix: str, title: str, description: str) -> str:
    """A picture as an `<svg>` element: ids unique in the page, colours as CSS variables, a title for screen readers.

    Args:
        figure: One of `trl_entropy.plots`, inside `paper_style`.
        prefix: Unique in the page; letters, digits and hyphens.
        title: Short name, read out first.
        description: What the picture shows, in words.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'href="#', f'href="#{prefix}-', text)
    text = re.sub(r"url\(#", f"url(#{prefix}-", text)
    # Never inside the text of a label: only in attributes, where colours stand after a colon or a quote
    text = re.sub(r"(?<=[:\"] )(#[0-9a-f]{6})\b|(?<=\")(#[0-9a-f]{6})(?=\")", _variable, text)
    text = re.sub(r"\n\s*", "\n", text)
    head = re.match(r"<svg[^>]*>", text)
    assert head is not None
    view_box = re.search(r'viewBox="([^"]+)"', head[0])
    assert view_box is not None
    opening = (
        f'<svg class="plot" role="img" aria-labelledby="{prefix}-t {prefix}-d" viewBox="{view_box[1]}" '
        'xmlns:xlink="http://www.w3.org/1999/xlink">'
        f'<title id="{prefix}-t">{escape(title)}</title><desc id="{prefix}-d">{escape(description)}</desc>'
    )
    return opening + text[head.end() :].strip()


def color_variables() -> tuple[str, str]:
    """The CSS declarations of the lines' colours: on a light page, on a dark page."""
    pairs = dark_colors().items()
    light = "".join(f"--c{color[1:]}:{color};" for color, _ in pairs)
    return light, "".join(f"--c{color[1:]}:{dark};" for color, dark in pairs)


def _variable(match: re.Match[str]) -> str:
    color = match[0]
    if color in _INK:
        return f"var({_INK[color]})"
    return f"var(--c{color[1:]})" if color in dark_colors() else color
