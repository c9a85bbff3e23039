"""Safe unpacking of tar archives: folders and plain files only, in one folder, within limits.

The tar headers are walked here, since `tarfile` takes a corrupt header for the end of the archive,
and reads headers of any size into memory.
"""

import gzip
import io
import os
import re
import shutil
import tarfile
import zlib
from pathlib import Path
from typing import IO

from finetunekit.foundation.messages import plural

_MOST_MEMBERS = 20_000
_MOST_BYTES = 100 * 2**30
# Archives below this size unpacked are never a bomb; trained weights hardly shrink by packing.
_ALWAYS_FINE = 256 * 2**20
_MOST_TIMES = 100
_DISK_LEFT_FREE = 2**28
_LARGEST_NAME = 2**16
_DEEPEST = 64
_PIECE = 2**20
_BLOCK = tarfile.BLOCKSIZE


class _Refused(ValueError):
    """The archive may be complete, but must not be unpacked; the text says why."""


def unpack(file: str, target: str, name: str, source: str) -> None:
    """Unpacks a tar archive, packed by gzip or not, into an empty folder.

    What it has written before an error stays; the caller removes the folder.

    Raises:
        ValueError: If it is damaged, truncated, no archive, or if it holds links, devices, paths
            that lead outside, or more than it may.
        OSError: If it cannot be written.
    """
    limit = _limit(file, target)
    try:
        with open(file, "rb") as raw, _plain(raw) as tar:
            _unpack_members(tar, target, limit)
    except _Refused as error:
        raise ValueError(
            f"`{name}` is an archive that is not unpacked: {error}. Use one from its maker, or "
            "unpack it yourself if you trust it, and give the folder. "
            f"Received: {name}={source!r}"
        ) from error
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
        raise ValueError(
            f"`{name}` is not a complete tar archive: it is corrupt, truncated, or of another kind "
            f"({error}). Download it again, or pack it again: "
            "`tar -czf module.tar.gz -C saved_model_folder .` "
            f"Received: {name}={source!r}"
        ) from error
    except OSError as error:
        raise OSError(
            f"`{name}` cannot be unpacked into {os.path.dirname(target)!r}: "
            f"{error.strerror or error}. Make room, or set the environment variable "
            f"TFHUB_CACHE_DIR to another folder. Received: {name}={source!r}"
        ) from error


def _limit(file: str, target: str) -> int:
    """The limit of the unpacked size: by the archive's size, and by the free disk space."""
    by_size = max(_ALWAYS_FINE, _MOST_TIMES * os.path.getsize(file))
    room = shutil.disk_usage(target).free - _DISK_LEFT_FREE
    return min(_MOST_BYTES, by_size, max(room, 0))


def _plain(raw: IO[bytes]) -> IO[bytes]:
    start = raw.read(512)
    raw.seek(0)
    if start[:2] == b"\x1f\x8b":
        return io.BufferedReader(gzip.GzipFile(fileobj=raw), _PIECE)
    if start[257:262] == b"ustar":
        return raw
    raise tarfile.ReadError("it starts like neither a gzip file nor a tar archive")


def _unpack_members(tar: IO[bytes], target: str, limit: int) -> None:
    count = 0
    told: dict[str, str] = {}
    while any(header := _exactly(tar, _BLOCK)):
        count += 1
        if count > _MOST_MEMBERS:
            raise _Refused(f"it holds more than {plural(_MOST_MEMBERS, 'member')}")
        member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        if member.type in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME):
            told |= _about_next(member, _content(tar, member))
            continue
        name, size = told.get("path", member.name), int(told.get("size", member.size))
        told = {}
        place = _place(name, member.type, target)
        if member.isdir():
            _make_folder(place, name)
            continue
        if not 0 <= size <= limit:
            raise _Refused("it would be far larger unpacked than packed, or than the disk has room")
        _write(tar, place, size, name)
        limit -= size
        _exactly(tar, -size % _BLOCK)
    # What follows the end is padding; gzip's checksum stands behind it.
    rest = _ALWAYS_FINE
    while piece := tar.read(_PIECE):
        rest -= len(piece)
        if any(piece) or rest < 0:
            raise _Refused("something follows its end")


def _exactly(tar: IO[bytes], count: int) -> bytes:
    content = tar.read(count)
    if len(content) != count:
        raise EOFError("it ends too early")
    return content


def _content(tar: IO[bytes], member: tarfile.TarInfo) -> bytes:
    if not 0 <= member.size <= _LARGEST_NAME:
        raise _Refused("a header in it exceeds the size limit")
    content = _exactly(tar, member.size)
    _exactly(tar, -member.size % _BLOCK)
    return content


def _about_next(member: tarfile.TarInfo, content: bytes) -> dict[str, str]:
    """The long path or size that an extended header gives for the next member."""
    if member.type == tarfile.XGLTYPE:
        return {}
    if member.type == tarfile.GNUTYPE_LONGNAME:
        return {"path": content.rstrip(b"\0").decode("utf-8", "surrogateescape")}
    told = {}
    while content.rstrip(b"\0"):
        length = re.match(rb"(\d{1,6}) ", content)
        if length is None or not len(length[0]) < int(length[1]) <= len(content):
            raise tarfile.ReadError("a header in it is corrupt")
        record, content = content[: int(length[1])], content[int(length[1]) :]
        key, _, value = record[len(length[0]) : -1].partition(b"=")
        told[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
    if any(key.startswith("GNU.sparse") for key in told):
        raise _Refused("it holds a sparse file")
    return told


def _place(name: str, kind: bytes, target: str) -> Path:
    """Where the member goes, or an error: never outside the target."""
    if kind not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE):
        raise _Refused(f"its member {name!r} is a link, a device, or else no plain file or folder")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    # A backslash, a drive or a stream name would mean something else on Windows.
    if name.startswith("/") or ".." in parts or re.search(r'[\\:*?"<>|\x00-\x1f]', name):
        raise _Refused(f"its member {name!r} has a path that may lead outside")
    if len(parts) > _DEEPEST:
        raise _Refused(f"its folders are nested more than {_DEEPEST} deep")
    return Path(target, *parts)


def _make_folder(place: Path, name: str) -> None:
    try:
        place.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise _Refused(f"its member {name!r} is both a file and a folder") from error


def _write(tar: IO[bytes], place: Path, size: int, name: str) -> None:
    """Writes a new file; as there are no links below the target, it is below the target too."""
    _make_folder(place.parent, name)
    try:
        with open(place, "xb") as file:
            while size > 0:
                size -= file.write(_exactly(tar, min(size, _PIECE)))
    except (FileExistsError, IsADirectoryError) as error:
        raise _Refused(f"its member {name!r} is in it twice") from error
