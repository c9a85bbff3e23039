"""The reader of `torch.save`: a zip archive, or before torch 1.6 a series of pickles."""

import os
import zipfile
from typing import Any

from finetunekit.backbones.checkpoints import pickles
from finetunekit.backbones.checkpoints.pickles import Refused, Storage

# Pickles of a state dict have a few hundred bytes per tensor; the data follow.
_LARGEST_PICKLES = 256 * 2**20
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


def read(path: str) -> Any:
    """The saved object, with its tensors and their data.

    Raises:
        Refused: If it is damaged, or holds more than tensors.
    """
    with open(path, "rb") as file:
        start = file.read(4)
    if start == b"PK\x03\x04":
        try:
            return _archive(path)
        except Refused:
            raise
        except Exception as error:  # zipfile raises almost anything for a damaged archive.
            raise Refused(f"its archive is damaged ({type(error).__name__})") from error
    return _row(path)


def _archive(path: str) -> Any:
    with zipfile.ZipFile(path) as file:
        members = {member.filename: member for member in file.infolist()}
        described = [name for name in members if name.endswith("/data.pkl")]
        if len(described) != 1:
            raise Refused("it is an archive, but not one of torch")
        prefix = described[0].removesuffix("data.pkl")
        if any(name.startswith((f"{prefix}code/", f"{prefix}constants")) for name in members):
            raise Refused("it is a TorchScript program, which is code")
        if any(member.compress_type != zipfile.ZIP_STORED for member in members.values()):
            raise Refused("it is compressed, which torch does not do")
        if sum(member.file_size for member in members.values()) > os.path.getsize(path):
            raise Refused("its archive declares more data than the file holds")
        order = f"{prefix}byteorder"
        if order in members and file.read(order).strip() != b"little":
            raise Refused("its data are big endian")
        storages: dict[str, Storage] = {}
        found, _ = pickles.load(file.read(described[0]), 0, storages)
        for key, storage in storages.items():
            storage.fill(file.read(f"{prefix}data/{key}"))
    return found


def _row(path: str) -> Any:
    storages: dict[str, Storage] = {}
    with open(path, "rb") as file:
        head = file.read(_LARGEST_PICKLES)
        magic, at = pickles.load(head, 0, storages)
        if magic != _MAGIC:
            raise Refused("it does not begin like a torch file")
        protocol, at = pickles.load(head, at, storages)
        system, at = pickles.load(head, at, storages)
        little = not isinstance(system, dict) or system.get("little_endian", True)
        if protocol != _PROTOCOL or not little:
            raise Refused("it is of an unknown version, or big endian")
        found, at = pickles.load(head, at, storages)
        keys, at = pickles.load(head, at, {})
        if not isinstance(keys, list) or set(map(str, keys)) != set(storages):
            raise Refused("it lacks the data of some tensors")
        file.seek(at)
        left = os.path.getsize(path) - at
        for key in keys:
            storage = storages[str(key)]
            count = int.from_bytes(file.read(8), "little", signed=True)
            size = storage.count * storage.itemsize
            left -= 8 + size
            if count != storage.count or left < 0:
                raise Refused(f"a tensor's {storage.count:,} values are truncated")
            storage.fill(file.read(size))
    return found
