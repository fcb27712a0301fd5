"""The kinds by any of their names, as plain data: `arks.contracts` has them too, with the half second of its imports.

A test compares both.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    """As in a manifest: ArksModel."""
    singular: str
    plural: str
    short: tuple[str, ...]
    """Short names of kubectl."""
    group: str = "arks.ai"

    @property
    def word(self) -> str:
        """In a sentence: model."""
        return self.singular.removeprefix("arks")


MODEL = Kind("ArksModel", "arksmodel", "arksmodels", ("am",))
APPLICATION = Kind("ArksApplication", "arksapplication", "arksapplications", ("arkapp",))
DISAGGREGATED = Kind(
    "ArksDisaggregatedApplication",
    "arksdisaggregatedapplication",
    "arksdisaggregatedapplications",
    ("arkdapp",),
)
AUTOSCALER = Kind("ArksAutoscaler", "arksautoscaler", "arksautoscalers", ("aas",))
ENDPOINT = Kind("ArksEndpoint", "arksendpoint", "arksendpoints", ("aep",))
TOKEN = Kind("ArksToken", "arkstoken", "arkstokens", ())
QUOTA = Kind("ArksQuota", "arksquota", "arksquotas", ("aq",))
SECRET = Kind("Secret", "secret", "secrets", (), group="")
ARKS_KINDS = (MODEL, APPLICATION, DISAGGREGATED, AUTOSCALER, ENDPOINT, TOKEN, QUOTA)
KINDS = (*ARKS_KINDS, SECRET)


def _names(kind: Kind) -> tuple[str, ...]:
    own = (kind.name.lower(), kind.plural, kind.singular, *kind.short)
    return (*own, f"{kind.plural}.{kind.group}") if kind.group else own


_BY_NAME = {name: kind for kind in KINDS for name in _names(kind)}


def find_kind(name: str) -> Kind | None:
    """The kind by its name, plural, singular or short name, with or without `arks`: ArksModel, models, app, am."""
    lower = name.lower()
    spellings = (lower, f"arks{lower}", f"ark{lower}", f"ark{lower.removesuffix('s')}")
    return next((_BY_NAME[spelling] for spelling in spellings if spelling in _BY_NAME), None)


def words() -> list[str]:
    """The plural of every kind as people write it: models, applications."""
    return [kind.plural.removeprefix("arks") for kind in KINDS]
