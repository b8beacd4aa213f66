"""The second build of a manifest, in a process of its own; see `servo.manifest.verify`.

Run as ``python -m servo.manifest.build_worker ROOT``. It imports the project at once, then reads
one JSON document from standard input (``tenantId``, ``workspaceId``, ``assetIds``) and writes the
manifest's canonical JSON to standard output. What user code prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from servo import errors


def main(arguments: list[str]) -> int:
    """Build the manifest; return the exit code."""
    (root,) = arguments
    # User code may write to the descriptor itself, so standard output is put out of its reach.
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)
        try:
            out.write(_build(Path(root)))
        except errors.ServoError as error:
            print(error, file=sys.stderr)
            return error.exit_code
    return 0


def _build(root: Path) -> bytes:
    from servo.manifest.builder import ManifestBuilder
    from servo.manifest.discovery import AssetDiscovery
    from servo.manifest.lockfile import Lockfile
    from servo.manifest.project import Project
    from servo.manifest.project_code import ProjectCode

    project = Project.load(root)
    code = ProjectCode(project.import_roots)
    assets = AssetDiscovery(project=project, code=code).discover()
    request = json.load(sys.stdin.buffer)
    builder = ManifestBuilder(
        tenant_id=request["tenantId"],
        workspace_id=request["workspaceId"],
        include_git=False,
        lockfile=Lockfile(request["assetIds"]),
        mint_ids=False,
        root=root,
        code=code,
    )
    return builder.build(assets).to_canonical_json().encode()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
