"""Judge a run by limits, and compare runs."""
