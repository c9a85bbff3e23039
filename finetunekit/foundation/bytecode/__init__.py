"""Python bytecode in files: which Python wrote it, and can this one run it?

Python does not check bytecode: that of another version crashes the process, or computes something
else. It has no version inside it either, as it has in a `.pyc` file; so its form has to tell.
"""

import marshal
import sys
from types import CodeType

from finetunekit.foundation.bytecode import marshalled, stack, writers


class Foreign(ValueError):
    """Bytecode that this Python must not run; the message says which Python wrote it."""


def load(data: bytes) -> CodeType:
    """The code in a marshalled function, after a check that this Python can run it.

    Args:
        data: What `marshal.dumps(function.__code__)` gave.

    Returns:
        The code; nothing of it was run.

    Raises:
        Foreign: If another version of Python wrote it, or it is damaged.
    """
    here = sys.version_info[:2]
    try:
        found = marshalled.read(data)
    except marshalled.Unknown as error:
        raise Foreign(f"{error} (this is Python {here[0]}.{here[1]})") from error
    versions = writers.candidates(found)
    written = (
        f"it was written by Python {writers.listed(versions)}, and this is Python "
        f"{here[0]}.{here[1]}"
    )
    # Even to read it may crash where the version differs.
    if here not in versions or writers.is_ambiguous(found):
        raise Foreign(written)
    try:
        code = marshal.loads(data)
    except Exception as error:  # A damaged one may raise anything, SystemError for one.
        raise Foreign(f"it is damaged ({type(error).__name__})") from error
    if not isinstance(code, CodeType) or not stack.runs_here(code):
        others = [version for version in versions if version != here]
        raise Foreign(
            f"it was written by Python {writers.listed(others)}" if others else "it is damaged"
        )
    return code
