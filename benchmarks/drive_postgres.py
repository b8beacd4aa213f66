"""Run a PostgreSQL server with a database for Servo until standard input ends.

``python benchmarks/drive_postgres.py FOLDER`` keeps the data in the folder, and prints one line of
JSON: the URL of the database, and what makes commits durable. ``SERVO_TEST_POSTGRES_URL`` is not
looked at: what is measured is a server that does nothing else.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import psycopg

import postgres_kit

SETTINGS = ("server_version", "fsync", "synchronous_commit")


def main() -> None:
    server = postgres_kit.start_server(Path(sys.argv[1]))
    with postgres_kit.database(server=server) as url:
        with psycopg.connect(url) as connection:
            found = {name: connection.execute(f"SHOW {name}").fetchone() for name in SETTINGS}
        said = {name: row[0] for name, row in found.items() if row}
        print(json.dumps({"url": url} | said), flush=True)
        sys.stdin.read()


main()
