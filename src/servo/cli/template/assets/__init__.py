"""The assets of this project; the module's name is the namespace of what it declares."""
