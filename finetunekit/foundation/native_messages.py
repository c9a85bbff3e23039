"""What TensorFlow and LiteRT write to stderr from C++, filtered for a process of our own.

Only a command may do this: a library leaves the streams of its program alone.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_SECONDS = 5.0

# Informational lines and warnings of absl and of older TensorFlow, and what goes with them. Some
# are written whatever the level is. Errors pass, but for the one that says that there is no GPU.
_NOISE = "|".join(
    [
        r"[IW]\d{4} [\d:.]+ +\d+ \S+:\d+\] ",
        r"\d{4}-\d\d-\d\d [\d:.]+: [IW] ",
        "WARNING: All log messages before absl::InitializeLog",
        "To enable the following instructions: ",
        "INFO: (Created|Initialized) TensorFlow Lite ",
        r"E\d{4} .*failed call to cuInit",
    ]
)
# A process, not a thread: what is written just before a crash gets out too. An interrupt is for
# the process that it filters, which ends it.
_FILTER = """
import re, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
noise = re.compile(sys.argv[1].encode())
for line in iter(sys.stdin.buffer.readline, b""):
    if not noise.match(line):
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
"""


@contextlib.contextmanager
def filtered() -> Iterator[None]:
    """Keeps informational lines of C++ out of stderr; all others pass, and all that Python writes.

    TensorFlow's own level is set too, so it must not be imported yet. Whoever has set that level
    wants to see what it gives: nothing is changed then.
    """
    if _LEVEL in os.environ:
        yield
        return
    os.environ[_LEVEL] = "2"
    stderr, shown = sys.stderr, os.dup(2)
    stderr.flush()
    reader = _started(shown)
    sys.stderr = os.fdopen(
        os.dup(shown), "w", buffering=1, encoding=stderr.encoding, errors="backslashreplace"
    )
    try:
        yield
    finally:
        sys.stderr.close()
        sys.stderr = stderr
        os.dup2(shown, 2)
        os.close(shown)
        with contextlib.suppress(subprocess.TimeoutExpired):
            reader.wait(_SECONDS)  # A process that was started meanwhile may still write.


def _started(shown: int) -> subprocess.Popen[bytes]:
    """Puts the filter between descriptor 2 and what is shown."""
    read, write = os.pipe()
    command = [sys.executable, "-I", "-S", "-c", _FILTER, _NOISE]
    reader = subprocess.Popen(command, stdin=read, stdout=shown)
    os.close(read)
    os.dup2(write, 2)
    os.close(write)
    return reader
