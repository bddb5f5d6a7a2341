"""Real machines: two Debian guests under qemu, with systemd, NFS and the package as an
administrator installs it.
"""
