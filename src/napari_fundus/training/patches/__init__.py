"""Training patches: how they are drawn, stored and varied."""
