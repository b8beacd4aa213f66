"""Stands before pandas on the path of commands under test: most users of a project lack it.

Where it is there, pyarrow imports it with the first list that becomes a column, which takes a third
of the time of a short command.
"""

raise ImportError("pandas is not part of this environment")
