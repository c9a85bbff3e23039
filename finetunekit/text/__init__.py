"""How do texts become what a text model takes? Tokenizers, and token ids as arrays."""

from finetunekit.text.attach import tokenize, use_tokenizer
from finetunekit.text.wordpiece import WordPiece

__all__ = ["WordPiece", "tokenize", "use_tokenizer"]
