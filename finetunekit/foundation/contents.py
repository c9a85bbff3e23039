"""What a file is that should be a model and is not: a pointer, a web page, an error message."""

import json
import re
from collections.abc import Callable

_SHOWN = 80
_READ = 2**14


def mistaken(path: str) -> str:
    """What a file is instead of a model, and the cure; empty if it looks like none of these.

    Args:
        path: A file that is there.

    Returns:
        The rest of a sentence that begins with the file, such as "is empty. ...".
    """
    with open(path, "rb") as file:
        start = file.read(_READ)
    for recognize, words in _KINDS:
        if recognize(start):
            return words.format(shown=_shown(start))
    return ""


def _shown(start: bytes) -> str:
    text = " ".join(start.decode("utf-8", "replace").split())
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "...")


def _text(start: bytes) -> str:
    """Its first lines in lower case, without what an editor puts before them."""
    return start.removeprefix(b"\xef\xbb\xbf").lstrip().decode("utf-8", "replace").lower()


def _is_page(start: bytes) -> bool:
    text = _text(start)
    return text.startswith(("<!doctype html", "<html", "<head", "<body")) or (
        text.startswith(("<!--", "<?xml")) and "<html" in text
    )


def _is_json_answer(start: bytes) -> bool:
    """Whether it is JSON, but not a model's architecture, which has classes in it."""
    text = _text(start)
    if not text.startswith(("{", "[")) or '"class_name"' in text:
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return len(start) == _READ and re.match(r'[\[{]\s*["\[{\]}]', text) is not None
    return True


_KINDS: tuple[tuple[Callable[[bytes], bool], str], ...] = (
    (
        lambda start: not start.strip(b"\0"),
        "is empty, or holds zeros only: its download or copy has failed. Get it again",
    ),
    (
        lambda start: start.startswith(b"version https://git-lfs.github.com/"),
        "is a Git LFS pointer of a few lines, not the file that it stands for. Get that with "
        "`git lfs install` and `git lfs pull` in its repository, or by the site's download button",
    ),
    (
        _is_page,
        "is a web page, not a model: its address leads to a page about the file, a login or an "
        "error ({shown}). Download the file itself, by its raw or direct link",
    ),
    (
        lambda start: _text(start).startswith("<?xml"),
        "is an XML message, not a model: the server has answered {shown}. Download it again, by "
        "its direct link",
    ),
    (
        _is_json_answer,
        "is JSON, not a model: most likely the message of a server, {shown}. Download it again, "
        "by its direct link and with the rights that it needs",
    ),
    (
        lambda start: start.startswith(b"\x1f\x8b"),
        "is compressed by gzip. Unpack it first, with `gunzip` or `tar -xzf`",
    ),
    (
        lambda start: start[4:8] == b"TFL3",
        "is a TensorFlow Lite model, which holds no layers to train. Take the model that it was "
        "converted from",
    ),
)
