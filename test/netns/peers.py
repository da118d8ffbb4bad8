"""Servers and clients of SMTP, WebSocket and gRPC by Debian's Python packages.

peers.py serve ADDRESS: all servers, until killed.
peers.py MODE ADDRESS [PORT]: a client, which prints what it found as JSON.
"""

import asyncio
import concurrent.futures
import hashlib
import json
import socket
import sys
import time

SMTP_PORT, WEBSOCKET_PORT, GRPC_PORT = 8025, 8765, 50051
MESSAGE_BYTES = 3_000_000
STREAM_MESSAGES, STREAM_MESSAGE_BYTES = 2000, 3000
TURNS = 50
# Fewer than make a newer sshd refuse a client that does not log in.
GREETINGS = 7
DEADLINE_S = 20


def message(number):
    return hashlib.sha256(b"%d" % number).digest() * (STREAM_MESSAGE_BYTES // 32)


async def serve(address):
    import grpc
    import websockets
    from aiosmtpd.smtp import SMTP

    class Mailbox:
        async def handle_DATA(self, server, session, envelope):
            return "250 " + hashlib.sha256(envelope.content).hexdigest()

    # A name, since it would look for its own on each connection.
    await asyncio.get_running_loop().create_server(lambda: SMTP(Mailbox(), hostname="target.test"), address, SMTP_PORT)

    async def echo(socket, path=None):
        await socket.send("first")
        async for said in socket:
            await socket.send(said)

    await websockets.serve(echo, address, WEBSOCKET_PORT, max_size=2 * MESSAGE_BYTES)

    handlers = {
        "Count": grpc.unary_stream_rpc_method_handler(lambda asked, _: (message(n) for n in range(int(asked)))),
        "Sum": grpc.stream_unary_rpc_method_handler(lambda said, _: hashlib.sha256(b"".join(said)).digest()),
        "Chat": grpc.stream_stream_rpc_method_handler(lambda said, _: (one[::-1] for one in said)),
    }
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Peer", handlers),))
    server.add_insecure_port(f"{address}:{GRPC_PORT}")
    server.start()
    await asyncio.Event().wait()


def smtp(address):
    import smtplib

    text = b"Subject: long\r\n\r\n" + b".a line that begins with a dot\r\n" * (MESSAGE_BYTES // 32)
    with smtplib.SMTP(address, SMTP_PORT, local_hostname="app.test", timeout=DEADLINE_S) as client:
        client.ehlo()
        client.mail("from@app.test")
        client.rcpt("to@target.test")
        code, answer = client.data(text)
    return {"code": code, "same": answer.decode() == hashlib.sha256(text).hexdigest()}


async def websocket(address):
    import websockets

    sizes = [0, 1, 125, 126, 65535, 65536, MESSAGE_BYTES]
    options = {"max_size": 2 * MESSAGE_BYTES, "open_timeout": DEADLINE_S}
    async with websockets.connect(f"ws://{address}:{WEBSOCKET_PORT}", **options) as client:
        first = await client.recv()
        same = 0
        for size in sizes:
            sent = bytes(n % 251 for n in range(size))
            await client.send(sent)
            same += await client.recv() == sent
        await asyncio.wait_for(await client.ping(), DEADLINE_S)
        many = [f"message {n}" for n in range(1000)]
        for one in many:
            await client.send(one)
        inOrder = [await client.recv() for _ in many] == many
        await client.close(code=4001)
        return {"first": first, "same": same == len(sizes), "inOrder": inOrder, "closed": client.close_code}


def grpc_streams(address):
    import grpc

    with grpc.insecure_channel(f"{address}:{GRPC_PORT}") as channel:
        expected = [message(n) for n in range(STREAM_MESSAGES)]
        count = channel.unary_stream("/Peer/Count")(b"%d" % STREAM_MESSAGES, timeout=DEADLINE_S)
        down = list(count) == expected
        total = channel.stream_unary("/Peer/Sum")(iter(expected), timeout=DEADLINE_S)
        up = total == hashlib.sha256(b"".join(expected)).digest()
        # Each is sent when the one before has been answered.
        answers = []
        answered = [concurrent.futures.Future() for _ in range(TURNS)]

        def turns():
            for n in range(TURNS):
                yield b"turn %d" % n
                answered[n].result(DEADLINE_S)

        for n, answer in enumerate(channel.stream_stream("/Peer/Chat")(turns(), timeout=DEADLINE_S)):
            answers.append(answer[::-1])
            answered[n].set_result(None)
        return {"down": down, "up": up, "turns": answers == [b"turn %d" % n for n in range(TURNS)]}


def greeting(address, port):
    """Milliseconds from the call of connect to its return and to the first byte, for each of several connections."""
    connected, first = [], []
    for _ in range(GREETINGS):
        with socket.socket() as client:
            client.settimeout(DEADLINE_S)
            started = time.monotonic()
            client.connect((address, int(port)))
            connected.append((time.monotonic() - started) * 1000)
            assert client.recv(1) != b"", "closed without a greeting"
            first.append((time.monotonic() - started) * 1000)
    return {"connected": connected, "first": first}


mode, arguments = sys.argv[1], sys.argv[2:]
modes = {"serve": serve, "smtp": smtp, "websocket": websocket, "grpc": grpc_streams, "greeting": greeting}
result = modes[mode](*arguments)
print(json.dumps(asyncio.run(result) if asyncio.iscoroutine(result) else result))
