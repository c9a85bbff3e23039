"""Safe reading of HDF5 files: all links are checked first, and sizes are bounded."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np

from finetunekit.foundation import contents, paths

MOST_LINKS = 200_000
MOST_NAMES = 200_000
# DEFLATE packs no more than 1032 : 1; runs of zeros come near that.
_MOST_PACKED = 1100
_FREE_BYTES = 2**20
_LONGEST_ATTRIBUTE = 2**16  # Keras splits longer lists, as HDF5 object headers end here.


@contextmanager
def open_checked(path: str, name: str) -> Iterator[h5py.File]:
    """Opens an HDF5 file for reading after a check of every link and data set in it.

    Nothing outside the file is opened: external links, external storage and virtual data sets
    are refused before they are followed.

    Args:
        path: The file.
        name: The argument that the path came by, for the errors.

    Yields:
        The open file. Errors of HDF5 while it is open become an OSError with a message.

    Raises:
        OSError: If the file is not there, damaged, truncated, or no HDF5.
        ValueError: If it points outside itself, or is of an implausible structure.
    """
    target = paths.check_source(path, name)
    if not stat.S_ISREG(os.stat(target).st_mode):
        raise OSError(f"`{name}` must be an ordinary file. Received: {name}={target!r}")
    if not h5py.is_hdf5(target) and (fault := contents.mistaken(target)):
        raise OSError(f"`{name}` {fault}. Received: {name}={target!r}")
    with _in_words(target, name), h5py.File(target, "r") as file:
        _check_links(file, name)
        yield file


@contextmanager
def _in_words(path: str, name: str) -> Iterator[None]:
    """Turns what h5py raises for damaged files into one OSError of our shape."""
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError) as error:
        if not _is_from_hdf5(error):
            raise
        raise OSError(
            f"`{name}` cannot be read as HDF5: it is damaged, truncated, or no HDF5 file "
            f"({str(error).strip(chr(39))[:200]}). Copy it again. Received: {name}={path!r}"
        ) from error


def _is_from_hdf5(error: BaseException) -> bool:
    """Whether the error was raised by h5py itself, not by what reads with it."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    module = last.tb_frame.f_globals.get("__name__", "") if last is not None else ""
    return str(module).partition(".")[0] == "h5py"


def _check_links(file: h5py.File, name: str) -> None:
    """Follows hard links only, so that nothing is opened before its place is known."""
    seen = {h5py.h5o.get_info(file.id).addr}
    waiting, soft = [(file["/"].id, "")], []
    links = 0
    while waiting:
        group, path = waiting.pop()
        for key in group:
            links += 1
            if links > MOST_LINKS:
                raise _refusal(file, name, f"it has more than {MOST_LINKS:,} links")
            place = f"{path}/{key.decode('utf-8', 'replace')}"
            kind = group.links.get_info(key).type
            if kind == h5py.h5l.TYPE_SOFT:
                soft.append((group, key, place))
                continue
            if kind != h5py.h5l.TYPE_HARD:
                raise _refusal(file, name, f"{place!r} is a link to another file")
            found = h5py.h5o.open(group, key)
            address = h5py.h5o.get_info(found).addr
            if address not in seen:
                seen.add(address)
                _check_object(file, name, found, place)
                if isinstance(found, h5py.h5g.GroupID):
                    waiting.append((found, place))
    for group, key, place in soft:
        _check_soft_link(file, name, group, key, place)


def _check_soft_link(file: h5py.File, name: str, group: Any, key: bytes, place: str) -> None:
    """Raises for soft links without a target; the targets of all others were checked already."""
    try:
        h5py.h5o.open(group, key)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise _refusal(file, name, f"{place!r} is a link that leads nowhere") from error


def _check_object(file: h5py.File, name: str, found: Any, place: str) -> None:
    if not isinstance(found, h5py.h5d.DatasetID):
        return
    storage = found.get_create_plist()
    if storage.get_layout() == h5py.h5d.VIRTUAL or storage.get_external_count():
        raise _refusal(file, name, f"the data of {place!r} are in another file")


def _refusal(file: h5py.File, name: str, fault: str) -> ValueError:
    return ValueError(
        f"`{name}` is refused: {fault}, which no model file of Keras has. Get the file from its "
        f"maker again, or look at it with h5py. Received: {name}={file.filename!r}"
    )


def attribute_list(group: h5py.Group, key: str, *, name: str = "source") -> list[str]:
    """A list of names in an attribute; long ones are split into several, `key0`, `key1`, ...

    Args:
        group: The group that has the attribute.
        key: Its name, such as `"layer_names"`.
        name: The argument that the file came by, for the errors.

    Returns:
        The names; an empty list if there is no such attribute.

    Raises:
        OSError: If the attribute is damaged.
        ValueError: If it holds no names, or absurdly many.
    """
    if key in group.attrs:
        return _names(group, key, name)
    found: list[str] = []
    chunk = 0
    while f"{key}{chunk}" in group.attrs:
        found += _names(group, f"{key}{chunk}", name)
        if len(found) > MOST_NAMES:
            raise _refusal(group.file, name, f"{key!r} holds more than {MOST_NAMES:,} names")
        chunk += 1
    return found


def attribute_text(group: h5py.Group, key: str, *, name: str = "source") -> str | None:
    """A text in an attribute, such as `model_config`; None if there is no such attribute.

    Raises:
        OSError: If the attribute is damaged.
        ValueError: If it holds something else than one text.
    """
    if key not in group.attrs:
        return None
    with _in_words(group.file.filename, name):
        if h5py.h5a.open(group.id, key.encode()).shape != ():
            raise _refusal(group.file, name, f"the attribute {key!r} is not text")
        value = group.attrs[key]
    if not isinstance(value, (str, bytes)):
        raise _refusal(group.file, name, f"the attribute {key!r} is not text")
    return _decoded(group, key, name, value)


def _names(group: h5py.Group, key: str, name: str) -> list[str]:
    with _in_words(group.file.filename, name):
        attribute = h5py.h5a.open(group.id, key.encode())
        shape = attribute.shape
        if shape == (0,):  # Of no type: Keras writes an empty list as numbers.
            return []
        if shape is None or len(shape) > 1 or attribute.get_storage_size() > _LONGEST_ATTRIBUTE:
            raise _refusal(group.file, name, f"the attribute {key!r} is not a list of names")
        values = np.atleast_1d(group.attrs[key])
    if values.dtype.kind not in "OSU":
        raise _refusal(group.file, name, f"the attribute {key!r} is not a list of names")
    return [_decoded(group, key, name, value) for value in values]


def _decoded(group: h5py.Group, key: str, name: str, value: Any) -> str:
    try:
        return value.decode() if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError as error:
        raise _refusal(group.file, name, f"the attribute {key!r} is not text") from error


def child(group: h5py.Group, key: str, *, name: str = "source") -> h5py.Group:
    """A group inside a group.

    Raises:
        ValueError: If there is none of that name.
    """
    with _in_words(group.file.filename, name):
        found = group.get(key)
    if not isinstance(found, h5py.Group):
        raise _missing(group, key, name, "group")
    return found


def shape_of(group: h5py.Group, key: str, *, name: str) -> tuple[int, ...]:
    """The declared shape of a data set of numbers; reads none of them.

    Raises:
        OSError: If the data set is damaged.
        ValueError: If there is none of that name, or it holds no numbers.
    """
    return tuple(_dataset(group, key, name).shape)


def array(
    group: h5py.Group, key: str, *, shape: tuple[int, ...] | None, name: str
) -> np.ndarray[Any, Any]:
    """Reads a data set of numbers, after a check of its declared size.

    Args:
        group: The group that holds it; `key` may be a path below it.
        key: Its name.
        shape: The shape that it must have; None for any.
        name: The argument that the file came by, for the errors.

    Returns:
        The numbers, in the dtype that they are stored in; bfloat16 as `ml_dtypes` has it.

    Raises:
        OSError: If the numbers are damaged or truncated.
        ValueError: If there is no such data set, its shape differs, or it would take up far more
            memory than the file holds of it.
    """
    dataset = _dataset(group, key, name)
    if shape is not None and tuple(dataset.shape) != tuple(shape):
        raise ValueError(
            f"`{name}` holds {dataset.name!r} of shape {tuple(dataset.shape)}; expected is "
            f"{tuple(shape)}. Give the file of the same architecture. "
            f"Received: {name}={group.file.filename!r}"
        )
    _check_size(group.file, dataset, name)
    with _in_words(group.file.filename, name):
        values = np.asarray(dataset[()])
        return values.view(_bfloat16()) if values.dtype.kind == "V" else values


def _bfloat16() -> Any:
    import ml_dtypes  # Comes with Keras.

    return ml_dtypes.bfloat16


def _dataset(group: h5py.Group, key: str, name: str) -> h5py.Dataset:
    with _in_words(group.file.filename, name):
        found = group.get(key)
        if not isinstance(found, h5py.Dataset):
            raise _missing(group, key, name, "data set")
        dtype = found.dtype
        is_bfloat16 = dtype.kind == "V" and dtype.itemsize == 2 and dtype.names is None
        if found.shape is None or not (dtype.kind in "fiub" or is_bfloat16):
            raise _refusal(group.file, name, f"{found.name!r} holds {dtype}, not numbers")
    return found


def _missing(group: h5py.Group, key: str, name: str, kind: str) -> ValueError:
    return ValueError(
        f"`{name}` has no {kind} {key!r} in {group.name!r}, as a file of its kind should have. It "
        f"is damaged or of another format: get it again. Received: {name}={group.file.filename!r}"
    )


def _check_size(file: h5py.File, dataset: h5py.Dataset, name: str) -> None:
    """Raises if the declared size is out of proportion to what the file holds.

    Parts never written read as zeros: a few bytes may declare a terabyte of them.
    """
    held = dataset.id.get_storage_size()
    declared = [dataset.size * dataset.dtype.itemsize]
    if dataset.chunks is not None:  # HDF5 unpacks whole chunks.
        declared.append(int(np.prod(dataset.chunks, dtype=object)) * dataset.dtype.itemsize)
    limit = held * (_MOST_PACKED if dataset.chunks is not None else 1)
    if held > os.path.getsize(file.filename) or max(declared) > limit + _FREE_BYTES:
        raise _refusal(
            file,
            name,
            f"{dataset.name!r} declares {max(declared):,} bytes and {held:,} are there",
        )
