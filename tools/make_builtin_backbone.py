"""Where does `finetunekit/backbones/mobilenet_v2.npz` come from? This command makes it.

    python tools/make_builtin_backbone.py PATH/mobilenet_v2-b0353104.pth [--output FILE]

The source is torchvision's MobileNetV2 for ImageNet-1k, in the format that torch.save wrote before
PyTorch 1.6: five pickles, then the raw numbers. It is read with numpy alone, and nothing in it can
run. The same source always gives the same bytes.
"""

import argparse
import hashlib
import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

SOURCE_SHA256 = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"
OUTPUT = Path(__file__).resolve().parents[1] / "finetunekit" / "backbones" / "mobilenet_v2.npz"

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_TOP = "predictions"
# What the pickle module raises for a damaged file, besides its own error.
_DAMAGED = (EOFError, TypeError, AttributeError, ValueError, LookupError)
_BATCH_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


class _Storage(NamedTuple):
    dtype: str
    key: str
    size: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    requires_grad: bool
    hooks: Any


# All that the file may name. Each is plain data or a constructor of plain data.
_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch", "FloatStorage"): "<f4",
    ("torch", "LongStorage"): "<i8",
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not allowed")
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        _, dtype, key, _, size, _ = pid
        return _Storage(dtype, key, size)


def check_source(path: Path) -> None:
    """Checks that `path` is the one file that the shipped weights are made of.

    Args:
        path: The file to check.

    Raises:
        ValueError: The file has another sha256.
    """
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != SOURCE_SHA256:
        raise ValueError(
            f"The source file has sha256 {found}. Expected torchvision's mobilenet_v2-b0353104.pth "
            f"with sha256 {SOURCE_SHA256}. Download it again. Received: path={str(path)!r}"
        )


def read_torch_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Reads the tensors of an old (before PyTorch 1.6) torch.save file, running none of it.

    Args:
        path: A `.pth` file holding one state dict of contiguous float32 and int64 tensors.

    Returns:
        Array by tensor name, in the order and with the shapes of the file.

    Raises:
        ValueError: The file is of another format, is damaged, or asks for anything but tensors.
    """
    try:
        with open(path, "rb") as file:
            return _read_tensors(file)
    except (pickle.UnpicklingError, *_DAMAGED) as error:
        raise ValueError(
            f"The file cannot be read: {error}. Expected a state dict of plain tensors, written by "
            "torch.save before PyTorch 1.6 (not the zip format). Use the original file of "
            f"torchvision. Received: path={str(path)!r}"
        ) from error


def _read_tensors(file: BinaryIO) -> dict[str, np.ndarray]:
    magic, protocol, system = (_Unpickler(file).load() for _ in range(3))
    if (magic, protocol, system["little_endian"]) != (_MAGIC, _PROTOCOL, True):
        raise ValueError("its header is not that of a little-endian torch.save file")
    tensors: dict[str, _Tensor] = _Unpickler(file).load()
    keys: list[str] = _Unpickler(file).load()
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    data = {key: _read_storage(file, storages[key]) for key in keys}
    return {name: _array(tensor, data[tensor.storage.key]) for name, tensor in tensors.items()}


def _read_storage(file: BinaryIO, storage: _Storage) -> np.ndarray:
    size = int.from_bytes(file.read(8), "little")
    if size != storage.size:
        raise ValueError(f"a storage has {size} numbers where {storage.size} are announced")
    dtype = np.dtype(storage.dtype)
    return np.frombuffer(file.read(size * dtype.itemsize), dtype, count=size)


def _array(tensor: _Tensor, data: np.ndarray) -> np.ndarray:
    size = int(np.prod(tensor.shape))
    array = data[tensor.offset : tensor.offset + size].reshape(tensor.shape)
    if tuple(stride // array.itemsize for stride in array.strides) != tensor.strides:
        raise ValueError(f"a tensor of shape {tensor.shape} has strides {tensor.strides}")
    return array


def _keras_layers() -> dict[str, str]:
    """The name of the Keras layer for each torch module with weights."""
    names = {
        "features.0.0": "Conv1",
        "features.0.1": "bn_Conv1",
        "features.1.conv.0.0": "expanded_conv_depthwise",
        "features.1.conv.0.1": "expanded_conv_depthwise_BN",
        "features.1.conv.1": "expanded_conv_project",
        "features.1.conv.2": "expanded_conv_project_BN",
        "features.18.0": "Conv_1",
        "features.18.1": "Conv_1_bn",
        "classifier.1": _TOP,
    }
    for block in range(1, 17):
        module, layer = f"features.{block + 1}.conv", f"block_{block}"
        names |= {
            f"{module}.0.0": f"{layer}_expand",
            f"{module}.0.1": f"{layer}_expand_BN",
            f"{module}.1.0": f"{layer}_depthwise",
            f"{module}.1.1": f"{layer}_depthwise_BN",
            f"{module}.2": f"{layer}_project",
            f"{module}.3": f"{layer}_project_BN",
        }
    return names


def keras_weights(state_dict: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Names and lays out torchvision's tensors as Keras does, the classifier included.

    Args:
        state_dict: All tensors of torchvision's `mobilenet_v2`, by name.

    Returns:
        float32 array by `"layer/variable"`, such as `"Conv1/kernel"` of shape `(3, 3, 3, 32)` or
        `"predictions/kernel"` of shape `(1280, 1000)`.

    Raises:
        ValueError: A tensor is missing, or is none of MobileNetV2's.
    """
    layers = _keras_layers()
    tensors = {k: v for k, v in state_dict.items() if not k.endswith(".num_batches_tracked")}
    expected = {f"{module}.{p}" for module, layer in layers.items() for p in _parameters(layer)}
    if tensors.keys() != expected:
        raise ValueError(
            f"The tensors {sorted(tensors.keys() ^ expected)} are missing or unknown. Expected "
            "exactly those of torchvision's mobilenet_v2. Use its original file. "
            f"Received: state_dict with {len(state_dict)} tensors"
        )
    weights = {}
    for name, tensor in tensors.items():
        module, _, parameter = name.rpartition(".")
        variable, array = _keras_variable(layers[module], parameter, tensor)
        weights[f"{layers[module]}/{variable}"] = np.ascontiguousarray(array)
    return weights


def _parameters(layer: str) -> tuple[str, ...]:
    """The names that torch gives to the weights of a layer."""
    if layer == _TOP:
        return "weight", "bias"
    return tuple(_BATCH_NORM) if "bn" in layer.lower() else ("weight",)


def _keras_variable(layer: str, parameter: str, tensor: np.ndarray) -> tuple[str, np.ndarray]:
    if tensor.ndim == 4:  # torch: (out, in, height, width); depthwise: (channels, 1, height, width)
        return "kernel", tensor.transpose((2, 3, 0, 1) if "depthwise" in layer else (2, 3, 1, 0))
    if tensor.ndim == 2:
        return "kernel", tensor.T
    return ("bias" if layer == _TOP else _BATCH_NORM[parameter]), tensor


def shipped_file(weights: dict[str, np.ndarray]) -> bytes:
    """Packs the weights without the top: kernels as float16, BatchNormalization as float32.

    Args:
        weights: What `keras_weights` returns.

    Returns:
        The content of an `.npz` file. Equal weights give equal bytes: the members are stored in
        the given order, uncompressed, without a date or a trace of the machine.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in weights.items():
            if name.startswith(_TOP):
                continue
            member = zipfile.ZipInfo(f"{name}.npy")  # dated 1980-01-01, its default
            member.create_system = 3
            member.external_attr = 0o644 << 16
            archive.writestr(member, _npy(array, "<f2" if name.endswith("/kernel") else "<f4"))
    return buffer.getvalue()


def _npy(array: np.ndarray, dtype: str) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array.astype(dtype), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; see the top of this file."""
    parser = argparse.ArgumentParser(description="Makes the weight file of the built-in backbone.")
    parser.add_argument("source", type=Path, help="mobilenet_v2-b0353104.pth of torchvision")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="default: %(default)s")
    options = parser.parse_args(arguments)
    check_source(options.source)
    content = shipped_file(keras_weights(read_torch_state_dict(options.source)))
    options.output.write_bytes(content)
    print(f"{options.output}: {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
