#!/usr/bin/env python3
"""Builds the programs of the test cluster from Go modules into KUBE_BIN. Existing ones are not built again.

usage: build.py [hyperkube|coredns|kube-router|lws-manager|pause|promtool|versitygw]...
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

HERE = Path(__file__).parent
BIN = Path(os.environ.get("KUBE_BIN", Path.home() / ".cache/arks-kube/bin"))
KUBERNETES = "1.34.4"
COREDNS = ("github.com/coredns/coredns", "v1.12.4", ".")
PROMETHEUS = ("github.com/prometheus/prometheus", "v0.313.3", "./cmd/promtool")
# Security flaws are reported for this release: it is for tests only.
KUBE_ROUTER = ("github.com/cloudnativelabs/kube-router/v2", "v2.1.0", "./cmd/kube-router")
VERSITYGW = ("github.com/versity/versitygw", "v1.8.0", "./cmd/versitygw")
LWS = ("sigs.k8s.io/lws", "v0.7.0", "./cmd")
PARTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl", "etcd")
ENVIRONMENT = os.environ | {"CGO_ENABLED": "0", "GOWORK": "off"}


def go_build(source: Path, package: str, output: str, flags: str = "", options: Sequence[str] = ()) -> None:
    linked = ("-trimpath", "-ldflags", f"-s -w {flags}")
    subprocess.run(
        ["nice", "go", "build", *linked, *options, "-o", str(BIN / output), package],
        cwd=source,
        env=ENVIRONMENT,
        check=True,
    )


def module_source(module: str, version: str) -> Path:
    """Downloads a Go module and returns its directory."""
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "go.mod").write_text("module scratch\n")
        answer = subprocess.run(
            ["go", "mod", "download", "-json", f"{module}@{version}"],
            cwd=scratch,
            env=ENVIRONMENT,
            check=True,
            capture_output=True,
        )
    return Path(json.loads(answer.stdout)["Dir"])


def build_module(output: str, module: str, version: str, package: str, *options: str) -> None:
    """Builds a program with the versions of its own module, in a copy, because the module's directory is read-only."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "source"
        shutil.copytree(module_source(module, version), copy)
        subprocess.run(["chmod", "-R", "u+w", str(copy)], check=True)
        go_build(copy, package, output, options=options)


def hyperkube() -> None:
    stamps = {"gitVersion": f"v{KUBERNETES}", "gitMajor": "1", "gitMinor": "34", "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    flags = " ".join(f"-X {package}.{name}={value}" for package in packages for name, value in stamps.items())
    go_build(HERE / "hyperkube", ".", "hyperkube", flags)
    for part in PARTS:
        link = BIN / part
        link.unlink(missing_ok=True)
        link.symlink_to("hyperkube")


def coredns() -> None:
    build_module("coredns", *COREDNS)


def kube_router() -> None:
    """Builds the program that enforces NetworkPolicies."""
    build_module("kube-router", *KUBE_ROUTER)


def versitygw() -> None:
    """Builds an S3 server that keeps objects in a directory: two minutes, most of it to fetch modules."""
    build_module("versitygw", *VERSITYGW)


def lws_manager() -> None:
    module, version, package = LWS
    build_module("lws-manager", module, version, package)
    chart = BIN / "lws-chart"
    shutil.rmtree(chart, ignore_errors=True)
    shutil.copytree(module_source(module, version) / "charts/lws", chart)
    subprocess.run(["chmod", "-R", "u+w", str(chart)], check=True)


def promtool() -> None:
    """Without service discovery, most of its size. Its workspace names modules that are not in the module."""
    module, version, package = PROMETHEUS
    build_module("promtool", module, version, package, "-tags", "remove_all_sd")


def pause() -> None:
    """Builds the program that keeps a pod's namespaces: it waits for a signal and reaps orphans."""
    source = """package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}
"""
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        (directory / "main.go").write_text(source)
        (directory / "go.mod").write_text("module pause\n\ngo 1.24.0\n")
        go_build(directory, ".", "pause")


BUILDERS: dict[str, Callable[[], None]] = {
    "hyperkube": hyperkube,
    "coredns": coredns,
    "kube-router": kube_router,
    "lws-manager": lws_manager,
    "pause": pause,
    "promtool": promtool,
    "versitygw": versitygw,
}


def main() -> None:
    BIN.mkdir(parents=True, exist_ok=True)
    if shutil.which("go") is None:
        raise SystemExit("build.py needs Go 1.24 or newer on the PATH")
    for name in sys.argv[1:] or list(BUILDERS):
        if (BIN / name).exists():
            continue
        print(f"building {name} ...", flush=True)
        began = time.monotonic()
        BUILDERS[name]()
        print(f"built {name} in {time.monotonic() - began:.0f} s, {(BIN / name).stat().st_size >> 20} MiB", flush=True)


if __name__ == "__main__":
    main()
