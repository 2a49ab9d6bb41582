"""What came out of ``remedy_cases.py``."""
