"""The base class of this package's errors."""


class TrlEntropyError(Exception):
    """Something that is refused or could not be done: the message says what was given, what is allowed, what to do."""
