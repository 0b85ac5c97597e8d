"""Addresses are cleaned into one form, sealed so that only the keys open them, and found by hash."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subscribers.addresses import (
    BadAddress,
    Kind,
    Unreadable,
    address_hash,
    clean,
    code,
    link_token,
    mask,
    network,
    read_link_token,
    seal,
    unseal,
)

KEY, OLD_KEY = b"k" * 32, b"o" * 32


@pytest.mark.parametrize(
    ("kind", "typed", "cleaned"),
    [
        pytest.param(Kind.EMAIL, " Anna@Example.ORG ", "Anna@example.org", id="the domain in lower case"),
        pytest.param(Kind.EMAIL, "a@bücher.example", "a@xn--bcher-kva.example", id="a domain in punycode"),
        pytest.param(Kind.EMAIL, "a@straße.de", "a@xn--strae-oqa.de", id="ß stays another domain than ss"),
        pytest.param(Kind.EMAIL, "a+b.c@sub.example.org", "a+b.c@sub.example.org", id="plus and dots"),
        pytest.param(Kind.PHONE, "+1 (617) 555-0123", "+16175550123", id="E.164"),
        pytest.param(Kind.PHONE, "+15005550010", "+15005550010", id="a provider's test number"),
        pytest.param(Kind.PHONE, "+49 170 1234567", "+491701234567", id="a German mobile"),
        pytest.param(Kind.URL, "https://Example.org", "https://example.org/", id="a hook"),
        pytest.param(Kind.URL, "https://example.org:443/a?b=1#c", "https://example.org/a?b=1", id="the usual port"),
        pytest.param(Kind.ACCOUNT, " @follow ", "@follow", id="an account"),
    ],
)  # fmt: skip
def test_an_address_has_one_form(kind: Kind, typed: str, cleaned: str) -> None:
    assert clean(kind, typed) == cleaned
    assert clean(kind, cleaned) == cleaned


@pytest.mark.parametrize(
    ("kind", "typed", "word"),
    [
        pytest.param(Kind.EMAIL, "", "empty", id="nothing"),
        pytest.param(Kind.EMAIL, "anna", "name@example.org", id="no at"),
        pytest.param(Kind.EMAIL, "a@b", "domain", id="no dot in the domain"),
        pytest.param(Kind.EMAIL, "a@[127.0.0.1]", "domain", id="an address literal"),
        pytest.param(Kind.EMAIL, "a@1.2.3.4", "domain", id="a bare IP address"),
        pytest.param(Kind.EMAIL, "a@-x.org", "domain", id="a label that begins with a hyphen"),
        pytest.param(Kind.EMAIL, "a..b@example.org", "before the @", id="two dots"),
        pytest.param(Kind.EMAIL, '"a b"@example.org', "before the @", id="a quoted local part"),
        pytest.param(Kind.EMAIL, "a,b@example.org", "before the @", id="two addresses"),
        pytest.param(Kind.EMAIL, "a@b@example.org", "before the @", id="two ats"),
        pytest.param(Kind.EMAIL, "a@x.org\r\nBcc: b@x.org", "invisible", id="a header smuggled in"),
        pytest.param(Kind.EMAIL, "a@x\u202e.org", "invisible", id="a direction override"),
        pytest.param(Kind.EMAIL, "a" * 65 + "@example.org", "too long", id="a long local part"),
        pytest.param(Kind.EMAIL, "a@" + "b." * 126 + "org", "too long", id="a long address"),
        pytest.param(Kind.PHONE, "617 555 0123", "country code", id="no country code"),
        pytest.param(Kind.PHONE, "+1 900 555 0123", "premium", id="a premium-rate number"),
        pytest.param(Kind.PHONE, "+1 617 555 01", "no such", id="too short"),
        pytest.param(Kind.PHONE, "+1 617 555 0123 ext. 4", "extension", id="an extension"),
        pytest.param(Kind.PHONE, "+44 7700 900123", "no such", id="an unassigned range abroad"),
        pytest.param(Kind.PHONE, "anna@example.org", "country code", id="a mail address"),
        pytest.param(Kind.URL, "http://example.org/", "https", id="no TLS"),
        pytest.param(Kind.URL, "https://u:p@example.org/", "password", id="a password"),
        pytest.param(Kind.URL, "javascript:alert(1)", "https", id="a script"),
        pytest.param(Kind.URL, "https://example.org:99999/", "https", id="an impossible port"),
        pytest.param(Kind.ACCOUNT, "a" * 256, "256", id="a long account"),
    ],
)  # fmt: skip
def test_a_bad_address_is_refused_in_one_sentence(kind: Kind, typed: str, word: str) -> None:
    with pytest.raises(BadAddress, match=word) as refused:
        clean(kind, typed)
    assert str(refused.value).endswith(".")
    assert "\n" not in str(refused.value)


def test_a_list_of_countries_allows_only_those() -> None:
    assert clean(Kind.PHONE, "+14155550123", countries={"US"}) == "+14155550123"
    with pytest.raises(BadAddress, match="country"):
        clean(Kind.PHONE, "+18765550123", countries={"US"})


@given(st.text())
@pytest.mark.slow
def test_whatever_is_typed_is_cleaned_or_refused(text: str) -> None:
    for kind in Kind:
        try:
            assert clean(kind, clean(kind, text)) == clean(kind, text)
        except BadAddress:
            continue


@given(st.text(max_size=300))
def test_a_sealed_address_comes_back(address: str) -> None:
    text = address.encode("utf-8", "replace").decode()
    assert unseal(seal(text, [KEY]), [KEY]) == text


def test_the_same_address_never_looks_the_same_sealed() -> None:
    first, second = seal("a@example.org", [KEY]), seal("a@example.org", [KEY])
    assert first != second
    assert b"example" not in first


def test_each_flipped_byte_is_noticed() -> None:
    sealed = seal("a@example.org", [KEY])
    for place in range(len(sealed)):
        bent = bytearray(sealed)
        bent[place] ^= 1
        with pytest.raises(Unreadable):
            unseal(bytes(bent), [KEY])


@pytest.mark.parametrize("length", [0, 1, 3, 8, 15, 20])
def test_a_cut_address_is_unreadable(length: int) -> None:
    with pytest.raises(Unreadable):
        unseal(seal("a@example.org", [KEY])[:length], [KEY])


def test_after_a_rotation_old_addresses_open_and_new_ones_use_the_new_key() -> None:
    before = seal("a@example.org", [OLD_KEY])
    rotated = [KEY, OLD_KEY]
    assert unseal(before, rotated) == "a@example.org"
    assert unseal(seal("b@example.org", rotated), [KEY]) == "b@example.org"
    with pytest.raises(Unreadable, match="FIELD_KEYS"):
        unseal(before, [os.urandom(32)])


def test_a_hash_finds_a_mailbox_whatever_its_capitals_but_not_without_the_secret() -> None:
    assert address_hash("email", "Anna@x.org", "s") == address_hash("email", "anna@x.org", "s")
    assert address_hash("email", "anna@x.org", "s") != address_hash("email", "anna@x.org", "t")
    assert address_hash("url", "https://x/A", "s") != address_hash("url", "https://x/a", "s")


def test_a_link_opens_only_what_it_was_made_for() -> None:
    token = link_token("confirm", "abcdefghijkl", "s")
    assert read_link_token("confirm", token, "s") == "abcdefghijkl"
    for purpose, text, secret in (
        ("manage", token, "s"),
        ("confirm", token, "t"),
        ("confirm", token[:-1], "s"),
        ("confirm", token + "A", "s"),
        ("confirm", token.replace("a", "b", 1), "s"),
        ("confirm", "", "s"),
        ("confirm", "abcdefghijkl", "s"),
        ("confirm", "ü-ü", "s"),
    ):
        assert read_link_token(purpose, text, secret) is None


def test_a_code_has_six_digits_and_belongs_to_its_letter() -> None:
    codes = {code(f"letter{number}", "s") for number in range(200)}
    assert all(len(text) == 6 and text.isdigit() for text in codes)
    assert len(codes) > 195


@pytest.mark.parametrize(
    ("kind", "address", "masked"),
    [
        pytest.param(Kind.EMAIL, "parent@example.org", "p•••@example.org", id="a mailbox"),
        pytest.param(Kind.PHONE, "+16175550123", "+1 ••• 23", id="a number"),
        pytest.param(
            Kind.URL, "https://example.org/secret", "https://example.org/•••", id="a hook"
        ),
    ],
)
def test_a_masked_address_gives_nothing_away(kind: Kind, address: str, masked: str) -> None:
    assert mask(kind, address) == masked


@pytest.mark.parametrize(
    ("remote", "forwarded", "trusted", "expected"),
    [
        pytest.param("192.0.2.7", "", [], "192.0.2.7/32", id="no proxy"),
        pytest.param("192.0.2.7", "198.51.100.1", [], "192.0.2.7/32", id="a header nobody vouches for"),
        pytest.param("10.0.0.1", "198.51.100.1", ["10.0.0.0/8"], "198.51.100.1/32", id="through the proxy"),
        pytest.param("10.0.0.1", "6.6.6.6, 198.51.100.1", ["10.0.0.1"], "198.51.100.1/32", id="a forged hop"),
        pytest.param("10.0.0.1", "198.51.100.1, 10.0.0.2", ["10.0.0.0/8"], "198.51.100.1/32", id="two proxies"),
        pytest.param("", "198.51.100.1", ["10.0.0.1"], "198.51.100.1/32", id="a unix socket behind a proxy"),
        pytest.param("", "198.51.100.1", [], "", id="a unix socket without a trusted proxy"),
        pytest.param("2001:db8:1:2:3::4", "", [], "2001:db8:1:2::/64", id="a household of IPv6"),
        pytest.param("::ffff:192.0.2.7", "", [], "192.0.2.7/32", id="IPv4 dressed as IPv6"),
        pytest.param("10.0.0.1", "nonsense", ["10.0.0.1"], "", id="nonsense"),
    ],
)  # fmt: skip
def test_a_network_is_what_trusted_proxies_say(
    remote: str, forwarded: str, trusted: list[str], expected: str
) -> None:
    assert network(remote, forwarded, trusted) == expected
