"""The application of a module: what runs on the node that serves (and beside it, if asked).

application   the port: order, sides, what survives a restart of the daemon
driver        what each way to run a service offers:
  supervised    a command, kept by us
  scripts       a script called with start and stop; also the module's own scripts
  systemd_unit  a unit, kept by systemd
child         start a process, hear of its end
launch        the last steps inside the new process
family        all processes of a service, and their forced end
control_group, output, records, place   where they live, what they say, what is remembered
"""

from twofold.adapters.services.application import Application

__all__ = ["Application"]
