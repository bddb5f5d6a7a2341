"""What more than one adapter needs of the operating system: processes, their output, ICMP, systemd.

Below the adapters, which do not know each other; nothing here knows a module or its configuration.
"""
