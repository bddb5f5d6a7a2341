"""One query of an SQLite file, in a process of its own: `sqlite_query.py FILE QUERY SECONDS`.

It opens the file for reading only, and prints the first row. Standard library only.
"""

from __future__ import annotations

import sqlite3
import sys
from urllib.parse import quote


def main(file: str, query: str, bound_s: float) -> int:
    """The exit code."""
    try:
        database = sqlite3.connect(f"file:{quote(file)}?mode=ro", timeout=bound_s, uri=True)
        row = database.execute(query).fetchone()
    except sqlite3.Error as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("\t".join(str(value) for value in row or ()) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
