"""How every script ends: a StudyError becomes one line on stderr and exit status 1; any other error a traceback."""

import sys
from collections.abc import Callable

from tokenshift.errors import StudyError


def run(main: Callable[[], None]) -> None:
    """Call `main`; on StudyError print its message and exit with status 1."""
    try:
        main()
    except StudyError as error:
        sys.exit(f"error: {error}")
