"""The innermost cause of an error of Keras, which wraps it in others and shows whole configs."""

import re

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# What Keras puts before the message of the error that it has caught.
_CAUGHT = ("Exception encountered: ", "Error encountered:\n")
# `Exception encountered when calling X.call().`, the message, `Arguments received by X.call():`.
_IN_A_CALL = re.compile(
    r"Exception encountered when calling [^\n]*\n\s*(?P<message>.*?)"
    r"(?:\n\s*Arguments received by|$)",
    re.DOTALL,
)
_COUNTED = re.compile(r"A total of \d+ objects could not be loaded[^\n]*\n\s*")


def cause_of(error: BaseException, longest: int = 500) -> str:
    """The first line of what went wrong at the bottom of an error, in one line.

    Args:
        error: Any error, such as Keras raises for a layer that cannot be made or called.
        longest: The most characters.

    Returns:
        Its words; the name of its type where it has none.
    """
    text = _COLOURS.sub("", _words(error))
    before = None
    while text != before:
        before = text
        for mark in _CAUGHT:
            text = text.rpartition(mark)[2].strip()
        called = _IN_A_CALL.search(text)
        text = called["message"] if called else text
        text = _COUNTED.sub("", text)
    text = re.split(r"\.? Full (?:object )?config: |\n\nconfig=", text)[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    words = lines[0].rstrip(".") if lines else ""
    if not words or isinstance(error, KeyError | IndexError | AttributeError | AssertionError):
        words = f"{type(error).__name__}: {words}" if words else type(error).__name__
    return words if len(words) <= longest else words[: longest - 3] + "..."


def _words(error: BaseException) -> str:
    """What was given to an error; a KeyError shows it quoted, with its line ends escaped."""
    single = isinstance(error, KeyError) and len(error.args) == 1
    return str(error.args[0]) if single else str(error)
