# SPDX-License-Identifier: Apache-2.0
"""What lossd is measured against: echo servers, which are ceilings, and the servers that a user would write in an afternoon.

    python tests/bench/baselines.py {echo,bytes,naive} {aio,threaded} [--uvloop]

echo    parses the message with the generated classes and answers a constant LossResponse of the usual size.
bytes   does not even parse.
naive   one torch call for each request, inline in the handler, without validation, statistics or metrics. It is as quick as a
        competent user would make it: one intra-op thread, inference mode, torch.frombuffer on a message whose elements are one
        bytes field. (That is what one would write in a schema of one's own; the bytes on the wire are those of lossd.v1,
        and the generated classes would cost 5 us more for CE 32x10.) A message of many calls is a loop over them.

The address is the first line of the output. The process ends by SIGTERM.
"""

import argparse
import asyncio
import os
import warnings
from collections.abc import Callable
from concurrent import futures
from typing import Any, Final

import grpc

from lossd import twins
from lossd.v1 import evaluation_service_pb2 as evaluation
from lossd.v1 import response_pb2

OPTIONS: Final = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20), ("grpc.so_reuseport", 0)]
LOSSES: Final = ("CrossEntropyLoss", "MseLoss", "L1Loss")
THREADS: Final = 10  # as in gRPC's examples

ANSWER: Final = response_pb2.LossResponse(
    value=2.3,
    statistics=response_pb2.LossStatistics(sum=73.6, mean_numerator=73.6, mean_denominator=32, element_count=32),
    execution=response_pb2.Execution(queue_seconds=1e-5, compute_seconds=1e-5, calls_in_batch=1, device="cpu"),
)

Method = tuple[Callable[[Any], Any], Callable[[bytes], Any], Callable[[Any], bytes]]  # handle, parse, serialize


def _serialize(message: Any) -> bytes:
    return message.SerializeToString()  # type: ignore[no-any-return]


def echo() -> dict[str, Method]:
    """Parsed by the generated classes."""
    outcome = evaluation.LossOutcome(response=ANSWER)
    batch = evaluation.ScoreBatchResponse(outcomes=[outcome] * 100)
    stream = evaluation.ScoreStreamResponse(outcomes=[evaluation.StreamOutcome(id=50, outcome=outcome)])
    return {
        **{name: (lambda request: ANSWER, twins.public(f"{name}Request").FromString, _serialize) for name in LOSSES},
        "ScoreBatch": (lambda request: batch, evaluation.ScoreBatchRequest.FromString, _serialize),
        "ScoreStream": (lambda request: stream, evaluation.ScoreStreamRequest.FromString, _serialize),
    }


def bytes_only() -> dict[str, Method]:
    """The same answers, and nothing parsed."""

    def method(handle: Callable[[Any], Any]) -> Method:
        answer = handle(None).SerializeToString()
        return (lambda request: answer, bytes, bytes)

    return {name: method(handle) for name, (handle, _, _) in echo().items()}


def naive() -> dict[str, Method]:
    """One torch call for each request."""
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="The given buffer is not writable")

    def floats(tensor: Any) -> torch.Tensor:
        return torch.frombuffer(tensor.float32_values.values[0], dtype=torch.float32).reshape(tuple(tensor.shape))

    def integers(tensor: Any) -> torch.Tensor:
        return torch.frombuffer(tensor.int64_values.values[0], dtype=torch.int64).reshape(tuple(tensor.shape))

    @torch.inference_mode()
    def cross_entropy(request: Any) -> response_pb2.LossResponse:
        return response_pb2.LossResponse(value=F.cross_entropy(floats(request.input), integers(request.class_indices)).item())

    @torch.inference_mode()
    def mse(request: Any) -> response_pb2.LossResponse:
        return response_pb2.LossResponse(value=F.mse_loss(floats(request.input), floats(request.target)).item())

    @torch.inference_mode()
    def l1(request: Any) -> response_pb2.LossResponse:
        return response_pb2.LossResponse(value=F.l1_loss(floats(request.input), floats(request.target)).item())

    score = {"cross_entropy_loss": cross_entropy, "mse_loss": mse, "l1_loss": l1}

    def outcome(call: Any) -> evaluation.LossOutcome:
        name = call.WhichOneof("request")
        return evaluation.LossOutcome(response=score[name](getattr(call, name)))

    def batch(request: Any) -> evaluation.ScoreBatchResponse:
        return evaluation.ScoreBatchResponse(outcomes=[outcome(call) for call in request.calls])

    def stream(request: Any) -> evaluation.ScoreStreamResponse:
        outcomes = [evaluation.StreamOutcome(id=call.id, outcome=outcome(call.call)) for call in request.calls]
        return evaluation.ScoreStreamResponse(outcomes=outcomes)

    handlers = dict(zip(LOSSES, (cross_entropy, mse, l1), strict=True))
    return {
        **{name: (handle, twins.twin(f"{name}Request").FromString, _serialize) for name, handle in handlers.items()},
        "ScoreBatch": (batch, twins.twin("ScoreBatchRequest").FromString, _serialize),
        "ScoreStream": (stream, twins.twin("ScoreStreamRequest").FromString, _serialize),
    }


def aio_handler(name: str, method: Method) -> Any:
    handle, parse, serialize = method

    async def unary(request: Any, context: Any) -> Any:
        return handle(request)

    async def stream(requests: Any, context: Any) -> Any:
        async for request in requests:
            yield handle(request)

    if name == "ScoreStream":
        return grpc.stream_stream_rpc_method_handler(stream, parse, serialize)
    return grpc.unary_unary_rpc_method_handler(unary, parse, serialize)


def threaded_handler(name: str, method: Method) -> Any:
    handle, parse, serialize = method
    if name == "ScoreStream":
        return grpc.stream_stream_rpc_method_handler(lambda requests, context: map(handle, requests), parse, serialize)
    return grpc.unary_unary_rpc_method_handler(lambda request, context: handle(request), parse, serialize)


def serve(server: Any, methods: dict[str, Any]) -> None:
    """Adds the methods and a port, and tells the port."""
    services = {"lossd.v1.LossService": LOSSES, "lossd.v1.EvaluationService": ("ScoreBatch", "ScoreStream")}
    server.add_generic_rpc_handlers(
        tuple(grpc.method_handlers_generic_handler(service, {name: methods[name] for name in names}) for service, names in services.items())
    )
    print(f"listens on 127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}", flush=True)


async def serve_aio(methods: dict[str, Method]) -> None:
    server = grpc.aio.server(options=OPTIONS)
    serve(server, {name: aio_handler(name, method) for name, method in methods.items()})
    await server.start()
    await server.wait_for_termination()


def serve_threaded(methods: dict[str, Method]) -> None:
    server = grpc.server(futures.ThreadPoolExecutor(THREADS), options=OPTIONS)
    serve(server, {name: threaded_handler(name, method) for name, method in methods.items()})
    server.start()
    server.wait_for_termination()


def main() -> None:
    """Serves for ever."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("echo", "bytes", "naive"))
    parser.add_argument("front", choices=("aio", "threaded"))
    parser.add_argument("--uvloop", action="store_true")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # for torch's threads other than this one
    methods = {"echo": echo, "bytes": bytes_only, "naive": naive}[arguments.kind]()
    if arguments.front == "threaded":
        serve_threaded(methods)
        return
    factory: Any = None
    if arguments.uvloop:
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve_aio(methods))


if __name__ == "__main__":
    main()
