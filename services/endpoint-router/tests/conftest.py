"""gRPC must leave forks alone: these tests start servers from a process in which a gRPC server runs."""

import os

os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
