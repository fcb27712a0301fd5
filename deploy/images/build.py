#!/usr/bin/env python3
"""Build the container images with Docker if a daemon is running, otherwise with buildah. Unchanged images are kept.

usage: build.py [--base IMAGE] [--tag TAG] [--push REGISTRY] [--archive FILE] [--engine docker|buildah] [NAME...]

Packages come from uv.lock, as wheels for the base's Python and C library. Without --base, buildah uses a base made of
Debian packages (e2e/cluster/baseimage.sh), which needs no image registry; Docker uses the base that the Dockerfile
names.
"""

import argparse
import fcntl
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from context import (
    CACHE,
    CHECKOUT,
    CONTEXT,
    HERE,
    POSTGRESQL,
    PROGRAMS,
    checked_library,
    copy_postgresql,
    copy_program,
    copy_source,
    digest,
    install,
    requirements,
    run,
)
from engines import Builder, Image, write_archive

SERVICES = {
    "model-manager": [],
    "app-deployer": [],
    "metrics": ["gpu", "kubernetes"],
    "endpoint-router": [],
    "token-quota": ["postgresql"],
}
"""Service -> extras of its package."""
OWN_BASE = "arks/base-"
LIMIT_BYTES = 250_000_000
LIBRARIES = (
    "libs/contracts/src/arks/contracts",
    "libs/contracts/src/arks/engine",
    "libs/contracts/src/arks/events",
    "libs/kit/src/arks/kit",
)
ROUTER = "endpoint-router"
ROUTER_LIBRARIES = (
    "libs/gateway-filter/src/arks/gateway_filter/libarks.so",
    "services/endpoint-router/src/arks/endpoint_router/domain/native.abi3.so",
)
"""What its image has compiled. It brings the first one, the gateway's filter, to the pods of Envoy."""
ENGINE_OF_LLAMA = "llamacpp"
ENGINE_SOURCES = (
    "services/app-deployer/src/arks/app_deployer",
    "libs/kit/src/arks/kit/__init__.py",
    "libs/kit/src/arks/kit/gguf.py",
    "libs/kit/src/arks/kit/machine.py",
)
"""All that the engine program imports of Arks."""
ARK_SOURCES = {
    "openai-proxy": (
        "services/openai-proxy/src/arks/openai_proxy",
        "services/openai-proxy/src/openai_api_server",
    ),
    "ark-engine": (
        "services/ark-engine/src/arks/ark_engine",
        "services/openai-proxy/src/arks/openai_proxy",
    ),
}
"""ark-engine has the proxy too: a replica of runtime ark is both."""
ARK_LIBRARIES = ("libs/contracts/src/arks/engine", "libs/kit/src/arks/kit")
ARK_PACKAGES = {
    "openai-proxy": ("arks-openai-proxy",),
    "ark-engine": ("arks-openai-proxy", "arks-ark-engine"),
}
ARK_IMPORTS = {
    "openai-proxy": {"IMPORTS": "openai_api_server, uvicorn"},
    "ark-engine": {"IMPORTS": "arks.ark_engine.main, arks.openai_proxy.programs.with_engine, xllamacpp"},
}
"""What the build imports: it fails if a package is missing."""


def debian_base(builder: Builder, kind: str) -> str:
    """A base image made of Debian packages, built once per version of the script."""
    script = CHECKOUT / "e2e/cluster/baseimage.sh"
    tag = f"{OWN_BASE}{kind}:{digest(script)}"
    if not builder.identity(tag):
        tar = CACHE / f"base-{kind}.tar"
        run(str(script), kind, str(tar))
        builder.import_tar(tar, tag)
        tar.unlink()
    return tag


@dataclass(frozen=True)
class CommonPackages:
    """Packages that all services need: a layer that a node stores once."""

    names: frozenset[str]
    directory: Path
    inputs: str
    """Digest of everything that they are made from."""

    def beside(self, name: str, needed: dict[str, str]) -> str:
        """Install what an image needs besides; returns the digest of both."""
        rest = {package: block for package, block in needed.items() if package not in self.names}
        return digest(self.inputs, install(CONTEXT / "packages" / name, rest, (self.directory, self.inputs)))


def common_packages(kit: dict[str, str], needs: dict[str, dict[str, str]]) -> CommonPackages:
    in_all = frozenset.intersection(*(frozenset(needed) for needed in needs.values()))
    directory = CONTEXT / "packages/common"
    return CommonPackages(in_all, directory, install(directory, {name: kit[name] for name in in_all}))


def service_images(base: str) -> Iterator[Image]:
    kit = requirements("arks-kit", "kubernetes")
    needs = {name: kit | requirements(f"arks-{name}", *extras) for name, extras in SERVICES.items()}
    common = common_packages(kit, needs)
    for name, needed in needs.items():
        module = name.replace("-", "_")
        packages = common.beside(name, needed)
        source = [CHECKOUT / path for path in (*LIBRARIES, f"services/{name}/src/arks/{module}")]
        if name == ROUTER:
            filter_, _ = [checked_library(CHECKOUT / library) for library in ROUTER_LIBRARIES]
            source.append(filter_.parent)
        code = copy_source(CONTEXT / "source" / name, *source)
        yield Image(name, "service", digest(HERE / "Dockerfile", base, packages, code), base)
    for name, sources in ARK_SOURCES.items():
        needed = {key: block for part in ARK_PACKAGES[name] for key, block in requirements(part).items()}
        packages = common.beside(name, needed)
        code = copy_source(CONTEXT / "source" / name, *(CHECKOUT / path for path in (*ARK_LIBRARIES, *sources)))
        yield Image(name, "ark", digest(HERE / "Dockerfile", base, packages, code), base, ARK_IMPORTS[name])


def engine_image(base: str) -> Image:
    with_engine, without = requirements("arks-app-deployer", "llamacpp"), requirements("arks-app-deployer")
    packages = {name: block for name, block in with_engine.items() if name not in without}
    own = install(CONTEXT / "packages" / ENGINE_OF_LLAMA, packages)
    code = copy_source(CONTEXT / "source" / ENGINE_OF_LLAMA, *(CHECKOUT / path for path in ENGINE_SOURCES))
    inputs = digest(HERE / "Dockerfile", base, own, code)
    return Image(ENGINE_OF_LLAMA, "llamacpp", inputs, base)


def program_images(builder: Builder) -> Iterator[Image]:
    """Images of the servers, for machines without a registry; elsewhere their own images are used."""
    locked, base = requirements("arks-local"), debian_base(builder, "python")
    for name in PROGRAMS:
        inputs = digest(HERE / "Dockerfile", base, copy_program(name, locked))
        yield Image(name, "program", inputs, base)
    base = debian_base(builder, POSTGRESQL)
    inputs = digest(HERE / "Dockerfile", base, copy_postgresql())
    yield Image(POSTGRESQL, "program", inputs, base, {"USER_ID": "999", "STOP_SIGNAL": "SIGINT"})


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="images to build (default: all)")
    parser.add_argument("--base", default="", help="base image of the services and the engine, with Python 3.11")
    parser.add_argument("--tag", default="", help="default: dev; with --push the version of the charts")
    parser.add_argument("--push", metavar="REGISTRY", help="push to REGISTRY/NAME:TAG, as registry.example.com/arks")
    parser.add_argument(
        "--engine", default="", choices=["docker", "buildah"], help="default: Docker if its daemon runs"
    )
    parser.add_argument("--archive", type=Path, help="also write all images into this file")
    options = parser.parse_args()
    if options.push is not None and not is_registry(options.push):
        parser.error("name a registry to push to: make push REGISTRY=registry.example.com/arks")
    options.tag = options.tag or ("dev" if options.push is None else chart_version())
    return options


def is_registry(name: str) -> bool:
    """A host and a path, because images whose name has no host go to Docker Hub."""
    host, _, path = name.partition("/")
    return bool(path) and not path.endswith("/") and ("." in host or ":" in host or host == "localhost")


def chart_version() -> str:
    """The tag that the chart has by default: the version of everything in the checkout."""
    return str(tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"])


def selected_images(options: argparse.Namespace, builder: Builder) -> list[Image]:
    own_base = builder.program == "buildah" and not options.base
    base = debian_base(builder, "python") if own_base else options.base
    images = [*service_images(base), engine_image(base)]
    if own_base:
        images += program_images(builder)
    unknown = set(options.names) - {image.name for image in images}
    if unknown:
        raise SystemExit(f"no image {', '.join(sorted(unknown))}; images: {', '.join(image.name for image in images)}")
    return [image for image in images if not options.names or image.name in options.names]


def build_all(builder: Builder, images: list[Image], tag: str) -> None:
    """Build the images whose inputs have changed and print the size of each. Fails for an image above LIMIT_BYTES."""
    large = []
    for image in images:
        began = time.monotonic()
        built = builder.build(image, tag)
        done = f"built in {time.monotonic() - began:.1f} s" if built else "unchanged"
        name = image.tagged(tag)
        size = builder.size_bytes(name)
        print(f"{name:<28}{size / 1e6:>7.0f} MB  {done}", flush=True)
        if size > LIMIT_BYTES and image.base.startswith(OWN_BASE):
            large.append(name)
    if large:
        raise SystemExit(f"larger than {LIMIT_BYTES / 1e6:.0f} MB: {', '.join(large)}")


def main() -> None:
    options = arguments()
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        builder = Builder(options.engine)
        images = selected_images(options, builder)
        build_all(builder, images, options.tag)
        for image in images if options.push else ():
            print(builder.push(image, options.tag, options.push), flush=True)
        if options.archive:
            write_archive(builder, images, options.tag, options.archive)


if __name__ == "__main__":
    main()
