"""Is a file that is no model called what it is?"""

from __future__ import annotations

from pathlib import Path

import keras
import pytest

import finetunekit as ftk
from finetunekit.backbones import hub_checks
from finetunekit.foundation.contents import mistaken

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
PAGE = b"\n<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>"
ANSWER = b'{"message": "Not Found", "status": "404"}'
KINDS = {
    "empty, or holds zeros only": b"",
    "zeros only": bytes(100),
    "Git LFS pointer.*git lfs pull": POINTER,
    "web page.*Sign in.*direct link": PAGE,
    "XML message.*AccessDenied": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "JSON.*Not Found": ANSWER,
    "compressed by gzip": b"\x1f\x8b\x08\x00",
    "TensorFlow Lite": b"\x1c\x00\x00\x00TFL3\x00",
}


@pytest.mark.parametrize("ending", [".h5", ".hdf5", ".keras", ".pth", ".safetensors"])
@pytest.mark.parametrize("words", KINDS)
def test_it_is_named_with_the_cure(words: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{ending}"
    path.write_bytes(KINDS[words])
    with pytest.raises(
        (ValueError, OSError), match=f"`source` is .*{words}".replace(".*empty", "empty")
    ) as caught:
        ftk.load_backbone(path)
    assert str(caught.value).endswith(f"Received: source={str(path)!r}")
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize("words", list(KINDS)[:5])
def test_weights_and_configs_too(words: str, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    for ending, load in (
        (".keras", lambda path: ftk.load_weights(model, path)),
        (".json", lambda path: ftk.load_backbone(path, weights=path)),
    ):
        path = tmp_path / f"model{ending}"
        path.write_bytes(KINDS[words])
        with pytest.raises(
            (ValueError, OSError), match=f"` is .*{words}".replace(".*empty", "empty")
        ):
            load(path)


@pytest.mark.parametrize(
    "content",
    [b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"text", b'{"class_name": "Model"}', b"{ not json"],
)
def test_others_are_left_to_their_readers(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert mistaken(str(path)) == ""


@pytest.mark.parametrize(
    ("content", "words"), [(POINTER, "Git LFS pointer"), (b"\xff" * 20, "damaged or truncated")]
)
def test_a_graph_of_a_saved_model(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(content)
    with pytest.raises(
        ValueError, match=f"`source` is a folder whose saved_model.pb .*{words}"
    ) as e:
        ftk.load_backbone(tmp_path)
    assert str(e.value).endswith(f"Received: source={str(tmp_path)!r}")


def test_the_weights_of_a_hub_folder(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(POINTER)
    with pytest.raises(ValueError, match=r"model\.safetensors that is a Git LFS pointer"):
        hub_checks.check(str(tmp_path), {})
