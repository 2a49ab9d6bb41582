"""The entry point. It runs a command, and it is the only place that turns errors into messages.

Exit codes: 0 for success, 1 for a failed gate, 2 for an error in usage, configuration or input, 70
for a fault of opis itself, 130 for an interrupt.
"""

import io
import logging
import os
import sys
import traceback

DEBUG_FLAG = "--debug"
FAULT, INTERRUPTED, MISUSED = 70, 130, 2


def main() -> None:
    """Run the ``opis`` command and leave with its exit code."""
    debug = DEBUG_FLAG in sys.argv[1:]
    sys.exit(_run([word for word in sys.argv[1:] if word != DEBUG_FLAG], debug))


def _run(words: list[str], debug: bool) -> int:
    try:
        # Class names may contain characters that the terminal cannot show.
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        # Matplotlib would print a warning on stderr if building its font list takes long.
        logging.getLogger("matplotlib").setLevel(logging.ERROR)
        from opis_cli.cli.gate import app

        code = int(app(words, prog_name="opis", standalone_mode=False) or 0)
        sys.stdout.flush()
        if code == INTERRUPTED:
            # Typer has caught the KeyboardInterrupt and returned its exit code.
            raise KeyboardInterrupt
        return code
    except BaseException as error:
        return _explain(error, debug)


def _explain(error: BaseException, debug: bool) -> int:
    """Print what went wrong and return the exit code for it."""
    from opis_cli.errors import OpisError

    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        print("opis: interrupted", file=sys.stderr)
        return INTERRUPTED
    if isinstance(error, BrokenPipeError | SystemExit):
        # The reader of our output closed the pipe, as `head` does. Typer turns a broken pipe into
        # SystemExit.
        _abandon_output()
        return 0
    if isinstance(error, OpisError):
        return _tell(str(error), MISUSED, debug)
    if isinstance(error, MemoryError):
        return _tell("out of memory; use a smaller input or a larger machine", MISUSED, debug)
    if isinstance(error, OSError):
        _abandon_output()
        return _tell(f"the system refused: {error}", MISUSED, debug)
    if hasattr(error, "show") and hasattr(error, "exit_code"):
        # This is a usage error. Typer does not export its class.
        error.show()
        return int(error.exit_code)
    text = f"a fault of opis itself, {type(error).__name__}: {error}"
    return _tell(f"{text}\nPlease report it, with what {DEBUG_FLAG} prints.", FAULT, debug)


def _abandon_output() -> None:
    """Redirect stdout to the null device, so that the final flush of the interpreter succeeds."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _tell(message: str, code: int, debug: bool) -> int:
    from opis_cli.text import plain

    if debug:
        traceback.print_exc()
    lines = [plain(line, 2_000) for line in message.splitlines()]
    print("opis: " + "\n".join(lines), file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
