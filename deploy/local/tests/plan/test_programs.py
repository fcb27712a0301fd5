"""The programs of one Arks and their settings."""

from pathlib import Path

from arks.endpoint_router.adapters import envoy
from arks.gateway_filter import library_directory
from arks.local.files.paths import Paths
from arks.local.plan import binaries
from arks.local.plan.addresses import PORT_NAMES
from arks.local.plan.programs import Binaries, Machine, Program, envoy_command, programs
from arks.local.supervisor.supervisor import ENGINES_SECONDS, GATEWAY_SECONDS, SERVERS

PATHS = Paths(Path("/home/ada/.arks"))
PORTS = {name: 20_000 + number for number, name in enumerate((*PORT_NAMES, "gateway"))}


def plan() -> dict[str, Program]:
    directory = Path("/bin")
    found = Binaries(directory / "nats-server", directory / "valkey-server", directory / "envoy", Path("/filter"))
    machine = Machine(PATHS, PORTS, found, {"PATH": "/usr/bin"})
    return {program.name: program for program in programs(machine)}


def test_every_program_starts_after_those_it_needs() -> None:
    seen: set[str] = set()
    for name, program in plan().items():
        assert set(program.after) <= seen, name
        seen.add(name)


def test_no_two_programs_listen_on_one_port() -> None:
    ports = [program.probe.address for program in plan().values()]
    assert len(ports) == len(set(ports))


def test_other_users_and_web_pages_do_not_reach_discovery_admission_usage_and_envoys_admin_interface() -> None:
    found = plan()
    assert PATHS.envoy_admin_socket == found["envoy"].probe.address
    settings = {
        "endpoint-router": ("XDS_SOCKET", PATHS.xds_socket),
        "usage-shipper": ("ENVOY_ADMIN_SOCKET", PATHS.envoy_admin_socket),
        "token-quota": ("API_SOCKET", PATHS.token_quota_socket),
    }
    for name, (setting, path) in settings.items():
        assert str(path) == found[name].environment[f"ARKS_{setting}"]
    prepared = found["envoy"].prepare or ()
    assert {str(PATHS.xds_socket), str(PATHS.envoy_admin_socket)} < set(prepared)


def test_no_secret_is_on_a_command_line_or_in_an_environment() -> None:
    for program in plan().values():
        texts = [*program.command, *program.environment.values()]
        assert not [text for text in texts if text.startswith("sk-")]
        names = {name for name in program.environment if "TOKEN" in name or "PASSWORD" in name or "PEPPER" in name}
        assert all(name.endswith(("_FILE", "_SOCKET")) for name in names)


def test_all_stop_timeouts_together_are_less_than_5_seconds() -> None:
    stops = {name: program.stop_seconds for name, program in plan().items()}
    services = max(seconds for name, seconds in stops.items() if name not in {"envoy", *SERVERS})
    servers = max(stops[name] for name in SERVERS)
    assert GATEWAY_SECONDS + stops["envoy"] + services + 2 * ENGINES_SECONDS + servers < 5


def test_a_service_gets_the_addresses_of_its_servers() -> None:
    environment = plan()["token-quota"].environment
    expected = {
        "PATH": "/usr/bin",
        "ARKS_NATS_URL": f"nats://127.0.0.1:{PORTS['nats']}",
        "ARKS_NATS_TOKEN_FILE": "/home/ada/.arks/nats-token",
        "ARKS_STATE_DIR": "/home/ada/.arks",
        "ARKS_HTTP_PORT": str(PORTS["token-quota"]),
        "ARKS_LOG_LEVEL": "info",
        "ARKS_DRAIN_SECONDS": "0.7",
        "ARKS_REDIS_URL": f"redis://127.0.0.1:{PORTS['valkey']}",
        "ARKS_REDIS_PASSWORD_FILE": "/home/ada/.arks/valkey-password",
        "ARKS_DATABASE_URL": "sqlite+aiosqlite:////home/ada/.arks/ledger.db",
        "ARKS_API_SOCKET": str(PATHS.token_quota_socket),
        "ARKS_PEPPER_FILE": "/home/ada/.arks/pepper",
    }
    assert expected == environment


def test_only_programs_that_work_after_the_answers_stand_back_for_the_processor() -> None:
    standing = {name for name, program in plan().items() if "ARKS_NICE" in program.environment}
    assert {"usage-meter", "usage-shipper"} == standing


def test_envoy_and_its_shipper_name_the_same_gateway() -> None:
    names = {name: program.environment.get("ARKS_GATEWAY") for name, program in plan().items()}
    assert {"envoy": "local", "usage-shipper": "local"} == {name: value for name, value in names.items() if value}


def test_envoy_has_the_command_line_of_endpoint_router() -> None:
    expected = envoy.command("/bin/envoy", "/run/envoy.json", 2)
    assert tuple(expected) == envoy_command(Path("/bin/envoy"), Path("/run/envoy.json"), 2)


def test_envoy_finds_the_filter_s_library_in_its_package() -> None:
    assert "/filter" == plan()["envoy"].environment["ENVOY_DYNAMIC_MODULES_SEARCH_PATH"]
    assert library_directory() == binaries.gateway_filter()
