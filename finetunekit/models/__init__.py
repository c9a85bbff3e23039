"""What do we know about one model, and how is it changed? Graph, roles, freezing, saving."""
