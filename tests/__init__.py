"""A package: discord-py-interactions installs one of the same name, which would be found first."""
