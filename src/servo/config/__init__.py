"""Configuration: layers become one frozen `Settings`."""

from servo.config.layers import load
from servo.config.settings import ENVIRONMENT_PREFIX, Origin, Setting, Settings

__all__ = ["ENVIRONMENT_PREFIX", "Origin", "Setting", "Settings", "load"]
