"""What the pages show works: each command is one that the parser takes, each manifest is valid."""

import contextlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from typer._click.exceptions import MissingParameter

from arks.app_deployer.domain.launch.drain import QUIET_SECONDS
from arks.contracts.subjects import EventKind
from arks.local.cli.commands import whole_app
from arks.local.files.paths import Paths
from arks.local.manifests import parse_manifests
from arks.local.plan import ports
from arks.local.render.bring_up import USEFUL_MODEL
from arks.metrics.domain.idle import REST_AFTER_SECONDS, REST_SECONDS
from arks.token_quota.service.keyring import SECRET_READS_PER_SECOND, SECRET_SECONDS

ROOT = Path(__file__).parents[3]
WITH_COMMANDS = ("docs/kubernetes.md", "docs/operations.md")
"""Pages whose manifests are the chart's values, which charts/tests checks."""
PAGES = (
    "README.md",
    "docs/README.md",
    "docs/first-answer.md",
    "docs/serve.md",
    "docs/keys.md",
    "docs/usage.md",
    "docs/migration.md",
    "deploy/local/README.md",
)
_COMMAND = re.compile(r"^(?:eval \"\$\()?(arks [^`#\n]*)|`(arks [^`\n]*)`|^kubectl (arks [^`\n]*)", re.MULTILINE)


def commands() -> Iterator[str]:
    for page in (*PAGES, *WITH_COMMANDS):
        for found in _COMMAND.finditer((ROOT / page).read_text()):
            yield (found[1] or found[2] or found[3]).partition(" > ")[0].replace(')"', "").strip()


def parse(arguments: list[str]) -> None:
    """Parse a command line as the command does, without running it. Raises click's errors."""
    group = typer.main.get_command(whole_app())
    context = group.make_context("arks", arguments)
    while arguments:
        command = group.get_command(context, arguments[0])  # type: ignore[attr-defined]
        assert command is not None, arguments[0]
        arguments = arguments[1:]
        if not hasattr(command, "get_command"):
            command.make_context(command.name, arguments, parent=context)
            return
        group = command


@pytest.mark.parametrize("line", sorted(set(commands())))
def test_a_command_of_the_pages_is_taken(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").write_text("contexts: [{name: NAME}, {name: prod}]\ncurrent-context: prod\n")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    arguments = shlex.split(line, comments=True)[1:]
    if not arguments or arguments[0] in {"COMMAND", "--help"} or any(sign in line for sign in "|►"):
        return  # not a command that someone types
    with contextlib.suppress(MissingParameter):  # a mention of the command without its arguments
        parse(arguments)


def manifests() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for number, found in enumerate(re.finditer(r"```yaml\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)):
            yield f"{page}-{number}", found[1]


@pytest.mark.parametrize(("where", "text"), list(manifests()))
def test_a_manifest_of_the_pages_is_valid(where: str, text: str) -> None:
    found = parse_manifests([(where, text)])
    assert [] == found.errors
    assert found.resources


def test_the_readme_serves_the_model_that_make_up_names() -> None:
    assert f"arks run {USEFUL_MODEL}" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("README.md", "The command is `.venv/bin/arks`"),
        ("docs/resources.md", "in-flight"),
        ("services/metrics/README.md", "in-flight"),
        ("services/app-deployer/README.md", "gone after some 4 s"),
        ("docs/operations.md", "which replicas are candidates"),
        ("docs/architecture.md", "is said in the README's picture"),
        ("deploy/local/README.md", "`explain` prints text only"),
    ],
)
def test_statements_that_were_wrong_stay_away(page: str, text: str) -> None:
    assert text not in (ROOT / page).read_text()


PRINT_TEXT_FOR_PEOPLE = (
    "get all",
    "describe all",
    "explain smollm2",
    "events",
    "requests",
    "top",
    "status",
    "doctor",
    "quota",
    "usage",
    "token list",
    "version",
)


@pytest.mark.parametrize("output", ["json", "yaml"])
@pytest.mark.parametrize("line", PRINT_TEXT_FOR_PEOPLE)
def test_what_prints_text_for_people_prints_data_for_programs_too(line: str, output: str) -> None:
    parse([*line.split(), "--output", output])


def test_the_type_that_subscribers_of_events_get_is_documented() -> None:
    assert "`ai.arks.<kind>.<verb>.v1`" in (ROOT / "docs/events.md").read_text()


def test_one_page_has_the_installation_from_images_to_a_first_answer() -> None:
    pages = [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("services/*/README.md"),
        *ROOT.glob("deploy/*/*.md"),
    ]
    assert ["kubernetes.md"] == [page.name for page in pages if "helm install arks " in page.read_text()]
    page = (ROOT / "docs/kubernetes.md").read_text()
    steps = (
        "make push REGISTRY=registry.example.com/arks",
        "helm install lws ",
        "helm install arks-crds ",
        "--set image.repository=registry.example.com/arks",
        "kubectl apply -f deploy/examples/quickstart.yaml",
        '"model": "quickstart"',
    )
    positions = [page.index(step) for step in steps]
    assert sorted(positions) == positions


def test_the_table_of_files_has_every_file_of_the_home() -> None:
    table = (ROOT / "deploy/local/README.md").read_text().partition("## Files")[2].partition("## ")[0]
    home = Path("/home")
    found = {
        name: value
        for name, attribute in vars(Paths).items()
        if isinstance(attribute, property) and isinstance(value := getattr(Paths(home), name), Path)
    }
    short = {name: str(path.relative_to(home)) for name, path in found.items() if path.is_relative_to(home)}
    assert len(short) > 15
    assert {} == {name: path for name, path in short.items() if path not in table}


def test_the_ports_of_services_are_those_of_the_page() -> None:
    page = (ROOT / "deploy/local/README.md").read_text()
    assert f"between {ports.CHOICE[0]} and {ports.CHOICE[-1]}" in page


def test_the_pages_have_the_number_of_secrets_that_are_read_at_once() -> None:
    at_once, seconds = int(SECRET_SECONDS * SECRET_READS_PER_SECOND), f"{SECRET_SECONDS:g} s"
    pages = {
        "services/token-quota/README.md": f"a Secret within {seconds} (later with more than {at_once} Secrets)",
        "docs/operations.md": f"every {seconds} with up to {at_once} such tokens",
    }
    assert [] == [page for page, text in pages.items() if text not in (ROOT / page).read_text()]


def test_the_pages_have_the_rate_of_reports_of_a_single_idle_replica() -> None:
    assert REST_SECONDS == 1.0
    rest = f"has been idle for {REST_AFTER_SECONDS:g} s"
    pages = {
        "docs/events.md": "one a second for a single idle replica",
        "services/endpoint-router/README.md": "one a second for a single idle replica",
        "services/metrics/README.md": "is read once a second while it is idle",
        "docs/architecture/load-reports.md": f"application and {rest} does not need comparing, so it is",
    }
    assert [] == [page for page, text in pages.items() if text not in (ROOT / page).read_text()]


def test_the_pages_have_the_time_that_a_terminating_engine_has_to_be_quiet() -> None:
    text = f"has had no requests and produced no token for {QUIET_SECONDS} s"
    pages = ("services/app-deployer/README.md", "docs/architecture/engines.md")
    assert [] == [page for page in pages if text not in (ROOT / page).read_text()]


def test_the_page_of_events_lists_every_kind() -> None:
    table = (ROOT / "docs/events.md").read_text().partition("| kind | verbs |")[2].partition("\n\n")[0]
    listed = re.findall(r"^\| `([a-z]+)` \|", table, re.MULTILINE)
    assert {str(kind) for kind in EventKind} == set(listed)
