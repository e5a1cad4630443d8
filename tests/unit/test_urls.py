"""What of a URL may be told."""

import pytest

from rootless_builder.urls import apart, redacted


@pytest.mark.parametrize(("text", "told"), [
    ("ADD https://me:pass@host/f /", "ADD https://xxxxx@host/f /"),
    ("https://token@host/f http://me:p@ss@host:80?q=a@b#c@d", "https://xxxxx@host/f http://xxxxx@host:80?q=a@b#c@d"),
    ("HTTPS://me:@host ftp://me:pass@host socks5://:p@host", "HTTPS://xxxxx@host ftp://xxxxx@host socks5://xxxxx@host"),
    ("-i 'https://me:pass@host/simple', \"http://a:b@c\"", "-i 'https://xxxxx@host/simple', \"http://xxxxx@c\""),
    ("ssh://git@host/x.git git@host:x.git https://host/@scope/me:pass@x", None),
    ("https://host, and ann:pass@mail", None), ("http://host?a=b:c@d", None), ("", None)])
def test_a_password_is_masked_and_nothing_else(text: str, told: str | None) -> None:
    assert redacted(text) == (text if told is None else told)
    assert redacted(redacted(text)) == redacted(text)


@pytest.mark.parametrize(("url", "parts"), [
    ("https://me:p%40ss@host:1/f?q#r", ("https://host:1/f?q#r", "me", "p@ss")),
    ("https://token@host/f", ("https://host/f", "token", None)), ("https://me:@host", ("https://host", "me", "")),
    ("https://host/a:b@c", ("https://host/a:b@c", None, None))])
def test_user_and_password_come_apart(url: str, parts: tuple[str, str | None, str | None]) -> None:
    assert apart(url) == parts
