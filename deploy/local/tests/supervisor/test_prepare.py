from pathlib import Path

from arks.local.supervisor.prepare import child_environment

BYTECODE = Path("/home/user/.arks/bytecode")


def test_children_inherit_only_settings_that_users_may_set() -> None:
    environment = child_environment({"ARKS_NATS_URL": "nats://elsewhere", "HOME": "/home/user"}, 7, BYTECODE)
    assert "ARKS_NATS_URL" not in environment
    assert ("/home/user", "7") == (environment["HOME"], environment["ARKS_SUPERVISOR_PID"])


def test_bytecode_goes_to_the_home_if_the_user_does_not_want_it_beside_the_sources() -> None:
    environment = child_environment({"PYTHONDONTWRITEBYTECODE": "1"}, 7, BYTECODE)
    assert "PYTHONDONTWRITEBYTECODE" not in environment
    assert str(BYTECODE) == environment["PYTHONPYCACHEPREFIX"]
    assert "PYTHONPYCACHEPREFIX" not in child_environment({}, 7, BYTECODE)
