"""The assets of the nycflights project, one module per layer: raw, staging, mart."""
