"""The web process: REST API and console. Unprivileged; its death touches nothing.

It owns no state but sessions. What it shows comes from one look at the daemon that all browsers
share (`watch`), what it does goes through a bounded number of connections (`daemon_link`), and who
may do it is checked here (`access`) and once more by the daemon (`daemon/gate.py`).
"""
