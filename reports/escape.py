"""Text from strangers, made harmless for where it is shown.

Domain names are keys without odd bytes (`dane.names`), but server replies, certificate
names and resolver texts are whatever the other side chose to send.
"""

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def printable(text: str) -> str:
    """One line of ASCII: every other character as a backslash escape (`\\x1b`, `\\u202e`).

    For terminals, logs and mail: no control sequence, no line break, no bidirectional
    override survives.
    """
    return "".join(
        one if " " <= one <= "~" else one.encode("unicode_escape").decode("ascii") for one in text
    )


def csv_cell(text: str) -> str:
    """A cell that no spreadsheet takes for a formula: `'` before `=`, `+`, `-`, `@`.

    Quoting is the csv module's; line breaks and control characters are escaped as for a
    terminal, so that a row is a line.
    """
    shown = printable(text)
    return f"'{shown}" if text.startswith(_FORMULA_STARTS) else shown
