"""How every script ends: with the record of what it made, or, on a StudyError, one line on stderr and exit status 1."""

import errno
import sys
from collections.abc import Callable
from datetime import UTC, datetime

from tokenshift.errors import StudyError
from tokenshift.provenance.records import require_sound_inputs, write_records

# What the libraries that write files say of a full disk, where they do not say it by the error's number.
FULL = ("No space left on device", "Disk quota exceeded", "PytorchStreamWriter failed writing")


def run(main: Callable[[], None]) -> None:
    """Call `main` and write its record; on StudyError print its message and exit with status 1.

    So do errors that only the machine can be blamed for: no space, no permission, no memory.
    """
    started = datetime.now(UTC)
    try:
        require_sound_inputs()
        main()
        write_records(started)
    except StudyError as error:
        sys.exit(f"error: {error}")
    except MemoryError as error:
        sys.exit(f"error: out of memory ({error}): ask for more with compute.mem_mb, or make batches smaller")
    except Exception as error:
        if blame := _of_the_machine(error):
            sys.exit(f"error: {blame}")
        raise


def _of_the_machine(error: Exception) -> str | None:
    """What to say of an error that lies with the machine; None for any other."""
    said = " ".join(str(error).split())[:200]
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or any(words in str(error) for words in FULL):
        return f"the disk is full ({said}): make room and start again; nothing that was complete is lost"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission ({said}): mend the folder's permissions, or move the project elsewhere"
    if number in (errno.ENOTDIR, errno.EEXIST):
        return f"a file lies where a folder should be ({said}): move it elsewhere"
    return None
