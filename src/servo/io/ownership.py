"""Which workspace the tables in a data root belong to.

Two workspaces of one project deploy assets of the same names. In one data root each would overwrite
the tables of the other, so the first worker that uses a data root writes down for whom, and a
worker of another workspace refuses it.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Final

from servo import errors

__all__ = ["MARKER", "check", "claim"]

MARKER: Final = ".servo-workspace.json"
"""Name of the file in a data root that names its workspace."""


def check(root: Path, *, tenant_id: str, workspace_id: str) -> None:
    """Refuse a data root that belongs to another workspace.

    Args:
        root: The data root; one that does not exist belongs to none.
        tenant_id: The tenant.
        workspace_id: The workspace that wants to use it.

    Raises:
        ConfigurationError: It belongs to another one; the message names it.
    """
    owner = _owner(root)
    if owner in (None, (tenant_id, workspace_id)):
        return
    assert owner is not None
    raise errors.ConfigurationError(
        f"the data root {str(root)!r} holds the tables of workspace {owner[1]!r} of tenant "
        f"{owner[0]!r}; workspace {workspace_id!r} of tenant {tenant_id!r} would overwrite them",
        code="DATA_ROOT_IN_USE",
        hint=f"Set data_root to a directory for each workspace, such as "
        f"'tables/{{workspace}}'; if it is to change hands, remove {MARKER} from it.",
        context={"data_root": str(root), "owner": "/".join(owner)},
    )


def claim(root: Path, *, tenant_id: str, workspace_id: str) -> None:
    """Take a data root for a workspace, or confirm that it belongs to it already.

    Args:
        root: The data root; it is made where it does not exist.
        tenant_id: The tenant.
        workspace_id: The workspace.

    Raises:
        ConfigurationError: It belongs to another workspace; the message names it.
    """
    if _owner(root) is None:
        # A place that cannot be written to is named by the first task that writes there.
        with contextlib.suppress(OSError):
            root.mkdir(parents=True, exist_ok=True)
            _mark(root, tenant_id, workspace_id)
    # Once it has an owner: another workspace may have been faster.
    check(root, tenant_id=tenant_id, workspace_id=workspace_id)


def _owner(root: Path) -> tuple[str, str] | None:
    try:
        found = json.loads((root / MARKER).read_bytes())
        return str(found["tenantId"]), str(found["workspaceId"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _mark(root: Path, tenant_id: str, workspace_id: str) -> None:
    """Write the marker in one step; of several workers that do it at once one wins."""
    document = {"tenantId": tenant_id, "workspaceId": workspace_id}
    handle, name = tempfile.mkstemp(dir=root, prefix=f"{MARKER}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(json.dumps(document) + "\n")
        Path(name).chmod(0o644)
        os.link(name, root / MARKER)
    finally:
        Path(name).unlink(missing_ok=True)
