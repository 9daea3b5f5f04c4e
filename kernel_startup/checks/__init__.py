"""What tells types apart that bytes at fixed places don't: one module a group of families.

A check is a function of a `Source` that says whether the file is of its type. It looks at the head
(`source.head`), or reads a little at the end; it imports nothing beyond the standard library, and
raises nothing that `kernel_startup.recognition` doesn't take for a no.
"""
