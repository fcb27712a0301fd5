"""How an engine loads its weights: `spec.loading` as the engine's own options. Pure."""

from collections.abc import Sequence

from packaging.specifiers import SpecifierSet

from arks.app_deployer.domain.launch.profile_set import NoLaunch
from arks.app_deployer.domain.launch.profiles import Profile
from arks.contracts.resources import ArksApplicationSpec

_ENGINES_OWN = frozenset({None, "auto", "default"})


def reads_ahead(spec: ArksApplicationSpec) -> bool:
    return spec.loading == "auto"


def words(spec: ArksApplicationSpec, profile: Profile, version: str | None, arguments: Sequence[str]) -> list[str]:
    """The engine's options. `version`: of the engine; None: unknown, then all options count as its own.

    `arguments`: the user's, which win. Raises NoLaunch.
    """
    if spec.loading in _ENGINES_OWN:
        return []
    options = next((found for way, found in profile.loading.items() if way == spec.loading), ())
    for option in options:
        if option.versions and version and version not in SpecifierSet(option.versions, prereleases=True):
            continue
        found = option.words.split()
        given = bool(found) and any(argument.partition("=")[0] == found[0] for argument in arguments)
        return [] if given else found
    known = " or ".join(option.versions for option in options)
    needs = f" before version {known.lstrip('>=')}" if known else ""
    raise NoLaunch(f"loading: runtime {profile.runtime} has no {spec.loading}{needs}; leave loading out")
