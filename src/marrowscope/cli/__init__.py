"""The front door: `marrowscope COMMAND`. Thin: a command reads its options, calls the library, says what came of it.

Exit codes: 0 done; 1 done, but some inputs failed; 2 bad input, said in one line; 70 a fault of ours; 130 stopped by
Ctrl-C. Heavy imports live inside the commands, so that `--help` answers at once.
"""

import sys
import traceback
import warnings

FAULT, STOPPED = 70, 130


def main() -> None:
    """Run the command line; the entry point of the installed `marrowscope`."""
    from marrowscope.cli.app import app, debugging

    if not debugging():
        # Warnings of libraries are for us, not for an operator.
        warnings.simplefilter("ignore")
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(STOPPED)
    except Exception:
        traceback.print_exc()
        sys.stderr.write("This is a fault of marrowscope, not of your input: please report it with the lines above.\n")
        sys.exit(FAULT)
