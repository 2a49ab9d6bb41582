"""Find the pairs and rows behind the rates."""
