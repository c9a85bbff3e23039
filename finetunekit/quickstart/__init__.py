"""Does fine-tuning work here, and what does it bring? `python -m finetunekit quickstart` answers.

`surfaces.py` and `folder.py` bring the pictures, `job.py` trains on them with the library's own
verbs, `baselines.py` is what that is compared with, `picture.py` draws it, and `reopen.py` opens
the saved model without the library.
"""
