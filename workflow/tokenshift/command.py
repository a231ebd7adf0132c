"""How every script ends: with the record of what it made, or, on a StudyError, one line on stderr and exit status 1."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime

from tokenshift.errors import StudyError
from tokenshift.provenance.records import require_sound_inputs, write_records


def run(main: Callable[[], None]) -> None:
    """Call `main` and write its record; on StudyError print its message and exit with status 1."""
    started = datetime.now(UTC)
    try:
        require_sound_inputs()
        main()
        write_records(started)
    except StudyError as error:
        sys.exit(f"error: {error}")
