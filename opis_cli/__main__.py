"""The entry point: runs a command, and is the one place that turns errors into messages.

Exit codes: 0 done, 1 a gate failed, 2 usage, configuration or input, 70 a fault of ours, 130
interrupted.
"""

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
    import typer

    from opis_cli.cli import app
    from opis_cli.errors import OpisError

    try:
        code = app(words, prog_name="opis", standalone_mode=False)
        sys.stdout.flush()
        if code == INTERRUPTED:
            # Typer has caught the KeyboardInterrupt.
            raise typer.Abort
        return int(code or 0)
    except (KeyboardInterrupt, typer.Abort):
        print("opis: interrupted", file=sys.stderr)
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):
        # Whoever read our output has gone, as `head` does (Typer turns that into SystemExit).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OpisError as error:
        return _tell(str(error), MISUSED, debug)
    except MemoryError:
        return _tell("out of memory; use a smaller input or a larger machine", MISUSED, debug)
    except Exception as error:
        if hasattr(error, "show") and hasattr(error, "exit_code"):
            # A usage error; Typer does not export its class.
            error.show()
            return int(error.exit_code)
        text = f"a fault of opis itself, {type(error).__name__}: {error}"
        return _tell(f"{text}\nPlease report it, with what {DEBUG_FLAG} prints.", FAULT, debug)


def _tell(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"opis: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
