"""Certificates as both TLS sides verify them: Python's ssl here, with the names checked."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from twofold.adapters import pki
from twofold.errors import CommandRefused, MachineError
from twofold.wire.control import certificate_name

CLUSTER = "00000000-0000-4000-8000-000000000000"


def test_a_node_certificate_is_what_the_contract_says() -> None:
    authority = pki.create_authority(CLUSTER)
    key = pki.create_key()
    pem = pki.sign_request(authority, pki.create_request(key, "b"), "b", CLUSTER)
    node = x509.load_pem_x509_certificate(pem)
    ca = x509.load_pem_x509_certificate(authority.certificate)
    node.verify_directly_issued_by(ca)
    assert node.version is x509.Version.v3
    names = node.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [certificate_name("b", CLUSTER)]
    usage = node.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert not node.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert ca.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=23)
    assert node.not_valid_before_utc < yesterday
    assert 720 < pki.expires_in_days(pem) < 731
    assert pki.expires_in_days(authority.certificate) > 3600


def test_only_the_key_of_a_request_is_taken_over() -> None:
    authority = pki.create_authority(CLUSTER)
    request = pki.create_request(pki.create_key(), "someone-else")
    pem = pki.sign_request(authority, request, "b", CLUSTER)
    assert "someone-else" not in x509.load_pem_x509_certificate(pem).subject.rfc4514_string()


@pytest.mark.parametrize("request_pem", [b"", b"garbage", b"-----BEGIN CERTIFICATE REQUEST-----\n"])
def test_a_damaged_request_is_refused(request_pem: bytes) -> None:
    with pytest.raises(CommandRefused, match="damaged"):
        pki.sign_request(pki.create_authority(CLUSTER), request_pem, "b", CLUSTER)


def test_the_same_key_has_the_same_fingerprint() -> None:
    key = pki.create_key()
    one, two = (pki.key_fingerprint(pki.create_request(key, n)) for n in ("a", "b"))
    assert one == two
    assert one != pki.key_fingerprint(pki.create_request(pki.create_key(), "a"))


def test_keys_are_for_root_alone(tmp_path: Path) -> None:
    directory = tmp_path / "pki"
    pki.write_pki(directory, {"node.key": b"k", "ca.crt": b"c"})
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "node.key").stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in directory.iterdir()) == ["ca.crt", "node.key"]


def test_the_heartbeat_key(tmp_path: Path) -> None:
    pki.write_pki(tmp_path, {"heartbeat.key": pki.create_heartbeat_key()})
    assert [len(key) for key in pki.load_heartbeat_keys(tmp_path)] == [32]
    (tmp_path / "heartbeat.key").write_text("zz")
    with pytest.raises(MachineError, match="missing or damaged"):
        pki.load_heartbeat_keys(tmp_path)


def test_openssl_loads_what_we_write(tmp_path: Path) -> None:
    authority, key = pki.create_authority(CLUSTER), pki.create_key()
    pem = pki.sign_request(authority, pki.create_request(key, "a"), "a", CLUSTER)
    pki.write_pki(tmp_path, {"ca.crt": authority.certificate, "node.crt": pem, "node.key": key})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(str(tmp_path / "ca.crt"))
    context.load_cert_chain(str(tmp_path / "node.crt"), str(tmp_path / "node.key"))


def test_a_key_pair_is_exchanged_in_one_step(tmp_path: Path) -> None:
    directory = tmp_path / "pki"
    pki.write_pki(directory, {"node.key": b"k", "node.crt": b"c", "ca.crt": b"ca"})
    pki.write_key_pair(directory, b"new k", b"new c")
    found = {p.name: p.read_bytes() for p in directory.iterdir()}
    assert found == {"node.key": b"new k", "node.crt": b"new c", "ca.crt": b"ca"}
    assert [p.name for p in tmp_path.iterdir()] == ["pki"]
    assert directory.stat().st_mode & 0o777 == 0o700
