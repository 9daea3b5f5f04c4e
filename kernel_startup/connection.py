"""Where kernel and service find each other's sockets and files."""

#: The sockets' common prefix inside the sandbox; the service sees the same directory elsewhere.
SOCKET_PREFIX = "/run/kernel/s"
#: The socket of each channel is at ``{prefix}-{number}``.
PORTS = {"shell_port": 1, "iopub_port": 2, "stdin_port": 3, "control_port": 4, "hb_port": 5}
#: The snapshot of a user's variables that a kernel leaves in its home, and the one that it is given
#: beside the user's packages.
SNAPSHOT = ".snapshot"
