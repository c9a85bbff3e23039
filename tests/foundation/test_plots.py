"""Do plots show names in any script, or say in one line that no font can?"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import matplotlib
import pytest
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

from finetunekit.foundation import plots


def characters(family: str) -> set[int]:
    return set(FT2Font(font_manager.findfont(family)).get_charmap())


# A letter that a font has which matplotlib brings, and its usual font has not.
ONLY_STIX = chr(min(characters("STIXGeneral") - characters("DejaVu Sans") - set(range(0xE000))))


def draw(*texts: str) -> bytes:
    """The pixels of a plot."""
    with plots.fonts_for(texts):
        axes = plots.new_axes(2, 1)
        axes.set_title(" ".join(texts))
        file = io.BytesIO()
        axes.figure.savefig(file, format="raw", dpi=50)
    return file.getvalue()


def test_plain_names_change_nothing() -> None:
    before = list(matplotlib.rcParams["font.family"])
    with plots.fonts_for(["cat", "Bär", "ёж"]):
        assert list(matplotlib.rcParams["font.family"]) == before


@pytest.fixture
def one_font(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Has no other font installed than the usual one."""
    usual = font_manager.findfont("DejaVu Sans")
    only = SimpleNamespace(name="DejaVu Sans", fname=usual, style="normal", weight=400)
    fonts: Any = SimpleNamespace(ttflist=[only])
    return lambda: monkeypatch.setattr(font_manager, "fontManager", fonts)


def test_a_font_that_has_the_characters_is_put_behind(one_font: Callable[[], None]) -> None:
    before = list(matplotlib.rcParams["font.family"])
    with plots.fonts_for(["cat", ONLY_STIX]):
        inside = list(matplotlib.rcParams["font.family"])
    assert inside[: len(before)] == before
    assert ord(ONLY_STIX) in characters(inside[-1])
    assert list(matplotlib.rcParams["font.family"]) == before
    drawn = draw(ONLY_STIX)
    one_font()
    assert draw(ONLY_STIX) != drawn


def test_no_font_is_said_in_one_line(
    one_font: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    one_font()
    caplog.set_level(logging.INFO, "finetunekit")
    draw("猫猫", "狗", "cat")
    (record,) = caplog.records
    assert record.message.startswith("No installed font has these characters")
    assert "狗猫" in record.message
