"""Who builds: people for whom busybox comes from the registry that the tests start."""

import pytest

from tests.conftest import Person
from tests.registry_server import Registry


@pytest.fixture(params=["plain_user", "subuid_user", "root_user"])
def anyone(request: pytest.FixtureRequest, registry: Registry, busybox: str) -> Person:
    person: Person = request.getfixturevalue(request.param)
    person.mirror(registry)
    return person


@pytest.fixture
def user(plain_user: Person, registry: Registry, busybox: str) -> Person:
    plain_user.mirror(registry)
    return plain_user
