"""Names of models on the hubs, for a hint to those who leave out `hf:` or `kerashub:`."""

import os
import re

# How names begin of models that were on Hugging Face before organisations were, and whose they are.
_ORGANISATIONS = {
    "albert": "albert",
    "bert": "google-bert",
    "distilbert": "distilbert",
    "distilgpt2": "distilbert",
    "distilroberta": "distilbert",
    "gpt2": "openai-community",
    "roberta": "FacebookAI",
    "t5": "google-t5",
    "xlm": "FacebookAI",
    "xlnet": "xlnet",
}
# Other families, whose organisation the name does not tell.
_FAMILIES = {
    *_ORGANISATIONS,
    *("all", "bart", "bge", "deberta", "deit", "dinov2", "e5", "electra", "esm", "falcon"),
    *("gemma", "gemma2", "gpt", "gte", "llama", "llama2", "llama3", "minilm", "mistral"),
    *("mpnet", "opt", "paraphrase", "phi3", "qwen", "qwen2", "qwen3", "swin", "vit", "whisper"),
}


def hint(name: str) -> str:
    """What to write instead of a name that looks like one on a hub; empty if it does not."""
    parts = name.split("/")
    if len(parts) == 2 and all(re.fullmatch(r"\w[\w.-]*", part) for part in parts):
        return f"A model of Hugging Face is written {'hf:' + name!r}. "
    family = re.split(r"[-_]", name.lower())[0]
    if len(parts) > 1 or family not in _FAMILIES or os.path.splitext(name)[1]:
        return ""
    if "_" in name and "-" not in name:
        return f"A preset of KerasHub is written {'kerashub:' + name!r}. "
    owner = _ORGANISATIONS.get(family, "ORGANISATION")
    return (
        f"A model of Hugging Face is written {f'hf:{owner}/{name}'!r}, a preset of KerasHub "
        "'kerashub:PRESET'. "
    )
