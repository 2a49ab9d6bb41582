"""Everything a person looks at: pictures, pages, verdict files."""

from opis_cli.caches import find_folder_for_matplotlib

# Before any part of this package imports matplotlib, which looks once.
find_folder_for_matplotlib()
