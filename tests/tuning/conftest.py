"""What the tests of `fine_tune` share."""

from __future__ import annotations

import pytest

from finetunekit.tuning import run
from tuning_calls import Asked


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    found = Asked()
    monkeypatch.setattr(run, "fit_in_stages", found)
    return found
