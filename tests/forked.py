"""Run ``opis`` as a process of its own, without waiting for its imports each time.

A server process runs some commands, which imports everything. For each call it forks a child, which
runs the command as ``python -m opis_cli`` would, with arguments, folder, environment, output and
exit code of its own.
Where there is no fork, each call is a fresh process.
"""

import atexit
import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

Done = subprocess.CompletedProcess[str]


def opis(*words: object, cwd: Path, env: Mapping[str, str] | None = None) -> Done:
    """Run a command with further variables of the environment, and return what it did."""
    variables = os.environ | dict(env or {})
    if sys.platform != "linux":
        return subprocess.run(
            [sys.executable, "-m", "opis_cli", *map(str, words)],
            cwd=cwd, env=variables, capture_output=True, text=True, check=False,
        )  # fmt: skip
    server = _server()
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        call = {
            "words": list(map(str, words)),
            "cwd": str(cwd),
            "env": variables,
            "files": [str(out), str(err)],
        }
        server.stdin.write(json.dumps(call) + "\n")
        server.stdin.flush()
        status = server.stdout.readline()
        texts = (file.read_text(encoding="utf-8") for file in (out, err))
        return Done(call["words"], int(status), *texts)


@cache
def _server() -> subprocess.Popen[str]:
    # A test that makes a job of GitHub is no job of GitHub for the commands that warm up.
    env = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    server = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=env,
    )
    atexit.register(_stop, server)
    return server


def _stop(server: subprocess.Popen[str]) -> None:
    server.stdin.close()
    server.stdout.close()
    server.wait()


def _serve() -> None:
    """Answer each line on standard input with the exit code of the command that it holds."""
    _warm_up()
    # What is there stays as it is, so a child copies and frees none of it.
    gc.freeze()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _become(json.loads(line))
            return
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(status, flush=True)


def _warm_up() -> None:
    """Run commands once, so that a child has what they import and the code that they compile."""
    import numpy as np

    from opis_cli.cli.app import app

    with tempfile.TemporaryDirectory() as folder:
        source, run = Path(folder, "x.npz"), Path(folder, "run")
        vectors = np.random.default_rng(0).normal(size=(40, 4))
        np.savez(source, embeddings=vectors, labels=np.arange(40) % 4)
        evaluate = ["evaluate", str(source), "--out", str(run), "--force", "--quiet"]
        for words in (
            evaluate,
            [*evaluate, "--engine", "numba"],
            ["explain", str(run), "--quiet"],
            ["gate", str(run), "--max-far", "1", "--quiet"],
        ):
            app(words, prog_name="opis", standalone_mode=False)


def _become(call: dict) -> None:
    """Make this process the command."""
    for number, file in zip((0, 1, 2), (os.devnull, *call["files"]), strict=True):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        opened = os.open(file, flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(call["cwd"])
    # The environment is that of the caller now, and not when the server began.
    os.environ.clear()
    os.environ.update(call["env"])
    sys.argv = ["opis", *call["words"]]
    from opis_cli.__main__ import main

    try:
        main()
    except SystemExit as done:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        # The end of an interpreter takes long if much is imported.
        os._exit(int(done.code or 0))


if __name__ == "__main__":
    _serve()
