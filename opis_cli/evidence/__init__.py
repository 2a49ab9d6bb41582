"""Find the pairs, the classes and the rows behind the rates."""
