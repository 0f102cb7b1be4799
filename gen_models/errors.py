"""Errors meant for the user: one clear line, never a traceback."""


class UserError(Exception):
    """Bad input; the message names the key or the file and says what to do."""


class DivergedError(UserError):
    """A loss stopped being finite."""
