"""Make the output that the terminal shows."""
