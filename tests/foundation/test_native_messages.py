"""Do informational lines of C++ stay out of stderr, and does all else get through, in order?"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

NOISE = """\
WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795863591.981985   24152 port.cc:153] oneDNN custom operations are on.
W0000 00:00:1795863591.981985   24152 gpu_device.cc:2430] Cannot dlopen some GPU libraries.
2024-05-01 10:20:30.123456: I tensorflow/core/platform/cpu_feature_guard.cc:210] This binary
To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
E0000 00:00:1795863602.446091   24152 cuda_platform.cc:52] failed call to cuInit: INTERNAL
"""
WORTH = """\
E0000 00:00:1795863602.446091   24152 allocator.cc:52] out of memory
F0000 00:00:1795863602.446091   24152 tensor.cc:52] Check failed: dims == 2
2024-05-01 10:20:30.123456: E tensorflow/core/a.cc:1] an error of C++
finetunekit: the data are odd
INFO: a line of somebody else
a line that has no end"""

# Lines of C++ go to the descriptor; those of Python to sys.stderr.
PROGRAM = """
import os, sys
from finetunekit.foundation import native_messages
with native_messages.filtered():
    os.write(2, {native!r}.encode())
    print("I0000 00:00:17.9   24152 port.cc:153] said by Python", file=sys.stderr)
    {end}
print("after", file=sys.stderr)
"""


def stderr_of(native: str, end: str = "pass", **environment: str) -> str:
    kept = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(native=native, end=end)],
        env={**kept, **environment},
        capture_output=True,
        text=True,
    )
    return done.stderr


def test_noise_is_left_out_and_errors_pass() -> None:
    shown = stderr_of(NOISE + WORTH)
    assert not [line for line in NOISE.splitlines() if line in shown]
    assert WORTH in shown
    assert "said by Python" in shown
    assert shown.endswith("after\n") or shown.endswith("no end")


@pytest.mark.parametrize("end", ["os.abort()", "os._exit(3)", "raise ValueError('why')"])
def test_what_is_written_before_the_end_gets_out(end: str) -> None:
    shown = stderr_of(WORTH, end)
    assert "Check failed: dims == 2" in shown
    assert ("ValueError: why" in shown) == ("why" in end)


def test_a_level_that_the_user_has_set_changes_nothing() -> None:
    assert stderr_of(NOISE, TF_CPP_MIN_LOG_LEVEL="0").startswith(NOISE)


def test_the_level_is_set_for_tensorflow() -> None:
    assert stderr_of("", "print(os.environ['TF_CPP_MIN_LOG_LEVEL'], file=sys.stderr)").count("2\n")
