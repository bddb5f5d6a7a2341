"""The virtual addresses of a module: where it serves, whichever node that is.

    links        which interface, which prefix; add and remove (netlink)
    duplicate    does another host have it?
    announce     tell the link that it is here now
    connections  end the TCP connections that cannot live on

An address is added with the interface's own prefix length, as a secondary one: with /32, local
clients would use it as their source and hang when it moves, and software that asks for "the node's
address" would find ours. It is marked (label `eth0:tf`, or deprecated for IPv6), so that this
node's own addresses can never be taken for it.
"""

from twofold.adapters.address.virtual import VirtualAddresses

__all__ = ["VirtualAddresses"]
