"""Functions that Python 2.7 to 3.13 have compiled and marshalled, for tests of bytecode."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

# By version and name.
SAMPLES: dict[str, dict[str, str]] = json.loads(
    Path(__file__).with_suffix(".json").read_text("utf-8")
)
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
CASES = [(version, name) for version, functions in SAMPLES.items() for name in functions]


def sample(version: str, name: str) -> bytes:
    """A marshalled code object."""
    return base64.b64decode(SAMPLES[version][name])
