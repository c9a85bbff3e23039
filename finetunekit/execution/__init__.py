"""How does a training run go? By Keras' own loop, or by steps on features."""
