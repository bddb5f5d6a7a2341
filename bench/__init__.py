"""The measured comparison: the same works by fio on a bare directory, Twofold and GlusterFS.

What makes it honest: every subject uses the same two disks (ext4 images on loop devices, one for
each node) and the same network (a veth pair between two namespaces), with the same fio flags;
rounds are interleaved, so that a slow minute of the machine hits everybody; the figure is the
median.

What makes it safe: the whole run lives in mount and process namespaces of its own. When it ends,
however it ends, the kernel ends every process in it and drops every mount.
"""
