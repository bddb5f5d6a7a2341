"""What a file system does, as small operations whose results can be compared.

Each operation is a function of a directory of its own, and returns what a program there could see.
It is run on the mount and on a bare directory of the same file system; both must tell the same.
"""
