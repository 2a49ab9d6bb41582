"""Everything a person looks at: pictures, pages, verdict files."""
