"""Zip archives, whose table of contents is checked before anything is unpacked."""

import os
import stat
import zipfile
import zlib
from pathlib import PurePosixPath

from finetunekit.foundation import contents

# What reading a damaged archive raises, or the JSON in it, which may be nested too deeply.
DAMAGED = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, RecursionError)

# What Keras reads into memory whole.
_LARGEST_TEXT = 256 * 2**20
# Weights hardly shrink, and Keras stores them as they are; a bomb unpacks to a thousandfold.
_MOST_PACKED = 50
_FREE_BYTES = 64 * 2**20
_MOST_MEMBERS = 100_000


def check(path: str, name: str) -> None:
    """Raises for archives that would write outside of their folder or fill memory or disk.

    Args:
        path: The archive.
        name: The argument that the path came by, for the errors.

    Raises:
        ValueError: If it is damaged or hostile.
        OSError: If it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
        if fault := contents.mistaken(path):
            raise ValueError(f"`{name}` {fault}. Received: {name}={path!r}") from error
        raise ValueError(
            f"`{name}` is not a complete '.keras' archive: it is corrupt, truncated, or of another "
            f"kind ({type(error).__name__}: {error}). Copy or save it again. "
            f"Received: {name}={path!r}"
        ) from error
    if len(members) > _MOST_MEMBERS:
        raise _refusal(path, name, f"it holds {len(members):,} members")
    seen = set()
    for member in members:
        _check_name(member, path, name)
        if member.filename in seen:
            raise _refusal(path, name, f"it holds {member.filename!r} twice")
        seen.add(member.filename)
        if member.filename.endswith(".json") and member.file_size > _LARGEST_TEXT:
            raise _refusal(path, name, f"{member.filename!r} declares {member.file_size:,} bytes")
    unpacked = sum(member.file_size for member in members)
    if unpacked > _MOST_PACKED * os.path.getsize(path) + _FREE_BYTES:
        raise _refusal(path, name, f"{os.path.getsize(path):,} bytes would unpack to {unpacked:,}")


def _check_name(member: zipfile.ZipInfo, path: str, name: str) -> None:
    text = member.filename
    place = PurePosixPath(text)
    outside = place.is_absolute() or ".." in place.parts or "\\" in text or ":" in text
    if outside or not text:
        raise _refusal(path, name, f"{text!r} would be written outside of its folder")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise _refusal(path, name, f"{text!r} is a link")


def _refusal(path: str, name: str, fault: str) -> ValueError:
    return ValueError(
        f"`{name}` is refused: {fault}, which no model file of Keras has. Get the file from its "
        f"maker again. Received: {name}={path!r}"
    )
