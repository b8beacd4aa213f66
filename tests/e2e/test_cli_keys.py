"""``servo keys`` against the control plane of a project, and what the keys then open."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
from pathlib import Path

from servo_project import ServoProject, wait_until


def test_a_key_is_made_listed_and_revoked(project: ServoProject) -> None:
    made = project.run("keys", "create", "--role", "viewer", "--name", "board", "--expires", "30d")
    assert made.code == 0, made
    text = made.out.strip()
    shape = re.fullmatch(r"servo_([a-z0-9]{8})_[A-Za-z0-9_-]{43}", text)
    assert shape is not None, made
    assert "cannot be shown again" in made.err
    listed = project.run("keys", "list")
    assert "board" in listed.out and shape[1] in listed.out, listed
    assert text not in listed.out
    revoked = project.run("keys", "revoke", shape[1])
    assert (revoked.code, f"Key {shape[1]} is revoked" in revoked.out) == (0, True), revoked
    (key,) = project.run("keys", "list", "--json").json["keys"]
    assert key["revokedAt"] and key["role"] == "ROLE_VIEWER"


def test_json_holds_the_key_and_what_it_is(project: ServoProject) -> None:
    made = project.run(
        *("keys", "create", "--role", "worker", "--tenant", "acme", "--workspace", "*"),
        *("--expires", "never", "--json"),
    )
    assert made.code == 0, made
    assert made.json["apiKey"].startswith(f"servo_{made.json['key']['keyId']}_")
    assert made.json["key"]["tenantId"] == "acme"
    assert made.json["key"]["workspaceId"] == "*"
    assert "expiresAt" not in made.json["key"]
    assert project.run("keys", "list", "--json").json["keys"] == []
    assert len(project.run("keys", "list", "--tenant", "acme", "--json").json["keys"]) == 1


def test_the_text_of_a_key_is_nowhere_on_the_disk(project: ServoProject) -> None:
    text = project.run("keys", "create", "--role", "viewer").out.strip()
    secret = text[-43:].encode()
    state = project.root / ".servo"
    for path in [path for path in state.rglob("*") if path.is_file()]:
        assert secret not in path.read_bytes(), path
    with sqlite3.connect(f"file:{state / 'servo.db'}?mode=ro", uri=True) as db:
        assert db.execute("SELECT count(*) FROM api_keys").fetchone() == (1,)
    db.close()


def test_an_unknown_key_and_a_strange_expiry_are_refused(project: ServoProject) -> None:
    missing = project.run("keys", "revoke", "zzzzzzzz")
    assert missing.code == 2 and "no API key 'zzzzzzzz'" in missing.err, missing
    for expiry in ("soon", "0d", "30", "2020-01-01"):
        refused = project.run("keys", "create", "--role", "viewer", "--expires", expiry)
        assert refused.code == 2, refused
        assert "expire" in refused.err, refused


def test_the_server_file_is_for_its_owner_and_names_both_ports(project: ServoProject) -> None:
    dev = project.start("dev")
    try:
        wait_until(lambda: project.server is not None, "server.json appears")
        server = project.server
        assert server is not None
        path: Path = project.root / ".servo" / "server.json"
        assert path.stat().st_mode & 0o777 == 0o600
        assert server["grpcUrl"].startswith("grpc://127.0.0.1:")
        assert server["httpUrl"].startswith("http://127.0.0.1:")
    finally:
        dev.terminate()
        dev.wait(30)


def test_a_key_is_written_to_a_file_that_only_its_owner_can_read(project: ServoProject) -> None:
    out = project.root / "worker.key"
    before = os.umask(0)
    try:
        made = project.ok("keys", "create", "--role", "worker", "--out", "worker.key")
    finally:
        os.umask(before)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    first = out.read_text()
    assert re.fullmatch(r"servo_[a-z0-9]{8}_[A-Za-z0-9_-]{43}\n", first)
    assert first.strip() not in made.out + made.err
    assert "SERVO_API_KEY_FILE=worker.key" in made.out
    out.chmod(0o644)
    again = project.ok("keys", "create", "--role", "worker", "--out", "worker.key", "--json")
    assert again.json["apiKey"] == ""
    assert (stat.S_IMODE(out.stat().st_mode), out.read_text() != first) == (0o600, True)


def test_where_a_key_cannot_be_written_none_is_made(project: ServoProject) -> None:
    refused = project.run("keys", "create", "--role", "worker", "--out", "nowhere/worker.key")
    assert refused.code == 74
    assert "no key was made" in refused.err
    assert project.run("keys", "create", "--role", "worker", "--out", "/dev/null").code == 2
    assert project.ok("keys", "list").out == "There are no keys.\n"
