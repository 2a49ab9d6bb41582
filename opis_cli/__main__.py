"""The entry point. It runs a command, and it is the only place that turns errors into messages.

Exit codes: 0 for success, 1 for a failed gate, 2 for an error in usage, configuration or input, 70
for a fault of opis itself, 130 for an interrupt, 143 for SIGTERM. A reader that closes the pipe, a
full disk and a closed stream change no code other than 0.
"""

import io
import logging
import os
import shutil
import signal
import sys
import textwrap
import traceback
import warnings
from pathlib import Path
from typing import Any

from opis_cli.errors import OpisError

DEBUG_FLAG = "--debug"
_REPORT_IT = f"Please report it, with what {DEBUG_FLAG} prints."
FAULT, INTERRUPTED, TERMINATED, MISUSED = 70, 130, 143, 2


def main() -> None:
    """Run the ``opis`` command and leave with its exit code."""
    debug = DEBUG_FLAG in sys.argv[1:]
    sys.exit(_run([word for word in sys.argv[1:] if word != DEBUG_FLAG], debug))


class _Terminated(BaseException):
    """SIGTERM came: what Ctrl-C is to a person. Python would end without cleaning up."""


def _terminate(number: int, frame: Any) -> None:
    # Once: what cleans up shall not be disturbed.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _Terminated


def _run(words: list[str], debug: bool) -> int:
    code = 0
    try:
        _open_streams()
        signal.signal(signal.SIGTERM, _terminate)
        # Matplotlib would print a warning on stderr if building its font list takes long.
        logging.getLogger("matplotlib").setLevel(logging.ERROR)
        warnings.formatwarning = _one_line
        _check_address_space()
        from opis_cli.cli.app import app

        code = int(app(words, prog_name="opis", standalone_mode=False) or 0)
        if code == INTERRUPTED:
            # Typer has caught the KeyboardInterrupt and returned its exit code.
            raise KeyboardInterrupt
        sys.stdout.flush()
        sys.stderr.flush()
        return code
    except BaseException as error:
        explained = _explain(error, debug)
        return code or explained


def _one_line(message: Warning | str, *_: Any, **__: Any) -> str:
    """Return a warning as one line, without the place in the code that raised it."""
    from opis_cli.text import plain

    return f"opis: {plain(message, 4_000)}\n"


def _open_streams() -> None:
    """Give the process streams that can be written, whatever it was started with."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # Closed by whoever started us. Else the next file that is opened would get its number.
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            # Class names may hold what the terminal cannot show.
            stream.reconfigure(errors="replace")


def _explain(error: BaseException, debug: bool) -> int:
    """Print what went wrong and return the exit code for it."""
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        return _say("opis: interrupted", INTERRUPTED)
    if isinstance(error, _Terminated):
        return _say("opis: terminated", TERMINATED)
    if isinstance(error, BrokenPipeError | SystemExit):
        # The reader of our output closed the pipe, as `head` does. Typer turns a broken pipe into
        # SystemExit.
        _abandon_output()
        return 0
    if isinstance(error, OpisError):
        return _tell(error.for_shell, MISUSED, debug)
    if isinstance(error, MemoryError):
        return _tell("out of memory; use a smaller input or a larger machine", MISUSED, debug)
    if isinstance(error, ImportError) and "shared object" in str(error):
        return _tell(f"a library cannot be loaded: {error}", MISUSED, debug)
    if isinstance(error, OSError):
        _abandon_output()
        return _tell(f"the system refused: {error}", MISUSED, debug)
    if hasattr(error, "show") and hasattr(error, "exit_code"):
        return _misused(error)
    return _tell(f"a fault of opis itself, {type(error).__name__}: {error}", FAULT, debug)


def _misused(error: Any) -> int:
    """Print a usage error, and return its exit code. Typer does not export its class."""
    page = getattr(error, "ctx", None)
    if page is None or type(error).__name__ == "NoArgsIsHelpError":
        try:
            error.show()
        except OSError:
            _abandon_output()
    else:
        message = " ".join(error.format_message().split())
        _tell(f"{message.rstrip('.')}; see `{page.command_path} --help`", MISUSED, debug=False)
    return int(error.exit_code)


_ADDRESSES = 2_000_000_000
"""Bytes of address space that the libraries of opis need: with less, some of them end the process
with an exit code of their own."""


def _check_address_space() -> None:
    """Refuse a process whose address space is too small for the libraries."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    except (ImportError, OSError):
        return
    if limit != resource.RLIM_INFINITY and limit < _ADDRESSES:
        raise OpisError(
            f"the address space is limited to {limit / 1e9:.2g} GB (ulimit -v), and opis needs "
            f"{_ADDRESSES / 1e9:.2g} GB; raise the limit"
        )


def _abandon_output() -> None:
    """Send what is still to be flushed nowhere, so that the interpreter does not fail over it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        try:
            (sys.stdout if number == 1 else sys.stderr).flush()
        except (OSError, ValueError):
            os.dup2(nowhere, number)


def _say(text: str, code: int) -> int:
    """Print a message on standard error, if that can be written, and return the exit code."""
    try:
        print(text, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        _abandon_output()
    return code


def _tell(message: str, code: int, debug: bool) -> int:
    from opis_cli.text import plain

    if debug:
        traceback.print_exc()
    # The message holds names from the data: no character of it begins a line, or is a command.
    text = _fitted("opis: " + plain(message, 4_000))
    return _say(text if code != FAULT else f"{text}\n{_REPORT_IT}", code)


def _fitted(text: str) -> str:
    """Break a message between words where the terminal would break it anywhere.

    Anything but a terminal gets one line.
    """
    try:
        if not sys.stderr.isatty():
            return text
    except ValueError:  # The stream is closed.
        return text
    width = max(shutil.get_terminal_size().columns, 20)
    return textwrap.fill(
        text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


if __name__ == "__main__":
    main()
