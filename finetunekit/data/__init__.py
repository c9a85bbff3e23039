"""What is a model trained on? Arrays, texts and pipelines, read, checked and put in order."""
