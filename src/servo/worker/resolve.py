"""From the definition that was deployed to the function that implements it."""

from __future__ import annotations

import importlib
from typing import Any

from servo import errors
from servo._registry import get_registry
from servo.asset import Asset
from servo.types.assets import AssetDefinition

__all__ = ["find_asset"]


def find_asset(definition: AssetDefinition) -> Asset[..., Any]:
    """Import the module of an asset, once per process, and find it there.

    Raises:
        ConfigurationError: The module cannot be imported (the cause says why), or has no such
            asset: the code that this worker sees is not the code that was deployed.
    """
    code = definition.code
    try:
        module = importlib.import_module(code.module)
    except (Exception, SystemExit) as exc:  # a module runs arbitrary code; the cause is kept
        raise errors.ConfigurationError(
            f"the module {code.module!r} of {definition.key} cannot be imported: "
            f"{type(exc).__name__}: {exc}",
            code="IMPORT_FAILED",
            hint="Make it importable on the worker, from the project's root.",
        ) from exc
    found: Any = module
    for name in code.function.split("."):
        found = getattr(found, name, None)
    if not isinstance(found, Asset) or found.key != definition.key:
        # Made inside a function, or kept under another name: the registry knows it all the same.
        found = get_registry().get(definition.key)
    if not isinstance(found, Asset):
        raise errors.ConfigurationError(
            f"the module {code.module!r} has no asset {str(definition.key)!r}, which was deployed "
            f"as its function {code.function!r}",
            code="CODE_MISMATCH",
            hint="Deploy again, or give the worker the code that was deployed.",
        )
    return found
