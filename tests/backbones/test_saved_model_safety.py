"""Is a hostile or damaged SavedModel refused before anything of it runs?"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import finetunekit as ftk
import saved_model_fixtures as fixtures
from finetunekit.backbones.saved_model import SavedModelLayer, folder, harmless_ops, read

HARMFUL = """
    Abort BatchFunction CollectiveReduce CopyHost DataServiceDatasetV4 DebugIdentityV2 DecodeProtoV2
    EagerPyFunc FileSystemSetConfiguration FixedUnigramCandidateSampler GenerateVocabRemapping
    ImmutableConst InitializeTableFromTextFileV2 IteratorGetNext LMDBReader LoadAndRemapMatrix
    LoadDataset MatchingFiles MergeV2Checkpoints PrintV2 PyFunc PyFuncStateless QueueDequeueV2
    ReadFile RecordInput RemoteCall RestoreV2 SaveV2 SdcaOptimizerV2 Send TFRecordDatasetV2
    TextLineDataset WholeFileReaderV2 WriteFile WriteSummary XlaConcatND
""".split()


@pytest.fixture
def harmless(tmp_path: Path) -> Path:
    return Path(fixtures.reusable(tmp_path / "harmless"))


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    return Path(fixtures.file_writer(tmp_path / "outer"))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that TensorFlow was told to load."""
    seen: list[str] = []
    load = tf.saved_model.load

    def noted(path: str, **options: Any) -> Any:
        seen.append(path)
        return load(path, **options)

    monkeypatch.setattr(tf.saved_model, "load", noted)
    return seen


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where private copies go to."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(folder.tempfile, "tempdir", str(place))
    return place


def digests(root: Path) -> dict[str, str]:
    files = [file for file in root.rglob("*") if file.is_file()]
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def change(path: Path, edit: Callable[[Any], None]) -> None:
    """Edits the graph of a SavedModel."""
    message = saved_model_pb2.SavedModel()
    message.ParseFromString((path / "saved_model.pb").read_bytes())
    edit(message.meta_graphs[0])
    (path / "saved_model.pb").write_bytes(message.SerializeToString())


def add_secret(function: Any) -> None:
    """A constant with the path of a file that is none of the SavedModel's."""
    constant = function.node_def.add(name="secret", op="Const")
    constant.attr["value"].tensor.string_val.append(b"/secret")


class TestOps:
    def test_a_file_writer_is_refused_before_anything_happens(
        self, hostile: Path, opened: list[str], copies: Path
    ) -> None:
        before = digests(hostile.parent)
        with pytest.raises(ValueError, match=r"'WriteFile'.*safe_mode=False"):
            read(str(hostile), safe_mode=True)
        with pytest.raises(ValueError, match="WriteFile"):
            SavedModelLayer(hostile)
        assert not opened
        assert not list(copies.iterdir())
        assert digests(hostile.parent) == before

    def test_without_safe_mode_it_loads_and_does_what_it_does(self, hostile: Path) -> None:
        model = read(str(hostile), safe_mode=False)
        assert not (hostile.parent / "written").exists()
        model(np.ones((1, 2), "float32"))
        assert (hostile.parent / "written").exists()

    @pytest.mark.filterwarnings("ignore:Skipping nested container:UserWarning")
    def test_inside_of_a_keras_file(self, hostile: Path, tmp_path: Path, opened: list[str]) -> None:
        model = read(str(hostile), safe_mode=False)
        ftk.save(model, tmp_path / "m.keras")
        opened.clear()
        for load in (keras.saving.load_model, ftk.load, ftk.load_backbone):
            with pytest.raises(ValueError, match=r"WriteFile.*safe_mode=False"):
                load(tmp_path / "m.keras")
        assert not opened
        assert not (hostile.parent / "written").exists()
        loaded = ftk.load(tmp_path / "m.keras", safe_mode=False)
        assert loaded.count_params() == 1

    def test_python_functions_and_reading(self, tmp_path: Path) -> None:
        class Reader(tf.Module):
            @tf.function(input_signature=[tf.TensorSpec((), tf.string)])
            def __call__(self, name: Any) -> Any:
                return tf.py_function(lambda x: x, [tf.io.read_file(name)], tf.string)

        path = fixtures.saved(Reader(), tmp_path / "m")
        with pytest.raises(ValueError, match="'EagerPyFunc', 'ReadFile'"):
            read(path, safe_mode=True)

    def test_a_checkpoint_op_outside_of_the_saver(self, harmless: Path) -> None:
        def save_when_called(graph: Any) -> None:
            function = next(
                f
                for f in graph.graph_def.library.function
                if "traced_save" not in f.signature.name
                and "traced_restore" not in f.signature.name
            )
            function.node_def.add(name="hidden", op="SaveV2")

        read(str(harmless), safe_mode=True)
        change(harmless, save_when_called)
        with pytest.raises(ValueError, match="'SaveV2'"):
            read(str(harmless), safe_mode=True)

    def test_a_saver_that_is_a_function_too(self, harmless: Path) -> None:
        """A call function must not run the saver's function either."""

        def call_the_saver(graph: Any) -> None:
            functions = {f.signature.name: f for f in graph.graph_def.library.function}
            saver = next(name for name in functions if "traced_save" in name)
            concrete = next(iter(graph.object_graph_def.concrete_functions))
            node = functions[concrete].node_def.add(name="hidden", op="StatefulPartitionedCall")
            node.attr["f"].func.name = saver

        change(harmless, call_the_saver)
        with pytest.raises(ValueError, match="'MergeV2Checkpoints', 'SaveV2'"):
            read(str(harmless), safe_mode=True)

    def test_a_restore_op_that_saves(self, tmp_path: Path) -> None:
        """TensorFlow 1's loader runs whatever node is called the restore op."""
        path = Path(fixtures.version_one(tmp_path / "v1"))

        def restore_by_saving(graph: Any) -> None:
            graph.saver_def.restore_op_name = next(
                node.name for node in graph.graph_def.node if node.op == "SaveV2"
            )

        read(str(path), safe_mode=True)
        change(path, restore_by_saving)
        with pytest.raises(ValueError, match="'SaveV2'"):
            read(str(path), safe_mode=True)

    @pytest.mark.parametrize("how", ["constant", "captured", "given", "asset"])
    def test_tables_read_assets_only(self, how: str, tmp_path: Path) -> None:
        path = Path(fixtures.with_table(tmp_path / "outer"))

        def read_another_file(graph: Any) -> None:
            functions = {f.signature.name: f for f in graph.graph_def.library.function}
            starts = next(name for name in functions if "initializer" in name)
            concrete = graph.object_graph_def.concrete_functions
            if how == "asset":
                graph.asset_file_def[0].filename = "../../../secret.txt"
            elif how == "captured":
                objects = graph.object_graph_def.nodes
                kinds = [thing.WhichOneof("kind") for thing in objects]
                concrete[starts].bound_inputs[0] = kinds.index("constant")
            elif how == "given":
                caller = functions[next(name for name in concrete if "call" in name)]
                add_secret(caller)
                node = caller.node_def.add(name="hidden", op="StatefulPartitionedCall")
                node.input.extend(["secret:output:0", caller.signature.input_arg[1].name])
                node.attr["f"].func.name = starts
            else:
                add_secret(functions[starts])
                for node in functions[starts].node_def:
                    if node.op == "InitializeTableFromTextFileV2":
                        node.input[1] = "secret:output:0"

        read(str(path), safe_mode=True)
        change(path, read_another_file)
        with pytest.raises(ValueError, match=r"InitializeTable|outside its own folder"):
            read(str(path), safe_mode=True)

    def test_assets_of_tensorflow_1(self, tmp_path: Path) -> None:
        path = Path(fixtures.version_one_words(tmp_path / "outer"))

        def escape(graph: Any) -> None:
            packed = graph.collection_def["saved_model_assets"].any_list.value[0]
            asset = type(graph).FromString(graph.SerializeToString()).asset_file_def.add()
            packed.Unpack(asset)
            asset.filename = "../../secret.txt"
            packed.Pack(asset)

        read(str(path), safe_mode=True)
        change(path, escape)
        with pytest.raises(ValueError, match="outside its own folder"):
            read(str(path), safe_mode=True)

    def test_a_constant_of_an_absurd_size(self, harmless: Path) -> None:
        def swell(graph: Any) -> None:
            node = graph.graph_def.node.add(name="huge", op="Const")
            node.attr["value"].tensor.tensor_shape.dim.add(size=2**40)

        change(harmless, swell)
        with pytest.raises(ValueError, match="exceeds its size limit"):
            read(str(harmless), safe_mode=True)

    def test_an_unknown_op_is_refused(self, harmless: Path) -> None:
        change(harmless, lambda graph: graph.graph_def.node.add(name="x", op="NeverHeardOf"))
        with pytest.raises(ValueError, match="'NeverHeardOf'"):
            read(str(harmless), safe_mode=True)

    def test_the_list(self) -> None:
        """Every op on it exists, and none of those that are known to do harm is on it."""
        assert len(harmless_ops.HARMLESS) == 929, "docs/guide/saved_models.md gives the number"
        assert not harmless_ops.HARMLESS & set(HARMFUL)
        assert not [name for name in harmless_ops.HARMLESS if not hasattr(tf.raw_ops, name)]
        words = ("File", "Dataset", "Summary", "PyFunc", "Debug", "Reader", "Queue", "Print", "TPU")
        assert not [n for n in harmless_ops.HARMLESS if any(word in n for word in words)]


class TestFiles:
    def test_cut_short_anywhere(self, harmless: Path, tmp_path: Path) -> None:
        files = [
            file for file in harmless.rglob("*") if file.is_file() and "finger" not in file.name
        ]
        for file in files:
            size = file.stat().st_size
            for part in (0, 0.1, 0.5, 0.9, 0.99):
                broken = shutil.copytree(harmless, tmp_path / f"{file.name}{part}")
                os.truncate(broken / file.relative_to(harmless), int(size * part))
                with pytest.raises(ValueError, match="Received: path="):
                    read(str(broken), safe_mode=True)

    @pytest.mark.parametrize("name", ["variables.index", "variables.data-00000-of-00001"])
    def test_a_file_of_the_variables_is_missing(self, harmless: Path, name: str) -> None:
        (harmless / "variables" / name).unlink()
        with pytest.raises(ValueError, match="lacks files of its variables"):
            read(str(harmless), safe_mode=True)

    def test_no_saved_model(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("")
        with pytest.raises(ValueError, match=r"there are 'notes.txt'"):
            read(str(tmp_path), safe_mode=True)
        with pytest.raises(FileNotFoundError, match="Received: path="):
            read(str(tmp_path / "nowhere"), safe_mode=True)
        with pytest.raises(TypeError, match="Received: path=3"):
            SavedModelLayer(3)

    def test_a_link_to_the_outside(self, harmless: Path, tmp_path: Path) -> None:
        shard = harmless / "variables" / "variables.data-00000-of-00001"
        shutil.move(shard, tmp_path / "elsewhere")
        shard.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(ValueError, match="link to a file outside"):
            read(str(harmless), safe_mode=True)
        assert read(str(harmless), safe_mode=False).count_params() == 73

    def test_only_what_was_checked_is_loaded(self, harmless: Path, hostile: Path) -> None:
        """TensorFlow would prefer another file of the folder to saved_model.pb."""
        (harmless / "saved_model.cpb").write_bytes((hostile / "saved_model.pb").read_bytes())
        layer = SavedModelLayer(harmless)
        kept = os.listdir(layer._contents.opened.folder.path)
        assert sorted(kept) == ["saved_model.pb", "variables"]

    @pytest.mark.filterwarnings("ignore:Skipping nested container:UserWarning")
    def test_a_keras_file_without_its_savedmodel(
        self, harmless: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import zipfile

        ftk.save(read(str(harmless), safe_mode=True), tmp_path / "m.keras")
        with (
            zipfile.ZipFile(tmp_path / "m.keras") as whole,
            zipfile.ZipFile(tmp_path / "cut.keras", "w") as cut,
        ):
            for name in whole.namelist():
                if "saved_model.pb" not in name:
                    cut.writestr(name, whole.read(name))
        monkeypatch.setattr(folder, "living", lambda *args, **options: None)
        with pytest.raises(ValueError, match="must be a SavedModel folder"):
            ftk.load(tmp_path / "cut.keras")
