"""Both ends of a gRPC service, in the library of gRPC itself.

server ADDRESS: serves until it is killed.
client ADDRESS ROOTS: calls it in every way there is, and says what came.
"""

import sys
import threading
from concurrent import futures

import grpc


def unary(request, context):
    if request == b"fail":
        context.set_trailing_metadata((("x-sum", "2"),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now: %")
    context.set_trailing_metadata((("x-sum", "1"),))
    return b"echo " + request


def down(request, context):
    for number in range(int(request)):
        yield b"%d" % number


def up(requests, context):
    return b"%d" % sum(len(request) for request in requests)


def both(requests, context):
    for request in requests:
        yield b"echo " + request


METHODS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Down": grpc.unary_stream_rpc_method_handler(down),
    "Up": grpc.stream_unary_rpc_method_handler(up),
    "Both": grpc.stream_stream_rpc_method_handler(both),
}


def serve(address):
    server = grpc.server(futures.ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Echo", METHODS),))
    server.add_insecure_port(address)
    server.start()
    server.wait_for_termination()


def call(address, roots):
    with open(roots, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    name = (("grpc.ssl_target_name_override", "grpc.test"), ("grpc.default_authority", "grpc.test"))
    channel = grpc.secure_channel(address, credentials, name)
    result, made = channel.unary_unary("/Echo/Unary").with_call(b"hi", timeout=10)
    print("unary", result, made.code().name, [pair for pair in made.trailing_metadata() if pair[0] == "x-sum"])
    try:
        channel.unary_unary("/Echo/Unary")(b"fail", timeout=10)
    except grpc.RpcError as error:
        print("failed", error.code().name, error.details(), [p for p in error.trailing_metadata() if p[0] == "x-sum"])
    print("down", sum(1 for _ in channel.unary_stream("/Echo/Down")(b"1000", timeout=20)))
    chunks = (b"x" * 100_000 for _ in range(50))
    print("up", channel.stream_unary("/Echo/Up")(chunks, timeout=20))
    answers, is_begun = iter(()), threading.Event()

    def turns():
        # Another thread runs this, as soon as the call is made.
        is_begun.wait()
        # Each is said only after the answer to the one before.
        for number in range(20):
            yield b"%d" % number
            assert next(answers) == b"echo %d" % number

    answers = channel.stream_stream("/Echo/Both")(turns(), timeout=20)
    is_begun.set()
    while answers.is_active():
        pass
    print("both", answers.code().name)
    futures_made = [channel.unary_unary("/Echo/Unary").future(b"%d" % n, timeout=20) for n in range(300)]
    print("many", sum(made.result() == b"echo %d" % n for n, made in enumerate(futures_made)))


if __name__ == "__main__":
    if sys.argv[1] == "server":
        serve(sys.argv[2])
    else:
        call(sys.argv[2], sys.argv[3])
