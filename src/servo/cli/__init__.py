"""The command line: ``servo`` and ``servo-gen``, one module for each noun."""
