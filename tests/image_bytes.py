"""Image files of kinds that Pillow does not write, made of bytes."""

from __future__ import annotations

import struct
import zlib

import numpy as np

_PNG_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}  # Channels -> colour type.


def png_16(values: np.ndarray) -> bytes:
    """A PNG file of 16-bit values `(height, width, channels)`."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(name: bytes, content: bytes) -> bytes:
        checked = name + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, 16, _PNG_COLOURS[channels], 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def tiff_16(
    values: np.ndarray,
    *,
    order: str = "<",
    packed: bool = False,
    orientation: int = 1,
    white_is_zero: bool = False,
) -> bytes:
    """A TIFF file of 16-bit values `(height, width, channels)`, in one strip."""
    height, width, channels = values.shape
    pixels = values.astype(f"{order}u2").tobytes()
    if packed:
        pixels = zlib.compress(pixels)
    start, end = 8, 8 + len(pixels)
    end += end % 2
    bits = struct.pack(f"{order}{channels}H", *[16] * channels)
    tags = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, channels, None),
        (259, 3, 1, 8 if packed else 1),
        (262, 3, 1, 2 if channels > 2 else int(not white_is_zero)),
        (273, 4, 1, start),
        (274, 3, 1, orientation),
        (277, 3, 1, channels),
        (278, 3, 1, height),
        (279, 4, 1, len(pixels)),
    ]
    if channels == 4:
        tags.append((338, 3, 1, 2))  # The fourth channel is an opacity.
    after = end + 2 + 12 * len(tags) + 4
    entries = b""
    for tag, kind, count, value in tags:
        entries += struct.pack(f"{order}HHI", tag, kind, count)
        if value is None:
            entries += bits.ljust(4, b"\0") if len(bits) <= 4 else struct.pack(f"{order}I", after)
        else:
            entries += struct.pack(f"{order}{'H' if kind == 3 else 'I'}", value).ljust(4, b"\0")
    header = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, end)
    file = (header + pixels).ljust(end, b"\0")
    return file + struct.pack(f"{order}H", len(tags)) + entries + b"\0" * 4 + bits
