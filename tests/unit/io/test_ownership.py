from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from servo import errors
from servo.io import ownership


def test_a_data_root_belongs_to_the_workspace_that_used_it_first(tmp_path: Path) -> None:
    root = tmp_path / "tables"
    ownership.check(root, tenant_id="t", workspace_id="a")
    assert not root.exists()
    for _ in range(2):
        ownership.claim(root, tenant_id="t", workspace_id="a")
    ownership.check(root, tenant_id="t", workspace_id="a")
    for tenant, workspace in (("t", "b"), ("u", "a")):
        with pytest.raises(
            errors.ConfigurationError, match="holds the tables of workspace 'a'"
        ) as e:
            ownership.claim(root, tenant_id=tenant, workspace_id=workspace)
        assert e.value.code == "DATA_ROOT_IN_USE"
    assert [path.name for path in root.iterdir()] == [ownership.MARKER]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"tenantId": "t"}'])
def test_a_marker_that_makes_no_sense_stops_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / ownership.MARKER).write_text(text)
    ownership.claim(tmp_path, tenant_id="t", workspace_id="a")


def test_a_place_that_cannot_be_written_to_is_left_to_the_first_task(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ownership.claim(tmp_path / "file" / "tables", tenant_id="t", workspace_id="a")


def test_of_workspaces_that_come_at_once_one_gets_the_data_root(tmp_path: Path) -> None:
    refused: list[str] = []
    barrier = threading.Barrier(8)

    def claim(workspace: str) -> None:
        barrier.wait()
        try:
            ownership.claim(tmp_path, tenant_id="t", workspace_id=workspace)
        except errors.ConfigurationError:
            refused.append(workspace)

    threads = [threading.Thread(target=claim, args=(f"w{n}",)) for n in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(refused) == 7
    owner = json.loads((tmp_path / ownership.MARKER).read_text())["workspaceId"]
    assert owner not in refused
