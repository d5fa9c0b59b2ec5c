"""The palette: told apart by people who see colours differently, and readable on both pages."""

import itertools

import numpy as np
import pytest

from trl_entropy.plots.style import MOST_LINES, new_figure, paper_style, save_figure, series_style, styles_by_method


# Machado, Oliveira and Fernandes 2009, severity 1, in linear RGB
VISION = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(color):
    channels = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb
    xyz = xyz / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("scheme", ["color", "dark"])
def test_the_lines_of_a_picture_differ_for_every_eye(vision, scheme):
    styles = [series_style(i, "") for i in range(MOST_LINES)]
    seen = {i: lab(np.clip(VISION[vision] @ linear(getattr(s, scheme)), 0, 1)) for i, s in enumerate(styles)}
    for a, b in itertools.combinations(seen, 2):
        assert np.linalg.norm(seen[a] - seen[b]) > 12, (a, b)


def test_no_two_lines_share_dash_and_marker():
    styles = [series_style(i, "") for i in range(9)]
    assert len({s.marker for s in styles}) == len({(s.dash, s.marker) for s in styles}) == 9
    variants = [series_style(2, "", variant) for variant in range(9)]
    assert len({(s.dash, s.marker) for s in variants}) == 9
    assert len({s.color for s in variants}) == 1


def test_a_method_keeps_its_colour_whatever_stands_before_its_second_line():
    keys = ["siren", "plain", "maxrl", "siren", "plain"]
    styles = styles_by_method(keys, keys)
    by_method = {key: {s.color for k, s in zip(keys, styles, strict=True) if k == key} for key in keys}
    assert all(len(colors) == 1 for colors in by_method.values())
    assert len(set.union(*by_method.values())) == 3
    assert by_method["plain"] == {series_style(0, "").color}
    many = styles_by_method([f"m{i}" for i in range(20)], [""] * 20)
    assert series_style(0, "").color not in {style.color for style in many}  # plain GRPO's is nobody else's


@pytest.mark.parametrize(("scheme", "page"), [("color", "#ffffff"), ("dark", "#14171a")])
def test_lines_stand_out_from_the_page(scheme, page):
    weights = np.array([0.2126, 0.7152, 0.0722])
    for i in range(9):
        low, high = sorted((linear(getattr(series_style(i, ""), scheme)) @ weights, linear(page) @ weights))
        assert (high + 0.05) / (low + 0.05) >= 3.0


def test_pictures_are_written_as_png_and_svg_and_are_the_same_each_time(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    for name in ("a", "b"):
        with paper_style():
            figure, axes = new_figure()
            axes.plot([0, 1], [0, 1], label="$a_1$", **series_style(2, "").line())
            axes.legend()
            written = save_figure(figure, tmp_path / name / "x.png")
        assert [path.name for path in written] == ["x.png", "x.svg"]
    assert dict(matplotlib.rcParams) == before
    for kind in ("png", "svg"):
        assert (tmp_path / "a" / f"x.{kind}").read_bytes() == (tmp_path / "b" / f"x.{kind}").read_bytes()
    svg = (tmp_path / "a" / "x.svg").read_text()
    assert ">$a_1$</text>" in svg  # a name is text, and stays text in the SVG
