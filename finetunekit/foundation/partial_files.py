"""Files that are written whole or not at all: beside their target, then in its place."""

import contextlib
import os
import re
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_DAY = 86_400.0


@contextlib.contextmanager
def partial_file(target: str, suffix: str = "") -> Iterator[str]:
    """A new empty file beside a target, which takes its place if the block ends without an error.

    Its name has the target and this process in it. Files that processes have left for this target
    which were killed are removed.

    Args:
        target: The file to be.
        suffix: How the name of the partial one must end.
    """
    clear_stale(target)
    handle, name = tempfile.mkstemp(suffix, _prefix(target), os.path.dirname(target) or ".")
    os.close(handle)
    try:
        os.chmod(name, 0o666 & ~_umask())  # `mkstemp` gives it to its owner alone.
        yield name
        os.replace(name, target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def clear_stale(target: str) -> None:
    """Removes the partial files of a target whose processes are gone.

    One of another machine is left for a day: whether its process lives cannot be asked from here.
    """
    whose = re.compile(rf"{re.escape(_begin(target))}(?P<host>.+)-(?P<pid>\d+)-\w+(\.\w+)?")
    for file in Path(os.path.dirname(target) or ".").iterdir():
        found = whose.fullmatch(file.name)
        if found is not None and _is_stale(file, found["host"], int(found["pid"])):
            with contextlib.suppress(OSError):  # Another process may have been faster.
                file.unlink()


def _begin(target: str) -> str:
    return f".saving-{os.path.basename(target)[:100]}-"


def _prefix(target: str) -> str:
    return f"{_begin(target)}{socket.gethostname()[:64]}-{os.getpid()}-"


def _is_stale(file: Path, host: str, process: int) -> bool:
    if host == socket.gethostname()[:64]:
        return not _lives(process)
    with contextlib.suppress(OSError):
        return time.time() - file.stat().st_mtime > _DAY
    return False


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # It is another user's.
        return True
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
