"""Launch commands of an ArksApplication on Kubernetes: vLLM, SGLang, Dynamo, llama.cpp."""

from collections.abc import Callable, Mapping

from arks.app_deployer.domain.launch import containers, llamacpp_options
from arks.app_deployer.domain.launch.arguments import as_arguments, quoted
from arks.app_deployer.domain.launch.containers import Container, Group, Images, shell
from arks.contracts.resources import ArksApplicationSpec, Runtime

_RAY = "/bin/bash /vllm-workspace/examples/online_serving/multi-node-serving.sh"
SGLANG = (
    f"python3 -m sglang.launch_server --dist-init-addr {containers.LEADER_ADDRESS}:{containers.DISTRIBUTED_PORT}"
    f" --nnodes {containers.GROUP_SIZE} --node-rank {containers.WORKER_INDEX} --trust-remote-code"
)
SGLANG_LISTEN = f"--host 0.0.0.0 --port {containers.HTTP_PORT}"


class NoLaunch(Exception):
    """The runtime has no launch command; the message lists those that have."""


def group(spec: ArksApplicationSpec, model_path: str, images: Images) -> Group:
    """The containers of one replica. Raises NoLaunch."""
    make = _MAKERS.get(spec.effective_runtime)
    if make is None:
        raise NoLaunch(f"runtime {spec.runtime} is not supported; use one of {', '.join(_MAKERS)}")
    return make(spec, model_path, images)


def _vllm(spec: ArksApplicationSpec, model_path: str, images: Images) -> Group:
    server = [*("python3", "-m", "vllm.entrypoints.openai.api_server", "--port", str(containers.HTTP_PORT))]
    server += ["--model", model_path, "--served-model-name", spec.served_name]
    if spec.tensor_parallel_size:
        server += ["--tensor-parallel-size", str(spec.tensor_parallel_size)]
    server += as_arguments(spec.runtime_args)
    ray = f"{_RAY} leader --ray_cluster_size={containers.GROUP_SIZE}"
    image, env = spec.runtime_image or images.vllm, containers.user_env(spec.instance_spec)
    worker = shell(f"{_RAY} worker --ray_address={containers.LEADER_ADDRESS}")
    return Group(Container(image, shell(f"{ray}; {quoted(server)}"), env), Container(image, worker, env))


def _sglang(spec: ArksApplicationSpec, model_path: str, images: Images) -> Group:
    model = ["--model-path", model_path, "--served-model-name", spec.served_name]
    if spec.tensor_parallel_size:
        model += ["--tp", str(spec.tensor_parallel_size)]
    tail = with_metrics(quoted([*model, *as_arguments(spec.runtime_args)]))
    image = spec.runtime_image or images.sglang
    env = (*containers.user_env(spec.instance_spec), containers.worker_index_env())
    return Group(
        Container(image, shell(f"{SGLANG} {SGLANG_LISTEN} {tail}"), env),
        Container(image, shell(f"{SGLANG} {tail}"), env),
    )


def with_metrics(line: str) -> str:
    """SGLang serves no metrics without --enable-metrics."""
    return line if "enable-metrics" in line else f"{line} --enable-metrics".lstrip()


def _dynamo(spec: ArksApplicationSpec, model_path: str, images: Images) -> Group:
    """The user brings ETCD_ENDPOINTS and NATS_SERVER in `env`; tensorParallelSize has no meaning here."""
    arguments = as_arguments(spec.runtime_args)
    leader = " ".join(filter(None, [f"dynamo run in=http out=dyn://{containers.LEADER_ADDRESS}", quoted(arguments)]))
    engine = quoted([model_path, "--model-name", spec.served_name, *arguments])
    worker = f"dynamo run in=dyn://{containers.LEADER_ADDRESS} out=vllm {engine}"
    image, env = spec.runtime_image or images.dynamo, containers.user_env(spec.instance_spec)
    return Group(Container(image, shell(leader), env), Container(image, shell(worker), env))


def _llamacpp(spec: ArksApplicationSpec, model_path: str, images: Images) -> Group:
    """One node only; needs no shell. Arks' options come last, because the last of two counts."""
    command = ("python3", "-m", "arks.app_deployer.programs.llamacpp", *as_arguments(spec.runtime_args))
    command += ("--host", "0.0.0.0", "--port", str(containers.HTTP_PORT))  # noqa: S104  # a pod's own address
    command += ("--model", model_path, "--alias", spec.served_name)
    return Group(Container(spec.runtime_image or images.llamacpp, command, containers.user_env(spec.instance_spec)))


def slots_of(spec: ArksApplicationSpec) -> int:
    """Requests that a replica works on at once; 0 when unknown."""
    if spec.effective_runtime is not Runtime.LLAMACPP:
        return 0
    needed = ["--model", "model", "--port", "0"]
    try:
        options, _ = llamacpp_options.parser(add_help=False).parse_known_args(
            [*needed, *as_arguments(spec.runtime_args)]
        )
    except llamacpp_options.BadOptions:
        return 0
    return int(options.parallel)


_MAKERS: Mapping[Runtime, Callable[[ArksApplicationSpec, str, Images], Group]] = {
    Runtime.VLLM: _vllm,
    Runtime.SGLANG: _sglang,
    Runtime.DYNAMO: _dynamo,
    Runtime.LLAMACPP: _llamacpp,
}
