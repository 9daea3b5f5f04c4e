"""What admins do at the command line of the machine: look at live kernels, stop them, stop it all.

The service answers on a socket in its data directory (``server.py``); ``client.py`` asks there.
"""
