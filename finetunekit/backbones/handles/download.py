"""Downloads of archives over http and https, complete or not at all."""

import hashlib
import http.client
import os
import shutil
import socket
import ssl
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from finetunekit.backbones.handles import cache
from finetunekit.foundation.messages import say

# Seconds without a byte.
_TIMEOUT = 60.0
_MOST_BYTES = 20 * 2**30
_PIECE = 2**20


class _HttpOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https, and from https to https only."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        scheme = urlsplit(newurl).scheme.lower()
        if scheme not in ("http", "https") or (req.type == "https" and scheme == "http"):
            raise urllib.error.URLError(
                f"it leads from {req.type}:// to {scheme}://, which is not followed"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def shown(url: str) -> str:
    """The URL without its query, which may hold a key."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def download(url: str, file: str, key: str, name: str) -> str:
    """Downloads a tar archive, and returns its sha256.

    Args:
        url: An http or https URL.
        file: The path of the new file; the caller removes it, also after an error.
        key: The name of the cache entry that it is meant for, for errors.
        name: The argument that errors speak of.

    Raises:
        ValueError: If it leads to something that is not an archive.
        OSError: If there is no connection, the server refuses, or the answer is truncated.
    """
    start = time.perf_counter()
    try:
        with _open(url) as response:
            length = _length(response)
            _check_length(length, file)
            say(f"downloading {shown(url)} ({_size(length)}) into {cache.path(key)}")
            digest, written = _copy(response, file, length)
    except _Unwanted as error:
        raise ValueError(
            f"`{name}` must lead to a .tar.gz archive of a SavedModel: {error}. Give the address "
            f"of the archive itself. Received: {name}={url!r}"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise OSError(
            f"`{name}` cannot be downloaded: {_in_words(error)}. {by_hand(key)} "
            f"Received: {name}={url!r}"
        ) from error
    say(f"downloaded {_size(written)} in {time.perf_counter() - start:.1f} s")
    return digest


def by_hand(key: str) -> str:
    """How to fill the cache without a connection, in words."""
    return (
        "If this machine has no connection, download the archive elsewhere, and give its path, or "
        f"unpack it into {cache.path(key)!r}. The cache folder is {cache.folder()!r}; the "
        "environment variable TFHUB_CACHE_DIR names another."
    )


class _Unwanted(ValueError):
    """The response is not an archive; the text says what it is."""


def _open(url: str) -> Any:
    opener = urllib.request.build_opener(_HttpOnly)
    request = urllib.request.Request(url, headers={"User-Agent": "finetunekit"})
    return opener.open(request, timeout=_TIMEOUT)


def _length(response: Any) -> int | None:
    text = response.headers.get("Content-Length") or ""
    return int(text) if text.isdigit() else None


def _check_length(length: int | None, file: str) -> None:
    free = shutil.disk_usage(os.path.dirname(file)).free
    if length is not None and length > min(_MOST_BYTES, free):
        raise OSError(
            f"it has {_size(length)}; at most {_size(_MOST_BYTES)} are taken, and the disk has "
            f"{_size(free)} free"
        )


def _copy(response: Any, file: str, length: int | None) -> tuple[str, int]:
    digest, written = hashlib.sha256(), 0
    with open(file, "xb") as target:
        while piece := response.read(_PIECE):
            if written == 0:
                _check_start(piece, response)
            written += target.write(piece)
            digest.update(piece)
            if written > _MOST_BYTES:
                raise OSError(f"it has more than {_size(_MOST_BYTES)}")
    if length is not None and written != length:
        raise OSError(f"it broke off after {written:,} of {length:,} bytes; try again")
    if written == 0:
        raise _Unwanted("the answer is empty")
    return digest.hexdigest(), written


def _check_start(piece: bytes, response: Any) -> None:
    if piece[:2] == b"\x1f\x8b" or piece[257:262] == b"ustar":
        return
    kind = response.headers.get_content_type()
    if kind == "text/html" or piece.lstrip()[:1] == b"<":
        raise _Unwanted("the answer is a web page, perhaps one that asks to log in")
    raise _Unwanted(f"the answer, of type {kind!r}, is neither gzip nor tar")


def _in_words(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return f"the server answers {error.code} ({error.reason}); check the address"
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return (
            f"the server's certificate is not trusted here ({reason.verify_message}). Let SSL_CERT_"
            "FILE name a file with your certificates"
        )
    if isinstance(reason, ssl.SSLError):
        return f"the secure connection fails ({reason.reason or reason})"
    if isinstance(reason, TimeoutError):
        return f"the server is silent for {_TIMEOUT:g} s; try again"
    if isinstance(reason, socket.gaierror):
        return "the server's name is not found: a wrong address, or no connection"
    if isinstance(reason, http.client.IncompleteRead):
        return f"it broke off after {len(reason.partial):,} bytes; try again"
    return str(reason) or type(reason).__name__


def _size(count: int | None) -> str:
    return "size unknown" if count is None else f"{count / 1e6:,.1f} MB"
