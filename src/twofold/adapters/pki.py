"""The cluster's certificate authority and this node's key: files under /etc/twofold/pki.

ECDSA P-256 and SHA-256 throughout, X.509 v3, verified by Python's ssl (control channel) and by
rustls (flow). The CA's name is `twofold CLUSTER_UUID`; it lives ten years on every node, so that
any node can admit the next. A node's certificate has the name `NODE.CLUSTER_UUID.twofold`, serves
as server and as client, and lives two years. Both begin a day early, because clocks differ.

The CA's certificate is made anew with the same key and name: whoever trusts the old one believes
what hangs on the new one, and the other way round, so each node does that by itself.

Private files are written aside with mode 0600, synced and renamed: a power cut leaves the old or
the new file, never half of one, and no other user ever reads a key.
"""

from __future__ import annotations

import ctypes
import datetime
import ipaddress
import os
import secrets
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from twofold.errors import CommandRefused, MachineError, PeerRefused
from twofold.wire.control import certificate_name

CA_DAYS = 3652
NODE_DAYS = 730
WEB_DAYS = 397  # what browsers take at most from public authorities
BACKDATED_DAYS = 1
DAY_S = 86400.0
DAY_VARIABLE = "TWOFOLD_CERTIFICATE_DAY_S"  # tests: certificates that end while somebody watches
HEARTBEAT_KEY_BYTES = 32
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Authority:
    """The CA of one cluster, as PEM."""

    certificate: bytes
    key: bytes


def create_authority(cluster_id: str) -> Authority:
    return _authority(ec.generate_private_key(ec.SECP256R1()), cluster_id)


def renewed_authority(authority: Authority, cluster_id: str) -> Authority:
    """The same key and name, from now on."""
    return _authority(_load_key(authority.key), cluster_id)


def _authority(key: ec.EllipticCurvePrivateKey, cluster_id: str) -> Authority:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"twofold {cluster_id}")])
    usage = _usage(sign_certificates=True)
    certificate = (
        _builder(name, name, key.public_key(), CA_DAYS * _day_s())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(_pem(certificate), _key_pem(key))


def create_key() -> bytes:
    """A new private key as PEM."""
    return _key_pem(ec.generate_private_key(ec.SECP256R1()))


def create_request(key_pem: bytes, node: str) -> bytes:
    """A request (CSR, PEM) for a certificate of `node`."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    return _pem(builder.sign(_load_key(key_pem), hashes.SHA256()))


def sign_request(authority: Authority, request_pem: bytes, node: str, cluster_id: str) -> bytes:
    """The node's certificate (PEM). Only the request's public key is taken over, nothing else."""
    public_key = _requested_key(request_pem)
    ca = x509.load_pem_x509_certificate(authority.certificate)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node)])
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    names = [x509.DNSName(certificate_name(node, cluster_id))]
    ca_key_id = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    certificate = (
        _builder(subject, ca.subject, public_key, NODE_DAYS * _day_s())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(both), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_key_id),
            critical=False,
        )
        .sign(_load_key(authority.key), hashes.SHA256())
    )
    return _pem(certificate)


def sign_web_request(
    authority: Authority, request_pem: bytes, node: str, names: Iterable[str]
) -> bytes:
    """A certificate for the console of `node`: a server's, and no node's; `names` may be IPs."""
    ca = x509.load_pem_x509_certificate(authority.certificate)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"twofold console {node}")])
    certificate = (
        _builder(subject, ca.subject, _requested_key(request_pem), WEB_DAYS * DAY_S)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([_general_name(n) for n in names]), critical=False
        )
        .sign(_load_key(authority.key), hashes.SHA256())
    )
    return _pem(certificate)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def names_in(certificate_pem: bytes) -> set[str]:
    """The names and addresses that a certificate is for."""
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return set()
    return {str(n.value) for n in extension.value}


def key_fingerprint(request_pem: bytes) -> str:
    """Says whether two requests come from the same key."""
    public = _requested_key(request_pem).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    digest = hashes.Hash(hashes.SHA256())
    digest.update(public)
    return digest.finalize().hex()


def certificate_der(certificate_pem: bytes) -> bytes:
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
    except ValueError:
        raise PeerRefused("what was received is not a certificate") from None
    return certificate.public_bytes(serialization.Encoding.DER)


def expires_in_days(certificate_pem: bytes, now_s: float | None = None) -> float:
    end = x509.load_pem_x509_certificate(certificate_pem).not_valid_after_utc
    now = time.time() if now_s is None else now_s
    return (end.timestamp() - now) / DAY_S


def half_spent_at_s(certificate_pem: bytes) -> float:
    """When half of its life is over: time to make it anew."""
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    begin_s = certificate.not_valid_before_utc.timestamp() + BACKDATED_DAYS * DAY_S
    end_s = certificate.not_valid_after_utc.timestamp()
    return (begin_s + end_s) / 2


def _day_s() -> float:
    return float(os.environ.get(DAY_VARIABLE) or DAY_S)


def create_heartbeat_key() -> bytes:
    """The content of heartbeat.key: 64 hexadecimal digits and a line end."""
    return secrets.token_hex(HEARTBEAT_KEY_BYTES).encode() + b"\n"


def load_heartbeat_keys(pki: Path) -> tuple[bytes, ...]:
    """The keys in heartbeat.key, 32 bytes each, one on a line: the first is said, all are heard."""
    try:
        lines = (pki / "heartbeat.key").read_text("ascii").split()
        keys = tuple(bytes.fromhex(line) for line in lines)
    except (OSError, ValueError):
        keys = ()
    if not keys or any(len(key) != HEARTBEAT_KEY_BYTES for key in keys):
        raise MachineError(
            f"{pki / 'heartbeat.key'} is missing or damaged",
            "Copy it from the other node, or leave and join the cluster again.",
        )
    return keys


def write_key_pair(pki: Path, key: bytes, certificate: bytes) -> None:
    """Key and certificate together: the directory is made anew aside and exchanged in one step."""
    aside = pki.with_name(f".{pki.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(pki, aside)
    write_pki(aside, {"node.key": key, "node.crt": certificate})
    exchange_names(aside, pki)
    shutil.rmtree(aside)


def exchange_names(one: Path, two: Path) -> None:
    """Swap two names in one step (`renameat2`)."""
    here = ctypes.c_int(_AT_FDCWD)
    names = os.fsencode(one), os.fsencode(two)
    if _LIBC.renameat2(here, names[0], here, names[1], _RENAME_EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise MachineError(f"{two} cannot be replaced: {os.strerror(number)}")


def load_authority(pki: Path) -> Authority:
    try:
        return Authority((pki / "ca.crt").read_bytes(), (pki / "ca.key").read_bytes())
    except OSError as e:
        raise MachineError(f"{e.filename} cannot be read: {e.strerror}") from None


def write_file(path: Path, content: bytes, mode: int = 0o600, group: int | None = None) -> None:
    """Write aside, sync, rename, sync the directory. Nobody else ever sees it with another mode."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.new")
    aside.unlink(missing_ok=True)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode & 0o700)
    with os.fdopen(descriptor, "wb") as file:
        if group is not None:
            os.fchown(file.fileno(), -1, group)
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_pki(pki: Path, files: dict[str, bytes]) -> None:
    """Write `ca.crt`, `node.key` and the like; the directory is root's alone."""
    pki.mkdir(mode=0o700, parents=True, exist_ok=True)
    pki.chmod(0o700)
    for name, content in files.items():
        write_file(pki / name, content, 0o644 if name.endswith(".crt") else 0o600)


def _requested_key(request_pem: bytes) -> ec.EllipticCurvePublicKey:
    try:
        request = x509.load_pem_x509_csr(request_pem)
        valid = request.is_signature_valid
        public_key = request.public_key()
    except (ValueError, InvalidSignature):
        raise CommandRefused("the certificate request is damaged") from None
    if not valid or not isinstance(public_key, ec.EllipticCurvePublicKey):
        raise CommandRefused("the certificate request is not signed by an ECDSA key")
    return public_key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, life_s: float
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=BACKDATED_DAYS))
        .not_valid_after(now + datetime.timedelta(seconds=life_s))
    )


def _usage(sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise MachineError("the private key is not an ECDSA key")
    return key


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _pem(thing: x509.Certificate | x509.CertificateSigningRequest) -> bytes:
    return thing.public_bytes(serialization.Encoding.PEM)
