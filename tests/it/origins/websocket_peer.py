"""Both ends of a WebSocket, in a library that many use.

server PORT: echoes until it is killed.
client PORT ROOTS: speaks with the server through the edge, and says what came.
"""

import asyncio
import ssl
import sys

import websockets


async def echo(socket, path):
    async for message in socket:
        await socket.send(message)


async def serve(port):
    async with websockets.serve(echo, "127.0.0.1", port, subprotocols=["chat"], max_size=None):
        await asyncio.Future()


async def speak(port, roots):
    context = ssl.create_default_context(cafile=roots)
    async with websockets.connect(
        "wss://ws.test/chat",
        host="127.0.0.1",
        port=port,
        ssl=context,
        server_hostname="ws.test",
        subprotocols=["chat"],
        max_size=None,
    ) as socket:
        print("subprotocol", socket.subprotocol)
        for message in ["Ahoy", b"\x00\xff", "x" * 1_000_000, b"y" * 3_000_000]:
            await socket.send(message)
            assert await socket.recv() == message
        print("echoed")
        # Both ways at once: nobody waits for an answer before the next is sent.
        many = ["%d" % number for number in range(1000)]
        _, answers = await asyncio.gather(
            asyncio.gather(*(socket.send(message) for message in many)),
            collect(socket, len(many)),
        )
        print("in order", answers == many)
        await asyncio.wait_for(await socket.ping(), 10)
        print("pong")
    print("closed", socket.close_code)


async def collect(socket, count):
    return [await socket.recv() for _ in range(count)]


if __name__ == "__main__":
    if sys.argv[1] == "server":
        asyncio.run(serve(int(sys.argv[2])))
    else:
        asyncio.run(speak(int(sys.argv[2]), sys.argv[3]))
