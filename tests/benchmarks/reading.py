"""How near reading comes to the scan of pyarrow: ``python tests/benchmarks/reading.py``.

The scan is ``pyarrow.parquet.read_table``, or ``numpy.load`` and a look at every number. opis also
checks every number and every label, and computes the digest of the file. The two sides are timed in
turn. ``--quick`` takes a tenth of the rows.
"""

import argparse
import subprocess
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1]))
import data
import run

from opis_cli.embeddings.read import read

DIM, CLASSES = 128, 1_000


def write(rows: int, folder: Path) -> dict[str, Path]:
    """Write the same rows in each format."""
    vectors, labels = data.blobs(rows, CLASSES, DIM)
    vectors, names = vectors.astype(np.float32), pa.array(labels).cast(pa.string())
    flat = pa.array(vectors.ravel())
    ends = pa.array(np.arange(0, len(flat) + 1, DIM, dtype=np.int32))
    lists = {
        "Parquet, fixed-size lists": pa.FixedSizeListArray.from_arrays(flat, DIM),
        "Parquet, lists": pa.ListArray.from_arrays(ends, flat),
    }
    files = {}
    for name, column in lists.items():
        files[name] = folder / f"{len(files)}.parquet"
        pq.write_table(pa.table({"label": names, "embedding": column}), files[name])
    np.save(folder / "labels.npy", labels)
    np.save(folder / "vectors.npy", vectors)
    return files | {"npy": folder / "vectors.npy"}


def scan(file: Path) -> object:
    """Read a file as plainly as can be."""
    if file.suffix == ".parquet":
        return pq.read_table(file)
    return np.isfinite(np.load(file)).all()


def reading(file: Path) -> object:
    """Read a file with opis."""
    return read(file, labels=file.with_name("labels.npy") if file.suffix == ".npy" else None)


def peak(work: str, file: Path) -> float:
    """Peak memory in MB of a process that does some work of this file, over its imports."""
    return run.printed(
        f"import pathlib, reading, run; file = pathlib.Path({str(file)!r})\n"
        f"print(run.added_peak(lambda: reading.{work}(file)) / 1e6)"
    )


def cold_start(folder: Path) -> None:
    """Time the whole command on few rows, and on rows for which code is compiled."""
    for rows, what in ((300, "300 rows"), (6_000, "6,000 rows, compiled code on disk")):
        vectors, labels = data.blobs(rows, 30, 32)
        source = folder / f"{rows}.npz"
        np.savez(source, embeddings=vectors, labels=labels)
        command = [sys.executable, "-m", "opis_cli", "evaluate", str(source), "--json"]
        work = partial(subprocess.run, command, capture_output=True, check=True)
        times = [run.seconds(work) for _ in range(4)]
        print(f"| `opis evaluate`, {what} | {min(times[1:]):.2f} s |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    rows = 40_000 if parser.parse_args().quick else 400_000
    print(f"{run.machine()}; pyarrow {pa.__version__}; {rows:,} x {DIM}\n")
    with TemporaryDirectory() as name:
        folder = Path(name)
        print("| file | scan | opis | ratio | peak of the scan | peak of opis |")
        print("|---|---|---|---|---|---|")
        for kind, file in write(rows, folder).items():
            theirs, ours, ratio = run.in_turn(lambda f=file: scan(f), lambda f=file: reading(f))
            peaks = peak("scan", file), peak("reading", file)
            print(
                f"| {kind} | {theirs:.2f} s | {ours:.2f} s | {ratio} "
                f"| {peaks[0]:.0f} MB | {peaks[1]:.0f} MB |",
                flush=True,
            )
        print("\n| command | time |\n|---|---|")
        cold_start(folder)


if __name__ == "__main__":
    main()
