"""Talking to a control plane."""

from __future__ import annotations

from servo.client._client import Client

__all__ = ["Client"]
