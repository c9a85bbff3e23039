"""How is a training run planned? Compiling for a task, fitting, stages, rates, repeats."""
