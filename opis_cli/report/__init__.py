"""The report of a run, and the files to which opis writes it."""
