"""A run against limits, or two runs against each other."""
