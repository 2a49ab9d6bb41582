"""Make everything that a person looks at: pictures, pages, verdict files, terminal output."""

from opis_cli.caches import find_folder_for_matplotlib

# This must happen before any module here imports matplotlib, which looks for its folder only once.
find_folder_for_matplotlib()
