"""Do torchvision's models give the same outputs in Keras? A table, one row per model.

    python benchmarks/torch_parity.py --torch-python PATH [resnet18 ...]

PATH is a Python with torch and torchvision; this one needs neither. Random weights, saved by torch,
loaded by `load_backbone`, outputs of two random images compared.
"""

import argparse
import logging
import subprocess
import tempfile
from pathlib import Path

import keras
import numpy as np

import finetunekit as ftk

NAMES = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    *("vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn"),
    *("mobilenet_v2", "efficientnet_b0", "vit_b_16", "vit_b_32"),
)
IN_TORCH = """
import sys, numpy, torch, torchvision
name, folder = sys.argv[1:]
torch.manual_seed(0)
net = getattr(torchvision.models, name)(weights=None).eval()
for module in net.modules():
    if isinstance(module, torch.nn.BatchNorm2d):
        module.running_mean.normal_(0, 0.1)
        module.running_var.uniform_(0.5, 1.5)
        module.weight.data.uniform_(0.3, 0.7)
        module.bias.data.normal_(0, 0.1)
if name.startswith("vit"):  # Zeros otherwise.
    net.heads.head.weight.data.normal_(0, 0.02)
x = torch.randn(2, 3, 224, 224)
with torch.no_grad():
    y = net(x)
torch.save(net.state_dict(), f"{folder}/net.pth")
numpy.savez(f"{folder}/known.npz", x=x.permute(0, 2, 3, 1).numpy(), y=y.numpy())
"""


def row(name: str, python: str) -> str:
    """One line of the table."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-c", IN_TORCH, name, folder], check=True)
        model = ftk.load_backbone(Path(folder) / "net.pth", preprocessing="outside")
        known = np.load(Path(folder) / "known.npz")
        found = model.predict(known["x"], verbose=0)
    gap, largest = np.abs(found - known["y"]).max(), np.abs(known["y"]).max()
    return f"| {name} | {model.count_params():,} | {largest:.2g} | {gap:.1e} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--torch-python", required=True)
    parser.add_argument("names", nargs="*", default=NAMES)
    given = parser.parse_args()
    logging.getLogger("finetunekit").setLevel(logging.WARNING)
    print("| model | parameters | largest output | largest difference |\n|---|---|---|---|")
    for each in given.names:
        print(row(each, given.torch_python), flush=True)
        keras.utils.clear_session()
