"""What is read of this machine: against the machine itself."""

from __future__ import annotations

from pathlib import Path

from twofold.adapters import facts
from twofold.config.load import Module, parse_module


def module_of(directory: Path, *directories: str) -> Module:
    listed = ", ".join(f'"{d}"' for d in directories)
    text = f"[replication]\ndirectories = [{listed}]\n"
    text += '[[service]]\nname = "x"\ncommand = ["/bin/x"]\nuser = "root"\n'
    text += '[[service]]\nname = "y"\ncommand = ["/bin/x"]\nuser = "no-such-user"\n'
    return Module("files", parse_module("files", text), directory, "")


def test_directories_users_and_scripts(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file").touch()
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "run").touch(mode=0o755)
    (tmp_path / "scripts" / "notes").touch(mode=0o644)
    names = [str(tmp_path / n) for n in ("real", "link", "file", "nothing")]
    found = facts.gather(module_of(tmp_path, *names), (Path("/etc/twofold"),))
    real, link, file, nothing = names
    assert found.directories == {real: real, link: real, file: None, nothing: None}
    assert found.users == {"root"}
    assert found.scripts == {"run"}
    assert "/etc/twofold" in found.reserved


def test_a_directory_that_is_not_there_is_not_called_unfit() -> None:
    found = facts.gather(module_of(Path("/nowhere"), "/sys/kernel/debug/x", "/nowhere"), ())
    assert found.without_handles == frozenset()


def test_interfaces_have_networks_and_loopback_is_none_of_them() -> None:
    networks = facts.interface_networks()
    assert "lo" not in networks
    assert all("/" in address for addresses in networks.values() for address in addresses)
