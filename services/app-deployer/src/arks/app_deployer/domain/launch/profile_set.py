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
    ark: str | None = None
    disaggregated_sglang: str | None = None
    disaggregated_ark: str | None = None
    sglang_router: str | None = None
    """None: the same as of the engines."""
    ark_router: str | None = None

    def applied(self, profile: Profile) -> Profile:
        """A built-in profile with its runtime's images of the settings, if it has a default image."""
        name = f"disaggregated_{profile.runtime}" if profile.disaggregated else str(profile.runtime)
        image: str | None = getattr(self, name, None)
        router: str | None = getattr(self, f"{profile.runtime}_router", None) if profile.disaggregated else None
        if image and profile.image:
            profile = profile.model_copy(update={"image": image})
        if router:
            profile = profile.model_copy(update={"router": profile.router.model_copy(update={"image": router})})
        return profile


@dataclass(frozen=True, slots=True)
class Launch:
    """What starts an engine."""

    profile: Profile
    image: str
    version: str | None = None
    """Of the engine; None: unknown."""


class Profiles:
    def __init__(self, profiles: Sequence[Profile]) -> None:
        """`profiles`: the first that fits counts."""
        self._profiles = tuple(profiles)

    def all(self) -> tuple[Profile, ...]:
        return self._profiles

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
        return Launch(found, image, version)

    def router_image(self, launch: Launch, *, given: str | None) -> str:
        """Default image of a disaggregated application's router. `given`: the spec's image of the engines."""
        router = launch.profile.router
        if router.image_of_engines and given:
            return given
        return router.image or self.launch(launch.profile.runtime, None, disaggregated=True).image

    def images(self) -> set[str]:
        """Default images of engines and routers."""
        images = {image for profile in self._profiles for image in (profile.image, profile.router.image)}
        return images - {""}

    def runtimes(self) -> list[str]:
        """Runtimes that have a profile for Kubernetes, in order."""
        found = (profile for profile in self._profiles if profile.starts_pods and not profile.disaggregated)
        return list(dict.fromkeys(str(profile.runtime) for profile in found))

    def programs(self) -> dict[Runtime, str]:
        """Programs by runtime that one machine with a GPU needs; empty: none."""
        found = [
            profile for profile in self._profiles if profile.commands.machine is not None and not profile.disaggregated
        ]
        return {profile.runtime: profile.program for profile in reversed(found)}

    def machine(self, runtime: Runtime, *, disaggregated: bool = False) -> Profile | None:
        """The profile that starts the runtime on one machine."""
        found = (
            profile
            for profile in self._profiles
            if profile.runtime is runtime and profile.disaggregated is disaggregated
        )
        return next((profile for profile in found if profile.commands.machine is not None), None)
