"""What lives inside every kernel: ``FILES``, ``load_file`` and the start of a user's namespace.

Importing this package costs nothing: each module imports its libraries at first use.
"""
