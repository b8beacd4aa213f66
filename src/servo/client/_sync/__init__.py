"""The synchronous client: all but ``_glue`` is generated from ``servo.client._aio``."""
