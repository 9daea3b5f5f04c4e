"""What people talk to: the local console, and later Discord, on the interpreter's public names."""
