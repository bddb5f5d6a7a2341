"""The lab: two complete nodes on this machine, to learn on, to rehearse with, and to test.

Theory. A node of the lab is a set of namespaces (network, mount, process, host name) with its own
disk: a file system in an image file. Everything above is the product itself, the same commands and
the same daemons as on real servers. A power cut is honest: the node's cables go dead first, then
its file system is shut without a flush (what was only in the page cache is lost, as xfstests
simulates it), then every process of the node ends at once.

    kernel        the few system calls that Python 3.11 lacks: unshare, mount, ioctl
    requirements  what this machine must have, and the command that mends it
    record        what a lab consists of, kept on disk so that `down` always finds everything
    disks         image files, loop devices, power cut of a file system
    network       the switch and its cables
    boot, init    process 1 of a node: its mounts, its reaper, its supervisor
    hosts         starting a host, entering it, ending it
    lab           class Lab: up, down, kill, start, cut, heal, exec
    cluster       forming the cluster with the real commands
    compare       two directory trees, difference by difference
    ledger        which writes were acknowledged, how long the service was away
    clients       the writers that run on the client host
    demo, torture the main job, told; the main job, repeated under power cuts
"""
