"""Are the classes and functions that a config names found by the names that were given?"""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import pytest

from finetunekit.models import file_configs


def test_what_is_known() -> None:
    entries = [
        {"class_name": "Dense", "config": {}},
        {"class_name": "GlorotUniform", "config": {}, "module": None},
        {"class_name": "Anything", "config": {}, "module": "keras.layers"},
        {"class_name": "__tensor__", "config": {}},
        {"class_name": "function", "config": "relu", "registered_name": "function"},
        {"class_name": "function", "config": "mine", "registered_name": "function"},
        {"class_name": "a>Own", "config": {"x": [{"class_name": "Own", "config": 1}]}},
    ]
    assert file_configs.unknown(entries, None) == ["mine", "Own"]
    assert file_configs.unknown(entries, {"Own": int, "mine": len}) == []
    assert file_configs.unknown({"compile_config": entries}, None) == []


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, {}),
        ({"Own": int}, {"Own": int, "my>Own": int}),
        ({"other>Own": int}, {"other>Own": int, "my>Own": int}),
        ({"my>Own": int, "Own": str}, {"my>Own": int, "Own": str}),
    ],
)
def test_short_names_stand_for_registered_ones(given: dict, wanted: dict) -> None:
    config = {"layers": [{"class_name": "Own", "registered_name": "my>Own", "config": {}}]}
    old = [{"class_name": "my>Own", "config": {}}]
    for file in (config, old):
        found = file_configs.under_all_names(file, given)
        assert {key: found[key] for key in wanted} == wanted


def test_what_is_no_config(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps([1])
    assert file_configs.read(str(path)) is None
    path.write_bytes(b"no model")
    assert file_configs.read(str(path)) is None
