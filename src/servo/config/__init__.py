"""Configuration: layers become one frozen `Settings`."""

from servo.config.layers import ENVIRONMENT_PREFIX, load
from servo.config.settings import Setting, Settings

__all__ = ["ENVIRONMENT_PREFIX", "Setting", "Settings", "load"]
