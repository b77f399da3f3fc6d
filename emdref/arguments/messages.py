"""How messages show what a caller gave: never at length, so that none is longer than 300 characters."""

import reprlib
from collections.abc import Callable

_REPR = reprlib.Repr()
_REPR.maxlist = _REPR.maxtuple = _REPR.maxset = _REPR.maxdict = 8
_REPR.maxstring = _REPR.maxlong = _REPR.maxother = 400  # `cut` does the rest


def cut(text: str, most: int = 60) -> str:
    """A text of at most so many characters."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def shown(value: object, most: int = 60) -> str:
    """A value as code, in at most so many characters; NumPy's text as Python's."""
    value = str.__str__(value) if isinstance(value, str) else value
    return _written(_REPR.repr, value, most)


def written(value: object, most: int = 60) -> str:
    """A number or a shape as text, in at most so many characters."""
    return _written(str, value, most)


def type_name(value: object) -> str:
    """The name of a value's type."""
    return cut(type(value).__name__, 40)


def _written(write: Callable[[object], str], value: object, most: int) -> str:
    try:
        return cut(write(value), most)
    except Exception:  # of whoever made the value; or Python's, for an integer of thousands of digits
        return f"<{type_name(value)}>"
