"""The encoded messages are those of etcd's rpc.proto, checked against bytes written by hand."""

from __future__ import annotations

import pytest

pytest.importorskip("grpc")

from twofold.lab.clients import etcd


def test_create_is_the_shape_kine_knows() -> None:
    # compare {target: MOD, key: "/k", mod_revision: 0}, success {put {key, value}}
    compare = b"\x08\x00\x10\x02\x1a\x02/k\x30\x00"
    put = b"\x12\x07\x0a\x02/k\x12\x01v"
    wanted = b"\x0a" + bytes([len(compare)]) + compare + b"\x12" + bytes([len(put)]) + put
    assert etcd.write_request(b"/k", b"v", 0) == wanted


def test_update_reads_the_key_when_it_loses() -> None:
    message = etcd.fields(etcd.write_request(b"/k", b"v", 300))
    (compare,), (failure,) = message[1], message[3]
    assert etcd.fields(compare)[6] == [300]
    assert etcd.fields(failure)[1] == [b"\x0a\x02/k"]


def test_answers_are_read() -> None:
    header = etcd.text(1, etcd.number(3, 4711))
    kv = etcd.text(1, b"/k") + etcd.number(2, 5) + etcd.number(3, 4700) + etcd.text(5, b"old")
    ranged = etcd.text(1, header + etcd.text(2, kv))
    lost = etcd.read_written(header + etcd.text(3, ranged))
    assert (lost.applied, lost.revision) == (False, 4711)
    assert lost.found == etcd.KeyValue(b"/k", b"old", 5, 4700)
    event = etcd.text(11, etcd.text(2, kv))
    assert etcd.read_batch(header + event + event).changed[1].mod_revision == 4700
    stopped = etcd.read_batch(header + etcd.number(4, 1) + etcd.number(5, 99))
    assert (stopped.cancelled, stopped.compact_revision) == ("cancelled", 99)


def test_garbage_is_an_error_not_a_hang() -> None:
    for garbage in (b"\x0a\x05ab", b"\x0b", b"\x0d\x00\x00\x00\x00"):
        with pytest.raises((ValueError, IndexError)):
            etcd.fields(garbage)


def test_the_end_of_a_prefix() -> None:
    assert etcd.prefix_end(b"/torture/") == b"/torture0"
