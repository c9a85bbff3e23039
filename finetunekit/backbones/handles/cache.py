"""The cache of downloads, shared with tensorflow_hub."""

import hashlib
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path


def folder() -> str:
    """The folder that `TFHUB_CACHE_DIR` names, else `tfhub_modules` among the temporary files."""
    named = os.environ.get("TFHUB_CACHE_DIR")
    return named or os.path.join(tempfile.gettempdir(), "tfhub_modules")


def url_key(url: str) -> str:
    """The name that tensorflow_hub gives to the entry of a URL."""
    return hashlib.sha1(url.encode("utf-8"), usedforsecurity=False).hexdigest()


def path(key: str) -> str:
    """The path of the entry, whether it exists or not."""
    return os.path.join(folder(), key)


def found(key: str) -> str | None:
    """The folder of the entry; None if it is not there, or empty."""
    place = path(key)
    return place if os.path.isdir(place) and os.listdir(place) else None


def fill(key: str, write: Callable[[str], None], *, about: str, argument: str) -> str:
    """Creates an entry completely or not at all, also if two processes do so at once.

    Args:
        key: The name of the entry.
        write: Called with an empty folder, which becomes the entry when it returns.
        about: What is stored, for the error.
        argument: The user's argument, for the error, as in `source='module.tar.gz'`.

    Returns:
        The folder of the entry: that of the other process if it was faster.

    Raises:
        OSError: If the cache cannot be written.
    """
    place, partial = path(key), f"{path(key)}.{uuid.uuid4().hex}.tmp"
    try:
        try:
            os.makedirs(partial)
        except OSError as error:
            raise OSError(
                f"The cache folder {folder()!r} cannot be written ({error.strerror or error}), so "
                f"{about} cannot be stored. Set the environment variable TFHUB_CACHE_DIR to a "
                f"folder of yours. Received: {argument}"
            ) from error
        write(partial)
        try:
            os.replace(partial, place)
        except OSError:  # The folder is there and not empty: another process has made it.
            if found(key) is None:
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return place


def note_digest(key: str, about: str, digest: str) -> None:
    """Records the origin of the entry beside it, in the file that tensorflow_hub also writes."""
    note = Path(_note(key))
    partial = note.with_name(f"{note.name}.{uuid.uuid4().hex}.tmp")
    partial.write_text(f"Module: {about}\nsha256: {digest}\n", "utf-8")
    os.replace(partial, note)


def digest_of(key: str) -> str | None:
    """The sha256 of the archive that the entry was unpacked from, if it is known."""
    try:
        text = Path(_note(key)).read_text("utf-8", "replace")
    except OSError:
        return None
    noted = re.search(r"^sha256: ([0-9a-f]{64})$", text, re.MULTILINE)
    return noted[1] if noted else None


def _note(key: str) -> str:
    return f"{path(key)}.descriptor.txt"
