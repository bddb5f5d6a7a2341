"""The record files of one module's services, on disk in the run directory."""

from __future__ import annotations

import contextlib
from pathlib import Path

from twofold.adapters.services.family import boot_id
from twofold.wire import service_record
from twofold.wire.service_record import ServiceRecord, SideState

_SIDES = "sides"
_END = ".json"


def save(run: Path, record: ServiceRecord) -> None:
    _write(run / f"{record.service}{_END}", service_record.encode_record(record))


def load(run: Path, service: str) -> ServiceRecord | None:
    """None when there is none of this boot."""
    record = service_record.decode_record(_read(run / f"{service}{_END}"))
    return record if record is not None and record.boot_id == boot_id() else None


def drop(run: Path, service: str) -> None:
    (run / f"{service}{_END}").unlink(missing_ok=True)


def recorded(run: Path) -> list[ServiceRecord]:
    """Every service that has a record, also those no longer in the configuration."""
    names = sorted(path.name.removesuffix(_END) for path in run.glob(f"*{_END}"))
    return [r for name in names if name != f".{_SIDES}" and (r := load(run, name)) is not None]


def save_sides(run: Path, sides: dict[str, SideState]) -> None:
    _write(run / f".{_SIDES}{_END}", service_record.encode_sides(sides, boot_id()))


def load_sides(run: Path) -> dict[str, SideState]:
    return service_record.decode_sides(_read(run / f".{_SIDES}{_END}"), boot_id())


def _write(path: Path, text: str) -> None:
    """Whole or not at all, even when the daemon is killed in the middle."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.new")
    aside.write_text(text)
    aside.replace(path)


def _read(path: Path) -> str:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text()
    return ""
