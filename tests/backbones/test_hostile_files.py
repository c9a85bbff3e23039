"""Do damaged and hostile model files end in an error, with nothing run, written or filled?"""

from __future__ import annotations

import json
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

import finetunekit as ftk
from keras2_models import make, rewrite, save
from models import small_backbone
from parameters import often

KINDS = ("keras2.h5", "keras2.keras", "keras3.h5", "keras3.keras")
ERRORS = (ValueError, OSError)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    made, _, _ = make("cnn")
    save(made, folder / "keras2.h5")
    save(made, folder / "keras2.keras")
    small_backbone().save(folder / "keras3.h5")
    small_backbone().save(folder / "keras3.keras")
    return folder


def refused(path: Path, match: str | None = None) -> str:
    """The file must end in an error of ours."""
    before = sorted(path.parent.rglob("*"))
    with pytest.raises(ERRORS, match=match) as caught:
        ftk.load_backbone(path)
    assert "`source`" in str(caught.value)
    assert str(path) in str(caught.value)
    assert "finetunekit" in str(caught.traceback[-1].path)
    assert sorted(path.parent.rglob("*")) == before
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_cut_short_at_twenty_places(kind: str, originals: Path, tmp_path: Path) -> None:
    content = (originals / kind).read_bytes()
    path = tmp_path / kind
    for part in range(20):
        path.write_bytes(content[: len(content) * part // 20])
        refused(path)


@pytest.mark.parametrize("kind", KINDS)
def test_overwritten_with_noise(kind: str, originals: Path, tmp_path: Path) -> None:
    """Anything may come of it, but no crash and no foreign error."""
    content = bytearray((originals / kind).read_bytes())
    path = tmp_path / kind
    random = np.random.default_rng(0)
    for _ in range(10):
        damaged = content.copy()
        start = int(random.integers(0, len(content) - 64))
        damaged[start : start + 64] = random.bytes(64)
        path.write_bytes(damaged)
        error = None
        try:
            ftk.load_backbone(path)
        except ERRORS as caught:
            error = str(caught)
        assert error is None or "`source`" in error


# Archives.


def add_member(path: Path, name: str, content: bytes, link: bool = False) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        member = zipfile.ZipInfo(name)
        member.compress_type = zipfile.ZIP_DEFLATED
        member.external_attr = ((stat.S_IFLNK if link else stat.S_IFREG) | 0o644) << 16
        archive.writestr(member, content)


@pytest.mark.parametrize("kind", ["keras2.keras", "keras3.keras"])
@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("../outside.txt", "outside (of )?its folder"),
        ("/tmp/outside.txt", "outside (of )?its folder"),
        ("assets/../../outside.txt", "outside (of )?its folder"),
        ("assets\\..\\..\\outside.txt", "outside (of )?its folder"),
        ("link", "is a link"),
    ],
)
def test_archives_that_reach_outside(
    kind: str, name: str, match: str, originals: Path, tmp_path: Path
) -> None:
    path = tmp_path / "inner" / kind
    path.parent.mkdir()
    path.write_bytes((originals / kind).read_bytes())
    add_member(path, name, b"/etc/passwd", link=name == "link")
    refused(path, match)
    assert not (tmp_path / "outside.txt").exists()
    with pytest.raises(ValueError, match=match):
        ftk.load(path)


@pytest.mark.parametrize("kind", often(["keras2.keras", "keras3.keras"], ("keras3.keras",)))
@pytest.mark.parametrize("name", ["model.weights.h5", "config.json", "assets/more"])
def test_archives_that_unpack_to_a_thousandfold(
    kind: str, name: str, originals: Path, tmp_path: Path
) -> None:
    path = tmp_path / kind
    with zipfile.ZipFile(originals / kind) as archive:
        members = {entry: archive.read(entry) for entry in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, content in members.items():
            if entry != name:
                archive.writestr(entry, content)
        archive.writestr(name, bytes(300 * 2**20))
    refused(path, "would unpack to|declares")


# HDF5.


def hdf5(originals: Path, tmp_path: Path, kind: str, change: Callable[[h5py.File], None]) -> Path:
    path = tmp_path / kind
    path.write_bytes((originals / kind).read_bytes())
    with h5py.File(path, "r+") as file:
        change(file)
    return path


@pytest.mark.parametrize("kind", ["keras2.h5", "keras3.h5"])
def test_links_to_other_files(kind: str, originals: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "secret.h5"
    other.parent.mkdir()
    with h5py.File(other, "w") as file:
        file["numbers"] = np.ones(3)

    def linked(file: h5py.File) -> None:
        name = next(iter(file["model_weights"]))
        del file["model_weights"][name]
        file["model_weights"][name] = h5py.ExternalLink(str(other), "/numbers")

    refused(hdf5(originals, tmp_path, kind, linked), "link to another file")


@pytest.mark.parametrize("kind", ["keras2.h5", "keras3.h5"])
def test_numbers_that_are_declared_and_not_there(
    kind: str, originals: Path, tmp_path: Path
) -> None:
    def absurd(file: h5py.File) -> None:
        def widen(config: Any) -> Any:
            for layer in config["config"]["layers"]:
                if layer["class_name"] == "Dense":
                    layer["config"]["units"] = 10**11
            return config

        config = widen(json.loads(file.attrs["model_config"]))
        file.attrs["model_config"] = json.dumps(config)
        group = next(g for name, g in file["model_weights"].items() if name[:3] in ("den", "fea"))
        names = list(group.attrs["weight_names"])
        rows = group[names[0]].shape[0]
        for name, shape in zip(names, [(rows, 10**11), (10**11,)], strict=True):
            del group[name]
            group.create_dataset(name, shape, "f4", chunks=(1,) * (len(shape) - 1) + (1024,))

    refused(hdf5(originals, tmp_path, kind, absurd), "declares|bytes of memory")


def _not_numbered(root: h5py.Group) -> None:
    stored = root["layers/dense/vars"]
    stored.move("0", "first")


def _numbers_for_layers(root: h5py.Group) -> None:
    del root["layers"]
    root["layers"] = np.zeros(3)


def _circle(root: h5py.Group) -> None:
    root["layers/dense/again"] = root["layers/dense"]


def _numbers_for_variables(root: h5py.Group) -> None:
    del root["layers/dense/vars"]
    root["layers/dense/vars"] = np.zeros(3)


def _nothing(root: h5py.Group) -> None:
    del root["layers/dense"]


@pytest.mark.parametrize(
    "change", [_not_numbered, _numbers_for_layers, _circle, _numbers_for_variables, _nothing]
)
def test_weights_that_stand_elsewhere(
    change: Callable[[h5py.Group], None], originals: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(originals / "keras2.keras") as archive:
        members = {entry: archive.read(entry) for entry in archive.namelist()}
    inside = tmp_path / "inside" / "model.weights.h5"
    inside.parent.mkdir()
    inside.write_bytes(members["model.weights.h5"])
    with h5py.File(inside, "r+") as file:
        change(file)
    members["model.weights.h5"] = inside.read_bytes()
    path = tmp_path / "keras2.keras"
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in members.items():
            archive.writestr(entry, content)
    refused(path)


def test_a_layer_of_absurd_size(originals: Path, tmp_path: Path) -> None:
    path = tmp_path / "keras2.h5"
    path.write_bytes((originals / "keras2.h5").read_bytes())

    def widen(config: Any) -> Any:
        config["config"]["layers"][1]["config"]["filters"] = 10**12
        return config

    rewrite(path, widen)
    refused(path, "takes the weights|do not fit|cannot be called")


# Code.


def test_bytecode_in_files_of_keras_2_does_not_run(tmp_path: Path) -> None:
    import tf_keras

    marker = tmp_path / "marker"
    text = f"lambda x: (open({str(marker)!r}, 'w').close(), x)[1]"
    i = tf_keras.Input((3,))
    made = tf_keras.Model(i, tf_keras.layers.Lambda(eval(text), name="evil")(i))
    for ending in (".h5", ".keras"):
        path = save(made, tmp_path / f"model{ending}")
        marker.unlink(missing_ok=True)
        refused(path, "'evil' is Python bytecode")
        assert not marker.exists()
    ftk.load_backbone(path, safe_mode=False)
    assert marker.exists()  # The test can fail.


def test_bytecode_as_an_activation_does_not_run(originals: Path, tmp_path: Path) -> None:
    path = tmp_path / "keras2.h5"
    path.write_bytes((originals / "keras2.h5").read_bytes())

    def poisoned(config: Any) -> Any:
        code = {"class_name": "__lambda__", "config": {"code": "4wEAAAA=", "defaults": None}}
        config["config"]["layers"][1]["config"]["activation"] = code
        return config

    rewrite(path, poisoned)
    refused(path, "bytecode")


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.filterwarnings("ignore:.*lambda")
def test_bytecode_in_files_of_keras_3_does_not_run(ending: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    text = f"lambda x: (open({str(marker)!r}, 'w').close(), x)[1]"
    i = keras.Input((3,))
    path = tmp_path / f"model{ending}"
    keras.Model(i, keras.layers.Lambda(eval(text), output_shape=(3,))(i)).save(path)
    marker.unlink(missing_ok=True)
    refused(path, "safe_mode=False")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("class_name", "config"),
    [
        ("os>system", {"command": "touch marker", "name": "x"}),
        ("__import__", {"name": "os"}),
        ("Layer", {"name": "x", "__class__": 1}),
        ("_keras", {"name": "x"}),
    ],
)
def test_classes_that_are_no_layers(
    class_name: str, config: dict, originals: Path, tmp_path: Path
) -> None:
    path = tmp_path / "keras2.h5"
    path.write_bytes((originals / "keras2.h5").read_bytes())

    def replaced(whole: Any) -> Any:
        whole["config"]["layers"][3] |= {"class_name": class_name, "config": config}
        return whole

    rewrite(path, replaced)
    refused(path)


# Configurations.


@pytest.mark.parametrize(
    "config",
    [
        "",
        "no JSON",
        "[]",
        "{}",
        '{"class_name": "Functional", "config": {}}',
        '{"class_name": "Functional", "config": {"layers": []}}',
        '{"class_name": "Sequential", "config": {"layers": [1]}}',
        '{"class_name": "Functional", "config": {"layers": [], "input_layers": [["a", 0, 0]], '
        '"output_layers": []}}',
        "[" * 100_000,
        '{"a":' * 100_000,
    ],
)
def test_configurations_of_no_model(config: str, originals: Path, tmp_path: Path) -> None:
    path = tmp_path / "keras2.h5"
    path.write_bytes((originals / "keras2.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        file.attrs.create("model_config", config[:60_000])
    refused(path)


def test_models_nested_without_end(originals: Path, tmp_path: Path) -> None:
    path = tmp_path / "keras2.h5"
    path.write_bytes((originals / "keras2.h5").read_bytes())
    config: Any = {"class_name": "Dense", "config": {"name": "last", "units": 1}}
    for number in range(100):
        inner = {"name": f"m{number}", "layers": [config]}
        config = {"class_name": "Sequential", "config": inner}
    rewrite(path, lambda _: config)
    refused(path, "nested more than")


def test_layers_that_wait_for_each_other(originals: Path, tmp_path: Path) -> None:
    path = tmp_path / "keras2.h5"
    path.write_bytes((originals / "keras2.h5").read_bytes())

    def circle(config: Any) -> Any:
        layers = config["config"]["layers"]
        layers[1]["inbound_nodes"] = [[[layers[-1]["config"]["name"], 0, 0, {}]]]
        return config

    rewrite(path, circle)
    refused(path, "come from nowhere")


def test_a_function_of_constants_is_not_computed(originals: Path, tmp_path: Path) -> None:
    path = tmp_path / "keras2.h5"
    path.write_bytes((originals / "keras2.h5").read_bytes())

    def added(config: Any) -> Any:
        layer = {"class_name": "TFOpLambda", "name": "big"}
        layer["config"] = {"name": "big", "function": "tile"}
        layer["inbound_nodes"] = [["_CONSTANT_VALUE", -1, [1.0], {"multiples": [10**13]}]]
        config["config"]["layers"].append(layer)
        return config

    rewrite(path, added)
    refused(path, "no tensor among its arguments")
