"""Do plots show names in any script, or say in one line that no font can?"""

from __future__ import annotations

import io
import logging
import warnings
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
    """The pixels of a plot; a glyph that is missing is a warning, which is an error here."""
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


def test_a_font_that_has_the_characters_is_put_behind(caplog: pytest.LogCaptureFixture) -> None:
    before = list(matplotlib.rcParams["font.family"])
    with plots.fonts_for(["cat", ONLY_STIX]):
        inside = list(matplotlib.rcParams["font.family"])
    assert inside[: len(before)] == before
    assert ord(ONLY_STIX) in characters(inside[-1])
    assert list(matplotlib.rcParams["font.family"]) == before
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert draw(ONLY_STIX) != draw("\u0378")
    assert "No installed font" in caplog.text  # Of the second, which no font has.


def test_no_font_is_said_in_one_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = font_manager.findfont("DejaVu Sans")
    only = SimpleNamespace(name="DejaVu Sans", fname=usual, style="normal", weight=400)
    manager: Any = SimpleNamespace(ttflist=[only])
    monkeypatch.setattr(font_manager, "fontManager", manager)
    caplog.set_level(logging.INFO, "finetunekit")
    draw("猫猫", "狗", "cat")
    (record,) = caplog.records
    assert record.message.startswith("No installed font has these characters")
    assert "狗猫" in record.message
