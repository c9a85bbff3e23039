"""Does fine-tuning work here, and what does it bring? `python -m finetunekit quickstart` answers.

`surfaces.py` and `folder.py` provide the images, `job.py` trains on them with the library's own
functions, `baselines.py` has the baselines, `plot.py` draws the results, and `reopen.py` opens
the saved model without the library.
"""
