"""The page's colours can be read: contrast by WCAG 2.2, from page.css itself, in light and dark."""

import re
from pathlib import Path

import pytest

from public import badges, words
from public.words import State

CSS = (Path(words.__file__).resolve().parent / "static" / "page.css").read_text(encoding="utf-8")
LIGHT, DARK = (
    dict(re.findall(r"--([a-z-]+): ([^;]+);", block))
    for block in re.findall(r":root \{(.*?)\}", CSS, flags=re.DOTALL)[:2]
)
SCHEMES = {"light": LIGHT, "dark": LIGHT | DARK}
Colour = tuple[float, float, float]


def rgb(text: str) -> Colour:
    return (int(text[1:3], 16) / 255, int(text[3:5], 16) / 255, int(text[5:7], 16) / 255)


def mixed(top: Colour, below: Colour, share: float) -> Colour:
    """As color-mix(in srgb, top share, below)."""
    red, green, blue = (t * share + b * (1 - share) for t, b in zip(top, below, strict=True))
    return red, green, blue


def luminance(colour: Colour) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-relative-luminance"""
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Colour, other: Colour) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_black_on_white_has_the_greatest_contrast() -> None:
    assert contrast((0, 0, 0), (1, 1, 1)) == pytest.approx(21)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("state", list(State))
def test_the_sentence_has_7_to_1_and_the_words_beside_it_4_5(scheme: str, state: State) -> None:
    known = SCHEMES[scheme]
    own, card, tint = rgb(known[state]), rgb(known["card"]), float(known["tint"].rstrip("%")) / 100
    ground = mixed(own, card, tint)
    assert contrast(rgb(known["ink"]), ground) >= 7
    for quiet in ("quiet", "link"):
        assert contrast(rgb(known[quiet]), ground) >= 4.5
    assert contrast(own, card) >= 4.5  # the state's word at the right of a component


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("text", ["ink", "quiet", "link"])
@pytest.mark.parametrize("ground", ["ground", "card"])
def test_all_other_text_has_4_5_to_1(scheme: str, text: str, ground: str) -> None:
    known = SCHEMES[scheme]
    assert contrast(rgb(known[text]), rgb(known[ground])) >= 4.5


@pytest.mark.parametrize("state", list(State))
def test_a_badge_s_white_letters_can_be_read(state: State) -> None:
    assert contrast((1, 1, 1), rgb(badges._COLOURS[state])) >= 4.5


def test_each_state_has_a_shape_of_its_own() -> None:
    assert len(set(badges._SIGNS.values())) == len(set(badges._SHAPES.values())) == len(State)
