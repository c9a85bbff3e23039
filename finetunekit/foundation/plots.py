"""Plots with matplotlib, an extra, each in a figure of its own."""

import contextlib
import functools
import importlib
import io
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from finetunekit.foundation.messages import warn


def new_axes(width: float = 7.0, height: float = 4.0) -> Any:
    """Axes in a figure of its own: no window, and the user's pyplot is left alone.

    Raises:
        ImportError: If matplotlib is not installed; with the line that installs it.
    """
    try:
        module = importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise ImportError(
            "Plots need matplotlib, which is not installed. Install it: "
            'pip install "finetunekit[plots]"'
        ) from error
    figure: Any = _figure_class(module.Figure)(figsize=(width, height), layout="constrained")
    return figure.subplots()


@functools.cache
def _figure_class(figure: type[Any]) -> type[Any]:
    """Figures that notebooks show, whether matplotlib's own display was switched on or not."""

    class NotebookFigure(figure):
        """A `matplotlib.figure.Figure` that says itself how it looks."""

        def _repr_png_(self) -> bytes:
            file = io.BytesIO()
            self.savefig(file, format="png")
            return file.getvalue()

    return NotebookFigure


@contextlib.contextmanager
def fonts_for(texts: Iterable[str]) -> Iterator[None]:
    """While a plot is drawn and saved: fonts that have the characters of these texts.

    Installed fonts are put behind the usual one, as few as possible. Characters that none of them
    has are named in one warning, instead of one for each of them.

    Args:
        texts: What the plot will say beside plain words, such as the names of classes.
    """
    matplotlib = importlib.import_module("matplotlib")
    manager = importlib.import_module("matplotlib.font_manager")
    usual = list(matplotlib.rcParams["font.family"])
    wanted = {ord(letter) for text in texts for letter in text if letter.isprintable()}
    for name in usual:
        wanted -= _characters(manager.findfont(manager.FontProperties(family=[name])))
    more = []
    while wanted:
        name, has = _richest(wanted)
        if not has:
            warn(
                "No installed font has these characters, which the plot shows as boxes: "
                f"{''.join(map(chr, sorted(wanted)[:20]))}. Install one that has, such as Noto "
                "Sans CJK"
            )
            break
        more.append(name)
        wanted -= has
    with matplotlib.rc_context({"font.family": [*usual, *more]}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        yield


def _richest(wanted: set[int]) -> tuple[str, set[int]]:
    """The installed font with most of these characters, and which of them it has."""
    manager = importlib.import_module("matplotlib.font_manager")
    best, has = "", set[int]()
    for font in sorted(manager.fontManager.ttflist, key=lambda font: (font.name, font.fname)):
        # Of a family, what rcParams ask for: not its italics, and not its heavy weights.
        if (font.style, font.weight) != ("normal", 400) or "Last Resort" in font.name:
            continue
        found = wanted & _characters(font.fname)
        if len(found) > len(has):
            best, has = font.name, found
    return best, has


def _characters(path: str) -> set[int]:
    """The characters that a font file has glyphs for; none if it cannot be read."""
    fonts = importlib.import_module("matplotlib.ft2font")
    try:
        return set(fonts.FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        return set()
