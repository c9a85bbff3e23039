"""Kinds of model files, told by their content, whatever they are called."""

import gzip
import os
import zipfile
import zlib

HDF5 = "HDF5"
KERAS = "a '.keras' archive"
TORCH = "a torch checkpoint"
SAFETENSORS = "safetensors"
NUMPY = "an archive of NumPy arrays"
SAVED_MODEL = "a zip archive of a SavedModel"
TAR = "a tar archive"

_HDF5 = b"\x89HDF\r\n\x1a\n"
_MOST_OFFSETS = 8  # The signature of HDF5 may stand behind a block of 512, 1024, ... bytes.
_TORCH_BEFORE_1_6 = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # Its magic number, pickled.
_GZIP, _TAR = b"\x1f\x8b", b"ustar"
_LONGEST_HEADER = 100 * 2**20  # Of safetensors.
# A member's name, or its end -> the kind of zip archive that has it.
_MEMBERS = (
    ("config.json", KERAS),
    ("/data.pkl", TORCH),
    (".npy", NUMPY),
    ("saved_model.pb", SAVED_MODEL),
)


def kind_of(path: str) -> str | None:
    """The kind of a file by its content; None if it is not there or of another kind.

    Args:
        path: The file; it is not checked whether the rest of it is sound.
    """
    if not os.path.isfile(path):
        return None
    try:
        with open(path, "rb") as file:
            start = file.read(512)
            size = os.fstat(file.fileno()).st_size
            if start.startswith(_HDF5):
                return HDF5
            for number in range(_MOST_OFFSETS):
                file.seek(512 * 2**number)
                if file.read(len(_HDF5)) == _HDF5:
                    return HDF5
    except OSError:
        return None
    if start.startswith(b"PK"):
        return _kind_of_zip(path)
    if start.startswith(_TORCH_BEFORE_1_6):
        return TORCH
    if start[257:262] == _TAR or (start.startswith(_GZIP) and _is_packed_tar(path)):
        return TAR
    header = int.from_bytes(start[:8], "little")
    if start[8:9] == b"{" and 1 < header <= min(size - 8, _LONGEST_HEADER):
        return SAFETENSORS
    return None


def _is_packed_tar(path: str) -> bool:
    try:
        with gzip.open(path) as file:
            return file.read(262)[257:] == _TAR
    except (OSError, EOFError, zlib.error):
        return False


def _kind_of_zip(path: str) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError):
        return None
    if "config.json" in names and not {"metadata.json", "model.weights.h5"} & set(names):
        return None
    found = (kind for end, kind in _MEMBERS if any(_ends(name, end) for name in names))
    return next(found, None)


def _ends(name: str, end: str) -> bool:
    return name == end or (end != "config.json" and name.endswith(end))
