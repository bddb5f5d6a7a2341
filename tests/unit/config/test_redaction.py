"""What is secret is removed, by form, name and value; what is not stays."""

from __future__ import annotations

import json
import time

import pytest

from twofold.config.redaction import REMOVED, assigned, redact, redact_data

SECRET = "Tr0ub4dor+3"


@pytest.mark.parametrize(
    "text",
    [
        f"password = {SECRET}",
        f'db_password = "{SECRET}"',
        f"DB_PASSWORD='{SECRET}' ./run",
        f'export API_KEY="{SECRET}"',
        f'{{"apiToken":"{SECRET}","a":1}}',
        f"clientSecret: {SECRET}",
        f'secret = """\n{SECRET}\n"""',
        f"secret = '''\n{SECRET}\n'''",
        f'tokens = [\n  "{SECRET}",\n]',
        f'password = {{ default = "{SECRET}" }}',
        f"mysql --password {SECRET} shop",
        f"mysql --password={SECRET} shop",
        f"mount -o user=me,password={SECRET},ro",
        f"postgresql://shop:{SECRET}@db/shop",
        f"https://{SECRET}@example.org/x",
        f"Authorization: Bearer {SECRET}",
        f"curl -H 'X: bearer {SECRET}'",
        f"ALTER ROLE shop PASSWORD '{SECRET}'",
        f"CREATE USER a IDENTIFIED BY '{SECRET}'",
        f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----",
        f"-----BEGIN EC PRIVATE KEY-----\n{SECRET}",
        f"$argon2id$v=19$m=65536${SECRET}",
        f"root:$6${SECRET}:1",
        f"K10{'ab' * 32}::server:{SECRET}",
    ],
)
def test_known_by_form_or_name(text: str) -> None:
    clean, notes = redact(f"before\n{text}\nafter")
    assert SECRET not in clean and REMOVED in clean
    assert clean.startswith("before\n")
    assert notes and notes[0].startswith("line 2: ")
    assert SECRET not in "".join(notes)


def test_an_invitation() -> None:
    token = "-".join(["abcdefg2"] * 6)
    assert token not in redact(f"twofold cluster join a {token}")[0]


@pytest.mark.parametrize(
    "text",
    [
        'ip = "10.0.0.1/24"',
        "module files: PRIM since 12 s",
        "see http://10.0.0.1:8080/health",
        'directories = ["/srv/files"]',
        "tmpfs /run tmpfs rw,nosuid,size=10% 0 0",
        "mail to ops@example.org",
    ],
)
def test_what_is_not_secret_stays(text: str) -> None:
    assert redact(text) == (text, [])


@pytest.mark.parametrize("value", [SECRET, 'with"quote', "sp ace/und=er", "schlüssel9"])
def test_a_known_value_is_found_in_each_spelling(value: str) -> None:
    from urllib.parse import quote

    text = f"{value}\n{json.dumps(value)}\n{quote(value, safe='')}\n"
    clean, notes = redact(text, {value})
    assert value not in clean and json.dumps(value)[1:-1] not in clean
    assert quote(value, safe="") not in clean
    assert len(notes) == 3


def test_a_longer_value_is_removed_whole() -> None:
    assert redact("x secret99more y", {"secret99", "secret99more"})[0] == f"x {REMOVED} y"


def test_values_that_names_have() -> None:
    text = 'db_password = "one two"\nTOKEN=abcdef\nKEY=$OTHER\nplain = "no"\n'
    assert assigned(text) == {"one two", "abcdef"}


def test_data_stays_data() -> None:
    data = {
        "password": "x", "n": 3, "on": True, "secret": True, "tokens": ["abc"],
        "rows": [{"sentence": f"it said {SECRET}"}], SECRET: None,
    }  # fmt: skip
    clean, notes = redact_data(data, {SECRET})
    assert clean == {
        "password": REMOVED, "n": 3, "on": True, "secret": True, "tokens": REMOVED,
        "rows": [{"sentence": f"it said {REMOVED}"}], REMOVED: None,
    }  # fmt: skip
    assert len(notes) == 4 and SECRET not in str(notes)


@pytest.mark.parametrize("piece", ["a", "--a", "key", "://", "$6$", "password ", '"', "K10ab", "{"])
def test_a_hostile_text_costs_little(piece: str) -> None:
    begin_s = time.process_time()
    redact(piece * (256 * 1024 // len(piece)), {SECRET})
    assert time.process_time() - begin_s < 3.0
