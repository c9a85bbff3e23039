"""The memory that features may take."""

import re
from typing import Any

from finetunekit.foundation import arguments

_UNITS = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}


def limit_of(memory_limit: Any) -> int:
    """The limit in bytes; by default half of the memory that is free now.

    Raises:
        ValueError: If it is neither a positive number of bytes nor such as `"2 GB"`.
    """
    if memory_limit is None:
        return available() // 2
    if isinstance(memory_limit, str):
        found = re.fullmatch(r"\s*([\d.]+)\s*([a-zA-Z]+)\s*", memory_limit)
        if found and found[2].lower() in _UNITS and found[1].count(".") < 2:
            return int(float(found[1]) * _UNITS[found[2].lower()])
    elif arguments.is_number(memory_limit) and memory_limit > 0:
        return int(memory_limit)
    raise ValueError(
        "`memory_limit` must be a positive number of bytes, or a text such as '2 GB'. "
        f"Received: memory_limit={memory_limit!r}"
    )


def available() -> int:
    """The bytes of memory that are free, as far as the system tells; else 4 GiB."""
    try:
        with open("/proc/meminfo") as file:
            rows = dict(line.split(":", 1) for line in file)
        return int(rows["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return 4 * 2**30


def size_text(count: float) -> str:
    """`2.6 MB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1000
    raise AssertionError
