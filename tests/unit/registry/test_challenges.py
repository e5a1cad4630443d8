import pytest

from rootless_builder.registry.tokens import Challenge, choose, parse_challenges


@pytest.mark.parametrize(("headers", "found"), [
    ([], []),
    (["Basic"], [("basic", {})]),
    (['Basic realm="a b"'], [("basic", {"realm": "a b"})]),
    (['Bearer realm="https://auth.example/token",service="reg",scope="repository:a/b:pull,push"'],
     [("bearer", {"realm": "https://auth.example/token", "service": "reg", "scope": "repository:a/b:pull,push"})]),
    (['bearer Realm="https://a.example" , Service=reg.example'],
     [("bearer", {"realm": "https://a.example", "service": "reg.example"})]),
    (['Negotiate, Basic realm="x", Bearer realm="https://a.example"'],
     [("negotiate", {}), ("basic", {"realm": "x"}), ("bearer", {"realm": "https://a.example"})]),
    (['Basic realm="quote \\" and \\\\ slash"', "Bearer realm=https://t.example"],
     [("basic", {"realm": 'quote " and \\ slash'}), ("bearer", {"realm": "https://t.example"})]),
    (["=", ",,,", '"'], []),
])
def test_what_servers_write(headers, found):
    assert parse_challenges(headers) == [Challenge(scheme, parameters) for scheme, parameters in found]


def test_a_token_is_preferred_to_sending_the_password_each_time():
    basic, bearer = Challenge("basic", {}), Challenge("bearer", {"realm": "https://a.example"})
    assert choose([basic, bearer]) is bearer and choose([basic]) is basic
    assert choose([Challenge("bearer", {}), basic]) is basic
    assert choose([Challenge("negotiate", {})]) is None
