"""Machines that run kernels: the seam, and the one that needs nothing but this machine."""
