"""How to convert a file that opis does not read to one that it reads, in one line of Python."""

from pathlib import Path

_TRUSTED = "Run it only on a file that you trust, because it runs code that is in the file"

# Each line has {old} and {new} where the names of the files are, quoted.
_COLUMNS = "pd.DataFrame({{str(k): list(d[k]) for k in d}}).to_parquet({new})"
_TORCH = (
    "import numpy as np, torch; d = torch.load({old}, weights_only=True, map_location='cpu'); "
    "np.savez({new}, **(d if isinstance(d, dict) else {{'embeddings': d}}))"
)
_PICKLE = "import pandas as pd; d = pd.read_pickle({old}); " + _COLUMNS
_JOBLIB = "import joblib, pandas as pd; d = joblib.load({old}); " + _COLUMNS
_JSON = (
    "import pandas as pd; "
    "pd.read_json({old}, dtype=False, convert_dates=False, lines=LINES).to_parquet({new})"
)
_VECS = (
    "import numpy as np; a = np.fromfile({old}, '<i4'); "
    "np.save({new}, a.reshape(-1, a[0] + 1)[:, 1:].view('<KIND'))"
)
_BYTE_VECS = (
    "import numpy as np; a = np.fromfile({old}, 'u1'); "
    "np.save({new}, a.reshape(-1, int(a[:4].view('<i4')[0]) + 4)[:, 4:])"
)
_COUNTED = (
    "import numpy as np; "
    "np.save({new}, np.fromfile({old}, 'KIND', offset=8)"
    ".reshape(np.fromfile({old}, '<u4', 2)))"
)
_RAW = "import numpy as np; np.save({new}, np.fromfile({old}, '<f4').reshape(-1, DIMS))"
_WORDS = (
    "import numpy as np; r = [s.split() for s in open({old}, encoding='utf-8')]; "
    "r = [s for s in r if len(s) > 2]; "
    "np.savez({new}, embeddings=np.array([s[1:] for s in r], 'f4'), labels=[s[0] for s in r])"
)
_MATLAB = (
    "import numpy as np, scipy.io; d = scipy.io.loadmat({old}); "
    "np.savez({new}, embeddings=d['embeddings'], labels=np.ravel(d['labels']))"
)
_TFRECORD = (
    "import numpy as np, tensorflow as tf; d = [tf.train.Example.FromString(r.numpy())"
    ".features.feature for r in tf.data.TFRecordDataset({old})]; "
    "np.savez({new}, embeddings=[f['embedding'].float_list.value for f in d], "
    "labels=[f['label'].int64_list.value[0] for f in d])"
)
_EXCEL = "import pandas as pd; pd.read_excel({old}, dtype=str).to_csv({new}, index=False)"
_ORC = "import pyarrow.orc as o, pyarrow.parquet as p; p.write_table(o.read_table({old}), {new})"
_UNPACK = (
    "import pyarrow as pa, shutil; shutil.copyfileobj(pa.input_stream({old}), open({new}, 'wb'))"
)
_UNPACK_XZ = "import lzma, shutil; shutil.copyfileobj(lzma.open({old}), open({new}, 'wb'))"

_LINES = {
    **dict.fromkeys((".pt", ".pth", ".ckpt"), (_TORCH, ".npz")),
    **dict.fromkeys((".pkl", ".pickle"), (_PICKLE, ".parquet")),
    ".joblib": (_JOBLIB, ".parquet"),
    **dict.fromkeys((".jsonl", ".ndjson"), (_JSON.replace("LINES", "True"), ".parquet")),
    ".json": (_JSON.replace("LINES", "False"), ".parquet"),
    ".fvecs": (_VECS.replace("KIND", "f4"), ".npy"),
    ".ivecs": (_VECS.replace("KIND", "i4"), ".npy"),
    ".bvecs": (_BYTE_VECS, ".npy"),
    ".fbin": (_COUNTED.replace("KIND", "<f4"), ".npy"),
    ".u8bin": (_COUNTED.replace("KIND", "u1"), ".npy"),
    ".i8bin": (_COUNTED.replace("KIND", "i1"), ".npy"),
    **dict.fromkeys((".bin", ".raw", ".dat"), (_RAW, ".npy")),
    **dict.fromkeys((".vec", ".txt"), (_WORDS, ".npz")),
    ".mat": (_MATLAB, ".npz"),
    **dict.fromkeys((".tfrecord", ".tfrecords"), (_TFRECORD, ".npz")),
    ".xlsx": (_EXCEL, ".csv"),
    ".orc": (_ORC, ".parquet"),
    **dict.fromkeys((".gz", ".bz2", ".zst", ".lz4"), (_UNPACK, "")),
    ".xz": (_UNPACK_XZ, ""),
}
"""For each suffix the line, and the suffix of the file that the line writes."""
_NOTES = {
    **dict.fromkeys((".pkl", ".pickle", ".joblib"), _TRUSTED),
    **dict.fromkeys((".pt", ".pth", ".ckpt"), "Leave weights_only on unless you trust the file"),
    **dict.fromkeys((".bin", ".raw", ".dat"), "Put in the number of dimensions for DIMS"),
    **dict.fromkeys((".mat", ".tfrecord", ".tfrecords"), "Put in your own names"),
}


def conversion(path: Path) -> str | None:
    """Return a message with the line that converts a file, or None if its suffix is not known.

    Only quoted text of the name gets into the line, so the line cannot run what a name says.
    """
    suffix = path.suffix.lower()
    if suffix not in _LINES:
        return None
    line, target = _LINES[suffix]
    new = path.with_suffix(target)
    command = line.format(old=repr(str(path)), new=repr(str(new)))
    note = f". {_NOTES[suffix]}" if suffix in _NOTES else ""
    return (
        f"{path}: {suffix} files are not read; this line of Python writes {new.name!r}, which "
        f"opis reads{note}: {command}"
    )
