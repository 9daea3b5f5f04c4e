"""The Discord front end: the only place that knows interactions.py."""
