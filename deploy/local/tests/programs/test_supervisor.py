from pathlib import Path

from arks.local.programs.supervisor import child_environment

BYTECODE = Path("/home/user/.arks/bytecode")


def test_children_get_no_setting_of_arks_that_people_did_not_choose() -> None:
    given = child_environment({"ARKS_NATS_URL": "nats://elsewhere", "HOME": "/home/user"}, 7, BYTECODE)
    assert "ARKS_NATS_URL" not in given
    assert ("/home/user", "7") == (given["HOME"], given["ARKS_SUPERVISOR_PID"])


def test_compiled_python_lies_in_arks_directory_where_people_do_not_want_it_beside_the_sources() -> None:
    given = child_environment({"PYTHONDONTWRITEBYTECODE": "1"}, 7, BYTECODE)
    assert "PYTHONDONTWRITEBYTECODE" not in given
    assert str(BYTECODE) == given["PYTHONPYCACHEPREFIX"]
    assert "PYTHONPYCACHEPREFIX" not in child_environment({}, 7, BYTECODE)
