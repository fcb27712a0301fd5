"""Load a model from its copy on the node, if the node has one, otherwise from its PVC.

A script runs before the engine at each start of its container: copies come and go while a pod lives. It makes /models
of links: to the copy if its marker (`.arks/complete.json`, of model-manager) has the revision that the PVC has, else to
the PVC. So the engine's command and the pod template are the same on every node. It is plain POSIX shell with `ln`,
`mkdir` and `rm`, because it runs in images of engines.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

from arks.contracts.names import cache_label
from arks.kit.types import Json

PVC_VOLUME, CACHE_VOLUME = "arks-models-pvc", "arks-models-cache"
PVC_PATH, CACHE_PATH = "/arks-models/pvc", "/arks-models/cache"
_WEIGHT = 50
"""Of the preference, among those that a user has: from 1 to 100."""

_SCRIPT = r"""
pvc=$1 cache=$2 to=$3 path=$4
shift 4
revision() {
  while read -r line || [ -n "$line" ]; do
    case $line in '"fingerprint":'*|'"revision":'*) printf '%s' "$line";; esac
  done < "$1/.arks/complete.json"
}
model=$path
while [ -n "$model" ] && [ ! -f "$pvc/$model/.arks/complete.json" ]; do
  case $model in */*) model=${model%/*};; *) model=;; esac
done
from=$pvc
if [ -n "$model" ] && [ -f "$cache/$model/.arks/complete.json" ]; then
  if [ "$(revision "$pvc/$model")" = "$(revision "$cache/$model")" ]; then from=$cache; fi
fi
echo "model from ${from##*/}" >&2
rm -rf "$to"/*
at= rest=$model
while :; do
  first=${rest%%/*}
  for entry in "$pvc/$at"*; do
    name=${entry##*/}
    if [ "$name" != "$first" ] && [ -e "$entry" ]; then ln -sfn "$entry" "$to/$at$name"; fi
  done
  if [ "$first" = "$rest" ]; then break; fi
  mkdir -p "$to/$at$first"
  at=$at$first/ rest=${rest#*/}
done
if [ -n "$model" ]; then ln -sfn "$from/$model" "$to/$model"; fi
exec "$@"
"""


@dataclass(frozen=True, slots=True)
class NodeCopy:
    """Where a pod may find a copy of its model."""

    claim: str
    """The PVC of copies, in the pod's namespace."""
    model_path: str
    """What the engine loads, below `root`."""
    label: str
    """Of the nodes that have a copy."""


def node_copy(claim: str, namespace: str, model: str, model_path: str) -> NodeCopy | None:
    """None for a model without copies."""
    return NodeCopy(claim, model_path, cache_label(namespace, model)) if claim else None


def command(
    copy: NodeCopy, root: str, then: Sequence[str], *, pvc: str = PVC_PATH, cache: str = CACHE_PATH
) -> list[str]:
    """Fills `root` with links, then becomes the program `then`."""
    relative = copy.model_path.removeprefix(root).strip("/")
    return ["sh", "-c", _SCRIPT.strip(), "node-copy", pvc, cache, root, relative, *then]


def volumes(copy: NodeCopy, models: str, claim: str) -> list[Json]:
    """`models`: name of the volume that the engine loads from. `claim`: the model's PVC."""
    return [
        {"name": models, "emptyDir": {}},
        {"name": PVC_VOLUME, "persistentVolumeClaim": {"claimName": claim}},
        {"name": CACHE_VOLUME, "persistentVolumeClaim": {"claimName": copy.claim, "readOnly": True}},
    ]


def mounts(models: str, root: str) -> list[Json]:
    return [
        {"name": models, "mountPath": root},
        {"name": PVC_VOLUME, "mountPath": PVC_PATH, "readOnly": True},
        {"name": CACHE_VOLUME, "mountPath": CACHE_PATH, "readOnly": True},
    ]


def with_preference(affinity: Json | None, copy: NodeCopy) -> Json:
    """The affinity, and a preference for nodes with a copy. No node is refused."""
    made = deepcopy(affinity or {})
    preferred = made.setdefault("nodeAffinity", {}).setdefault("preferredDuringSchedulingIgnoredDuringExecution", [])
    expression = {"key": copy.label, "operator": "Exists"}
    preferred.append({"weight": _WEIGHT, "preference": {"matchExpressions": [expression]}})
    return made
