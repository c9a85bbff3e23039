"""What is computed once? The frozen prefix of a model, its features and where they are kept."""
