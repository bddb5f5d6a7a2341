"""Holding the virtual addresses of one module, and letting them go.

Order matters. Taking: look for another host, add, end connections of this node that were made to
the old holder, announce. Letting go: end connections while their resets can still be sent, remove,
end what came in between. While held, a task announces again and puts back an address that somebody
removed.

Netlink and sock_diag block for milliseconds, so they run in a thread; frames leave from the loop. A
thread cannot be cancelled, hence `_may_add`: what began before a release adds nothing after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import threading
from collections.abc import Sequence

from twofold.adapters.address import announce as announcing
from twofold.adapters.address import links as linking
from twofold.adapters.address import looking
from twofold.adapters.address.connections import end_connections
from twofold.adapters.address.duplicate import who_has
from twofold.adapters.address.links import Ip, Link, Place
from twofold.config.schema import Address
from twofold.errors import AddressInUse, MachineError
from twofold.ports import HeldAddress, Verdict
from twofold.wire.neighbour import mac_text

_LOG = logging.getLogger("twofold.address")
_WATCH_EVERY_S = 2.0


class VirtualAddresses:
    """The `AddressPort` of one module.

    `peers`: the addresses of the other nodes. A node that lost its epoch while it was frozen may
    still answer for the address; it is overruled with a warning, a stranger never is.
    `glance`: the modules of one node look together.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        peers: Sequence[str] = (),
        glance: linking.Glance | None = None,
    ) -> None:
        self._wanted = tuple((ipaddress.ip_interface(a.ip), a.interface) for a in addresses)
        self._ips: tuple[Ip, ...] = tuple(wanted.ip for wanted, _ in self._wanted)
        self._peers = frozenset(peers)
        self._glance = glance or linking.Glance()
        self._one_at_a_time = asyncio.Lock()
        self._changing = threading.Lock()
        self._may_add = False
        self._keeping: asyncio.Task[None] | None = None

    async def hold(self) -> None:
        """Add every address and announce it; all or none. Raises `AddressInUse`."""
        if not self._wanted:
            return
        async with self._one_at_a_time:
            self._may_add = True
            _announce(await self._add_missing(look=True))
            if self._keeping is None or self._keeping.done():
                self._keeping = asyncio.create_task(self._keep(), name="virtual addresses")

    async def release(self) -> None:
        """Remove every address that is here; connections through it end on this node."""
        if not self._wanted:
            return
        async with self._one_at_a_time:
            self._may_add = False
            await self._stop_keeping()
            await asyncio.to_thread(self._remove, self._glance.now_s())

    async def announce(self) -> None:
        """Announce the held addresses again, now and repeatedly as when they were taken: after a
        split the other node, which has them too, is heard for a while by those who ask."""
        async with self._one_at_a_time:
            await self._announce()
            if self._keeping is not None:
                await self._stop_keeping()
                self._keeping = asyncio.create_task(self._keep(), name="virtual addresses")

    async def held(self) -> Sequence[HeldAddress]:
        if not self._wanted:
            return ()
        links = await asyncio.to_thread(self._glance.links)
        found: list[HeldAddress] = []
        for wanted, interface in self._wanted:
            at = linking.holder(links, wanted.ip)
            found.append(HeldAddress(str(wanted), at[0].name if at else interface, at is not None))
        return tuple(found)

    async def look(self, ip: str | None) -> Verdict:
        """Whether `ip` (None: each) is here, can be used, and nobody else answers for it."""
        wanted = [
            address
            for address in await self.held()
            if ip in (None, str(ipaddress.ip_interface(address.ip).ip))
        ]
        if not wanted:
            return Verdict(False, f"the module has no virtual address {ip or 'at all'}")
        return await looking.look(wanted, await asyncio.to_thread(self._glance.links))

    async def close(self) -> None:
        """Stop watching and announcing; the addresses stay where they are."""
        await self._stop_keeping()

    async def _add_missing(self, look: bool) -> list[tuple[Ip, Link]]:
        """Where each address is now."""
        links = await asyncio.to_thread(self._glance.links_since, self._glance.now_s())
        places = self._places(links)
        if look:
            looks = (self._look(ip, place, links) for ip, place in places)
            for refused in await asyncio.gather(*looks, return_exceptions=True):
                if refused is not None:
                    raise refused
        added = await asyncio.to_thread(self._add, places)
        if added:
            await asyncio.to_thread(end_connections, added)
        return [*self._here(links), *((ip, place.link) for ip, place in places if ip in added)]

    def _here(self, links: tuple[Link, ...]) -> list[tuple[Ip, Link]]:
        found = [(ip, linking.holder(links, ip)) for ip in self._ips]
        return [(ip, at[0]) for ip, at in found if at is not None]

    def _places(self, links: tuple[Link, ...]) -> list[tuple[Ip, Place]]:
        """Where each address that is not here goes."""
        places: list[tuple[Ip, Place]] = []
        for wanted, interface in self._wanted:
            at = linking.holder(links, wanted.ip)
            if at is None:
                prefix = wanted.network.prefixlen
                places.append(
                    (wanted.ip, linking.choose_place(links, wanted.ip, prefix, interface))
                )
            elif linking.is_own_address(at[0], wanted.ip):
                raise AddressInUse(
                    f"{wanted.ip} is this node's own address on {at[0].name}. A virtual address "
                    "must be one that no machine has; choose another in module.toml."
                )
        return places

    async def _look(self, ip: Ip, place: Place, links: tuple[Link, ...]) -> None:
        ours = frozenset(link.mac for link in links if link.mac is not None)
        mac = await who_has(ip, place.link, ours)
        if mac is None:
            return
        if mac in await asyncio.to_thread(linking.neighbour_macs, self._peers):
            _LOG.warning(
                "the other node (%s) still answers for %s; this node takes it", mac_text(mac), ip
            )
            return
        raise AddressInUse(
            f"Another host ({mac_text(mac)}) has the virtual address {ip} on {place.link.name}. "
            "Take the address away from it, or choose another in module.toml."
        )

    def _add(self, places: list[tuple[Ip, Place]]) -> list[Ip]:
        """In a thread. On a failure, what was added is taken back."""
        added: list[tuple[Ip, Place]] = []
        with self._changing:
            try:
                for ip, place in places:
                    if self._may_add and linking.add_address(place, ip):
                        added.append((ip, place))
            except MachineError:
                for ip, place in added:
                    with contextlib.suppress(MachineError):
                        linking.remove_address(place.link, ip, place.prefix)
                raise
            finally:
                self._glance.forget()
        return [ip for ip, _ in added]

    def _remove(self, asked_s: float) -> None:
        """In a thread. Nothing is here: nothing happens, connections to the holder live on."""
        with self._changing:
            links = self._glance.links_since(asked_s)
            found = [at for ip in self._ips if (at := linking.holder(links, ip)) is not None]
            ours = [(link, a) for link, a in found if not linking.is_own_address(link, a.ip)]
            ips = [address.ip for _, address in ours]
            end_connections(ips)
            for link, address in ours:
                linking.remove_address(link, address.ip, address.prefix)
            self._glance.forget()
            end_connections(ips)

    async def _announce(self) -> None:
        _announce(self._here(await asyncio.to_thread(self._glance.links)))

    async def _keep(self) -> None:
        """Until cancelled: announce again, and put back what somebody removed."""
        loop = asyncio.get_running_loop()
        gaps_s = announcing.repeat_gaps_s()
        due_s = loop.time() + next(gaps_s)
        while True:
            await asyncio.sleep(max(0.0, min(due_s - loop.time(), _WATCH_EVERY_S)))
            try:
                if not all(address.held for address in await self.held()):
                    _LOG.warning("a virtual address had been removed; it is put back")
                    _announce(await self._add_missing(look=False))
                elif loop.time() >= due_s:
                    await self._announce()
            except (MachineError, AddressInUse) as error:
                _LOG.warning("%s", error)
            if loop.time() >= due_s:
                due_s = loop.time() + next(gaps_s)

    async def _stop_keeping(self) -> None:
        task, self._keeping = self._keeping, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _announce(where: list[tuple[Ip, Link]]) -> None:
    for ip, link in where:
        announcing.announce(ip, link)
