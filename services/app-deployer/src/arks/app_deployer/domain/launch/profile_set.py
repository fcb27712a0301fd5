"""Choose the profile and the image of an engine. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from arks.app_deployer.domain.launch.profiles import Profile
from arks.app_deployer.domain.launch.versions import version_of
from arks.contracts.resources import Runtime


class NoLaunch(Exception):
    """No profile starts this engine; the message lists what there is."""


@dataclass(frozen=True, slots=True)
class Images:
    """Images of engines whose spec names none, instead of the built-in profiles'. Each is a setting (see config.py)."""

    vllm: str | None = None
    sglang: str | None = None
    dynamo: str | None = None
    llamacpp: str | None = None
    disaggregated_sglang: str | None = None
    disaggregated_router: str | None = None
    """None: the same as of the engines."""

    def applied(self, profile: Profile) -> Profile:
        """A built-in profile with its runtime's image of the settings, if it has a default image."""
        name = f"disaggregated_{profile.runtime}" if profile.disaggregated else str(profile.runtime)
        image: str | None = getattr(self, name, None)
        return profile.model_copy(update={"image": image}) if image and profile.image else profile


@dataclass(frozen=True, slots=True)
class Launch:
    """What starts an engine."""

    profile: Profile
    image: str


class Profiles:
    def __init__(self, profiles: Sequence[Profile], router_image: str | None = None) -> None:
        """`profiles`: the first that fits counts. `router_image`: default of routers; None: that of their engines."""
        self._profiles = tuple(profiles)
        self._router_image = router_image

    def launch(
        self, runtime: Runtime, image: str | None, version: str | None = None, *, disaggregated: bool = False
    ) -> Launch:
        """The profile for an image (None: the default one) and its version (None: from its tag). Raises NoLaunch."""
        candidates = [
            profile
            for profile in self._profiles
            if profile.runtime is runtime and profile.disaggregated is disaggregated and profile.starts_pods
        ]
        if not candidates:
            raise NoLaunch(f"runtime {runtime} is not supported; use one of {', '.join(self.runtimes())}")
        default = next((profile for profile in candidates if profile.image), candidates[0])
        image = image or default.image
        version = version or version_of(image)
        if version is None:
            return Launch(default, image)
        found = next((profile for profile in candidates if profile.serves(version)), None)
        if found is None:
            raise NoLaunch(f"no profile of runtime {runtime} is for version {version} of {image}")
        return Launch(found, image)

    def router_image(self, engine_image: str) -> str:
        """Default image of a disaggregated application's router. `engine_image`: default of its engines."""
        return self._router_image or engine_image

    def images(self) -> set[str]:
        """Default images of engines."""
        return {profile.image for profile in self._profiles if profile.image}

    def runtimes(self) -> list[str]:
        """Runtimes that have a profile for Kubernetes, in order."""
        found = (profile for profile in self._profiles if profile.starts_pods and not profile.disaggregated)
        return list(dict.fromkeys(str(profile.runtime) for profile in found))

    def programs(self) -> dict[Runtime, str]:
        """Programs by runtime that one machine with a GPU needs; empty: none."""
        found = [profile for profile in self._profiles if profile.commands.machine is not None]
        return {profile.runtime: profile.program for profile in reversed(found)}

    def machine(self, runtime: Runtime) -> Profile | None:
        """The profile that starts the runtime on one machine."""
        found = (profile for profile in self._profiles if profile.runtime is runtime)
        return next((profile for profile in found if profile.commands.machine is not None), None)
