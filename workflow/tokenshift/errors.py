"""The one error that means: the user can mend this, and the message says how."""


class StudyError(Exception):
    """Bad input or an impossible request; the message says what is wrong, where, and what to do."""
