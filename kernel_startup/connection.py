"""Where a kernel's sockets are, for the kernel and for the service that connects to it."""

#: The sockets' common prefix inside the sandbox; the service sees the same directory elsewhere.
SOCKET_PREFIX = "/run/kernel/s"
#: The socket of each channel is at ``{prefix}-{number}``.
PORTS = {"shell_port": 1, "iopub_port": 2, "stdin_port": 3, "control_port": 4, "hb_port": 5}
