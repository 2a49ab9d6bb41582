"""The commands of the ``opis`` command line."""
