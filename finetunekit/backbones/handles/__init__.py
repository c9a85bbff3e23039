"""SavedModel folders behind URLs, archives and hub handles."""

import dataclasses
import os
from pathlib import Path

from finetunekit.backbones.handles import cache, download, hub, unpack
from finetunekit.foundation import file_kinds, hashing, paths
from finetunekit.foundation.messages import listed, say

SAVED_MODEL = "saved_model.pb"
_ARCHIVES = (".tar.gz", ".tgz", ".tar")


@dataclasses.dataclass(frozen=True)
class Resolved:
    """A local SavedModel folder, the sha256 of the archive it came in, and whether it was there."""

    folder: str
    sha256: str | None = None
    from_cache: bool = False


def is_handle(source: str) -> bool:
    """Whether it is an http(s) URL, a `kaggle://` handle, or a local tar archive."""
    scheme, is_url, _ = source.partition("://")
    if is_url:
        return scheme.lower() in ("http", "https", "kaggle")
    return source.lower().endswith(_ARCHIVES) or file_kinds.kind_of(source) == file_kinds.TAR


def resolve(source: str, name: str = "source") -> Resolved:
    """Finds the SavedModel that `source` means; what it downloads or unpacks stays in the cache.

    The cache is that of tensorflow_hub: the folder that `TFHUB_CACHE_DIR` names, else
    `tfhub_modules` in the system's folder for temporary files.

    Args:
        source: A SavedModel folder, a `.tar.gz`, `.tgz` or `.tar` file, the http(s) URL of one, or
            a handle on tfhub.dev or Kaggle.
        name: The argument that errors speak of.

    Returns:
        The folder that holds `saved_model.pb`, with what is known of its archive.

    Raises:
        ValueError: If the source holds no SavedModel, is damaged, or must not be unpacked.
        OSError: If it is not there, or cannot be downloaded or stored.

    Example:
        ```python
        from finetunekit.backbones import handles

        assert handles.is_handle("https://example.com/module.tar.gz")
        assert not handles.is_handle("pretrained_model.h5")
        ```
    """
    if "://" in source:
        return _remote(source, name)
    if os.path.isdir(source):
        return Resolved(_own_folder(source, name))
    return _local_archive(paths.check_source(source, name), name)


def _own_folder(folder: str, name: str) -> str:
    if os.path.isfile(os.path.join(folder, SAVED_MODEL)):
        return folder
    there = sorted(entry.name for entry in Path(folder).iterdir())
    inside = _below(folder)
    hint = f"Give the folder {inside[0]!r} inside it, which is one. " if len(inside) == 1 else ""
    if len(inside) > 1:
        hint = f"Give one of the SavedModels inside it: {listed(inside, 6)}. "
    raise ValueError(
        f"`{name}` must be a SavedModel, a folder with a file {SAVED_MODEL!r}. "
        f"{hint}It holds {listed(there, 6) or 'nothing'}. Received: {name}={folder!r}"
    )


def _below(folder: str) -> list[str]:
    return sorted(str(file.parent) for file in Path(folder).glob(f"*/{SAVED_MODEL}"))


def _unpacked_folder(folder: str) -> str | None:
    """The SavedModel in an unpacked archive: at its top, or in its only SavedModel folder."""
    if os.path.isfile(os.path.join(folder, SAVED_MODEL)):
        return folder
    inside = _below(folder)
    return inside[0] if len(inside) == 1 else None


def _cached(key: str, source: str, name: str) -> str | None:
    """The SavedModel that an earlier call, or tensorflow_hub, has put into the cache."""
    place = cache.found(key)
    if place is None:
        return None
    folder = _unpacked_folder(place)
    if folder is None:
        raise ValueError(
            f"`{name}` is in the cache, but without its file {SAVED_MODEL!r}. Remove the folder "
            f"{place!r}, and it is fetched again. Received: {name}={source!r}"
        )
    return folder


def _unpack_checked(file: str, target: str, name: str, source: str) -> None:
    unpack.unpack(file, target, name, source)
    if _unpacked_folder(target) is None:
        there = sorted(entry.name for entry in Path(target).iterdir())
        inside = [os.path.relpath(folder, target) for folder in _below(target)]
        several = f"It holds several: {listed(inside, 6)}. " if inside else ""
        raise ValueError(
            f"`{name}` must be an archive of one SavedModel, with {SAVED_MODEL!r} at its top or in "
            f"one folder. {several}Unpack it yourself and give the folder. It holds "
            f"{listed(there, 6) or 'nothing'}. Received: {name}={source!r}"
        )


def _local_archive(path: str, name: str) -> Resolved:
    if not path.lower().endswith(_ARCHIVES):
        raise ValueError(
            f"`{name}` must be a SavedModel folder, an archive that ends in {listed(_ARCHIVES)}, "
            f"or the URL of one. Received: {name}={path!r}"
        )
    digest = hashing.file_digest(path)
    known = _cached(digest, path, name)
    if known is not None:
        return Resolved(known, digest, from_cache=True)
    place = cache.fill(
        digest,
        lambda target: _unpack_checked(path, target, name, path),
        about=path,
        argument=f"{name}={path!r}",
    )
    cache.note_digest(digest, path, digest)
    say(f"unpacked {path} into {place}")
    return Resolved(_unpacked_folder(place) or place, digest)


def _remote(source: str, name: str) -> Resolved:
    url = hub.url_of(source, name)
    key = cache.url_key(url)
    known = _cached(key, source, name)
    if known is not None:
        return Resolved(known, cache.digest_of(key), from_cache=True)
    if hub.is_hub(url):
        folder = _unpacked_folder(hub.fetch(url, name, source))
        if folder is None:
            raise ValueError(
                f"`{name}` leads to something that is no SavedModel: {SAVED_MODEL!r} is missing. "
                "Choose a TensorFlow 2 variation of the model. "
                f"Received: {name}={source!r}"
            )
        return Resolved(folder)
    digests = []

    def fetch(target: str) -> None:
        file = f"{target}.archive"
        try:
            digests.append(download.download(url, file, key, name))
            _unpack_checked(file, target, name, source)
        finally:
            Path(file).unlink(missing_ok=True)

    shown = download.shown(url)
    place = cache.fill(key, fetch, about=shown, argument=f"{name}={source!r}")
    cache.note_digest(key, shown, digests[0])
    return Resolved(_unpacked_folder(place) or place, digests[0])
