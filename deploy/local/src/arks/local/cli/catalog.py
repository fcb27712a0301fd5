"""The commands and the text of `arks --help`, without the parser, whose import takes longer than printing them."""

from collections.abc import Sequence

HELP = """
Run and manage Arks on this machine: models behind one OpenAI-compatible URL.

\b
Start here:
  arks up                      start Arks and a small demo model
  arks chat "Hello"            chat with it
  arks run REPOSITORY          download and serve a model of Hugging Face
  arks status                  show health and URLs
  arks apply -f FILE           serve models from manifests

\b
Exit codes: 0 done, 1 failed, 2 wrong usage or invalid manifest,
            3 Arks is not running, 4 timed out.
"""

COMMANDS = {
    "up": "Start Arks and wait until its demo answers.",
    "down": "Stop Arks; its data is kept.",
    "status": "Show health, URLs and problems.",
    "doctor": "Check this machine: disk, memory, ports, GPU.",
    "run": "Download and serve a model.",
    "chat": "Chat with a model.",
    "env": "Print what OpenAI SDKs need.",
    "get": "List resources.",
    "describe": "Show everything about resources.",
    "apply": "Create or update resources from manifests.",
    "diff": "Show what apply would change.",
    "edit": "Change a resource in an editor.",
    "delete": "Delete resources.",
    "wait": "Wait until resources are ready or deleted.",
    "scale": "Set the number of replicas.",
    "restart": "Replace the engines of an application.",
    "rollout": "Watch and decide rollouts of endpoints.",
    "logs": "Print logs of services and engines.",
    "events": "List or follow events.",
    "requests": "List or follow requests of clients.",
    "top": "Show the load of each replica, live.",
    "explain": "Show an endpoint's weights, with reasons.",
    "record": "Record what an endpoint's decisions are made from.",
    "replay": "Take recorded decisions again, with another spec.",
    "model": "Add models from any source, and list them.",
    "token": "Manage API keys.",
    "quota": "Show what is used and left of quotas.",
    "usage": "Show requests and tokens, for billing.",
    "fields": "Document the fields of a kind.",
    "migrate": "Show what changes for the Go implementation's users.",
    "completion": "Print a completion script for a shell.",
    "version": "Print versions.",
}
ON_ONE_MACHINE = {
    "up": "install the charts: docs/kubernetes.md",
    "down": "`helm uninstall arks -n arks-system`: docs/operations.md has what stays",
    "status": "`kubectl get pods -n arks-system` and `kubectl get arks -A`",
    "doctor": "`kubectl get pods -n arks-system` and `helm test arks -n arks-system`",
    "run": "`arks run REPOSITORY -o yaml` prints manifests, `kubectl apply -f -` creates them",
    "env": "OPENAI_BASE_URL is the URL of the Service arks-gateway, or of what is in front of it",
    "apply": "`kubectl apply -f FILE`",
    "diff": "`kubectl diff -f FILE`",
    "edit": "`kubectl edit KIND NAME`",
    "delete": "`kubectl delete KIND NAME`",
    "scale": "`kubectl scale KIND NAME --replicas N`, or spec.replicas in the manifest",
    "restart": "`kubectl delete pod` of its replicas, one after the other",
    "logs": "`kubectl logs`: `arks describe app NAME` lists the replicas",
    "model": "`kubectl apply -f FILE`, and `arks get models`",
}
"""Commands that do not work on a cluster, with the next step there."""
_OPTIONS = """\
  --home <path>          Directory of this Arks; default ~/.arks.  [env var:
                         ARKS_HOME]
  --context NAME         Use Arks on this cluster of your kubeconfig; - is the
                         current one.
  --arks-namespace NAME  Where Arks runs on the cluster.  [default: arks-
                         system]
  --version              Print the version.
  -h, --help             Show this message and exit.
"""
_INTRODUCTION = "Run and manage Arks on this machine: models behind one OpenAI-compatible\nURL."


def root_help() -> str:
    """`arks --help` as the parser prints it at 80 columns; a test compares both."""
    _, *paragraphs = HELP.strip("\n").split("\n\n")
    shown = [_INTRODUCTION, *(paragraph.removeprefix("\b\n") for paragraph in paragraphs)]
    described = "\n\n".join(_indented(paragraph) for paragraph in shown)
    width = max(map(len, COMMANDS)) + 2
    commands = "\n".join(f"  {name:{width}}{line}" for name, line in COMMANDS.items())
    return f"Usage: arks [OPTIONS] COMMAND [ARGS]...\n\n{described}\n\nOptions:\n{_OPTIONS}\nCommands:\n{commands}"


def is_root_help(arguments: Sequence[str]) -> bool:
    return list(arguments) in ([], ["-h"], ["--help"], ["help"])


def _indented(paragraph: str) -> str:
    return "\n".join(f"  {line}" for line in paragraph.splitlines())
