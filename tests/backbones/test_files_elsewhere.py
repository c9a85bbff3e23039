"""Does any reader open a file that another file names?"""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import keras
import pytest
import tensorflow as tf

import finetunekit as ftk
from finetunekit.backbones import hub_checks
from finetunekit.backbones.saved_model.layer import SavedModelLayer
from finetunekit.foundation import keras_internals
from finetunekit.models import declared_sizes
from finetunekit.text import tokenizer
from keras2_files import LOOKUPS, layer, lookup_chain, write_chain


@pytest.fixture
def secret(tmp_path: Path) -> str:
    """A file of the user's that a model file of somebody else's names."""
    path = tmp_path / "secret.txt"
    path.write_text("11\n12\n")
    return str(path)


@pytest.mark.parametrize("where", ["flat", "nested", "wrapped"])
@pytest.mark.parametrize("class_name", LOOKUPS)
def test_a_vocabulary_elsewhere_is_refused(
    class_name: str, where: str, secret: str, tmp_path: Path
) -> None:
    path = write_chain(tmp_path / "m.h5", lookup_chain(class_name, where, secret))
    with pytest.raises(ValueError, match=r"'lookup'.*another file.*safe_mode=False") as caught:
        ftk.load_backbone(path)
    assert secret in str(caught.value)


def test_it_is_read_where_the_file_is_trusted(secret: str, tmp_path: Path) -> None:
    path = write_chain(tmp_path / "m.h5", lookup_chain("IntegerLookup", "flat", secret))
    loaded = ftk.load_backbone(path, safe_mode=False)
    assert loaded(tf.constant([[12], [5], [11]])).numpy().ravel().tolist() == [2, 0, 1]
    Path(secret).unlink()
    with pytest.raises(ValueError, match=r"secret\.txt', which is not there.*Put it there"):
        ftk.load_backbone(path, safe_mode=False)


def test_a_class_of_the_users_own_reads_none_either(secret: str, tmp_path: Path) -> None:
    class Lookup(keras.layers.StringLookup):
        pass

    layers = lookup_chain("StringLookup", "flat", secret)
    layers[1]["class_name"] = "Lookup"
    path = write_chain(tmp_path / "m.h5", layers)
    with pytest.raises(ValueError, match="vocabulary file"):
        ftk.load_backbone(path, custom_objects={"Lookup": Lookup})


@pytest.mark.parametrize("own", [True, False], ids=["a class of the user's own", "a stock one"])
def test_a_config_in_json_reads_none_either(own: bool, secret: str, tmp_path: Path) -> None:
    class Lookup(keras.layers.StringLookup):
        pass

    layers = lookup_chain("StringLookup", "flat", secret)
    layers[1]["class_name"] = "Lookup" if own else "StringLookup"
    path = write_chain(tmp_path / "m.h5", layers)
    with h5py.File(path) as file:
        config = json.loads(file.attrs["model_config"]) | {"keras_version": "2.9.0"}
    (tmp_path / "model.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"vocabulary file|another file"):
        ftk.load_backbone(tmp_path / "model.json", weights=path, custom_objects={"Lookup": Lookup})


def test_counting_sizes_reads_no_vocabulary(
    secret: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {
        "class_name": "Sequential",
        "config": {
            "name": "chain",
            "layers": [
                layer("StringLookup", name="lookup", vocabulary=secret),
                layer("Dense", name="large", units=10**9),
            ],
        },
    }
    read = []
    original = keras.layers.StringLookup.set_vocabulary
    monkeypatch.setattr(
        keras.layers.StringLookup,
        "set_vocabulary",
        lambda *args: original(*args) or read.append(args),
    )
    declared_sizes._needed(config, None, True)
    assert not read
    declared_sizes._needed(config, None, False)
    assert read  # What the safe mode has kept away.


def test_a_saved_model_elsewhere_is_not_packed() -> None:
    with pytest.raises(ValueError, match="damaged or malicious"):
        SavedModelLayer.from_config({"name": "it", "path": "/somewhere"})


@pytest.mark.parametrize("key", ["vocabulary", "special_tokens"])
def test_a_tokenizer_record_names_no_file(key: str, secret: str) -> None:
    pytest.importorskip("keras_hub")
    layout = {"start": 0, "end": 1, "pad": 2, "between": [], "empty": None}
    record = {"class": "BertTokenizer", "options": {key: secret}, "layout": layout}
    files = {"tokenizer.json": json.dumps({**record, "max_length": None}).encode()}
    with pytest.raises(ValueError, match=f"{key} is in another file"):
        tokenizer.from_files(files)


def test_a_hub_folder_names_no_file(secret: str, tmp_path: Path) -> None:
    config = {
        "module": "keras_hub.src.models.parseq.parseq_tokenizer",
        "class_name": "PARSeqTokenizer",
        "config": {"vocabulary": secret},
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps({"config": {"tokenizer": config}}))
    with pytest.raises(ValueError, match=r"tokenizer\.json that asks for another file"):
        hub_checks.check(str(tmp_path), {})


def test_outside_of_a_scope_keras_reads_any_file(secret: str) -> None:
    """Why the scope is needed."""
    config = {"name": "lookup", "vocabulary": secret}
    keras.layers.StringLookup.from_config(dict(config))
    with keras_internals.safe_mode_scope(True), pytest.raises(TypeError, match="disallowed"):
        keras.layers.StringLookup.from_config(dict(config))
    assert keras_internals.safe_mode_of_loading() is None
