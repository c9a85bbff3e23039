"""How long does the same frozen work take in torch? Run by the Python of another environment.

    python benchmarks/peer_torch.py

It needs torch and torchvision. It follows torch's tutorials: the backbone is frozen, in evaluation
mode, and run in each epoch.
"""

import json
import sys
import time
import types

import numpy as np
import torch

# Compiled for another torch, torchvision lacks its operators; its models need none of them.
sys.modules["torchvision._meta_registrations"] = types.ModuleType("meta")

import torchvision  # noqa: E402

torch.manual_seed(0)
backbone = torchvision.models.mobilenet_v2(weights=None).features.eval()
backbone = backbone.to(memory_format=torch.channels_last)
head = torch.nn.Sequential(
    torch.nn.Linear(1280, 128), torch.nn.ReLU(), torch.nn.Linear(128, 1), torch.nn.Sigmoid()
)
x = np.random.default_rng(0).uniform(-1, 1, (512, 3, 160, 160)).astype("float32")
x = torch.from_numpy(x).contiguous(memory_format=torch.channels_last)
y = torch.from_numpy(np.random.default_rng(0).integers(0, 2, (512, 1)).astype("float32"))

start = time.perf_counter()
optimizer = torch.optim.Adam(head.parameters())
for _ in range(10):
    for rows in torch.randperm(len(x)).split(32):
        with torch.no_grad():
            features = backbone(x[rows]).mean((2, 3))
        loss = torch.nn.functional.binary_cross_entropy(head(features), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
print(json.dumps({"seconds": time.perf_counter() - start}))
