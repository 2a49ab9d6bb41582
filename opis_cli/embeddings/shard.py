"""What every reader of a file can do. A shard is a file with a row for each embedding."""

from pathlib import Path

from opis_cli.embeddings import arrow
from opis_cli.errors import InputError
from opis_cli.records import InputWarning, Ints, Numbers


class Shard:
    """A file with a row for each embedding. The classes of the formats override what they can read.

    ``labels`` and ``column`` raise an ``InputError`` if the format cannot hold what they read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self, embedding_column: str | None) -> int:
        """Return the number of rows, without reading the vectors."""
        raise NotImplementedError

    def embedding_name(self, column: str | None, but: str | None) -> str | None:
        """Return what the vectors are called in the file, where they have a name."""
        return None

    def doubts(self, column: str | None, but: str | None) -> tuple[InputWarning, ...]:
        """Return warnings about the choice of the columns."""
        return ()

    def width(self, column: str | None, but: str | None) -> tuple[int, int]:
        """Return the dimensions of a vector, and the bytes of a number of it in memory."""
        raise NotImplementedError

    def label_name(self, column: str | None) -> str | None:
        """Return the name of the label column, or None if the format has no columns."""
        return None

    def labels(self, column: str | None, expected: int | None) -> list[arrow.Array]:
        """Read the labels, in chunks.

        ``expected`` is the number of vectors that need one, if that is known.
        """
        raise NotImplementedError

    def column(self, name: str, expected: int | None) -> list[arrow.Array]:
        """Read the values of a further column, in chunks."""
        raise InputError(
            f"{self.path}: a {self.path.suffix.lower()} file has no column {name!r}; columns are "
            "read from where the labels are: Parquet, Arrow, CSV, TSV, .npz, .safetensors or .h5"
        )

    def vectors(
        self, column: str | None, rows: Ints | None, but: str | None
    ) -> tuple[Numbers, arrow.Bools]:
        """Read the vectors, shape (N, D), and tell which of them are null, shape (N,).

        If ``rows`` (in ascending order) is given, only these rows are read. A pattern of columns
        does not match ``but``.
        """
        raise NotImplementedError
