"""How does an interrupted run go on? From checkpoints that hold all of its state."""
