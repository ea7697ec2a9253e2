#!/usr/bin/env python3
"""A CoAP client on aiocoap, for tests of a server with /body (GET, PUT, POST, DELETE, observable), /slow and /.well-known/core. Prints `ok`, or what was wrong."""
import asyncio
import sys

import aiocoap
from aiocoap import GET, PUT, POST, DELETE, Message
from aiocoap.numbers.codes import Code

base = f"coap://127.0.0.1:{sys.argv[1]}"


def check(holds, *words):
    if not holds:
        print("wrong:", *words)
        sys.exit(1)


async def main():
    context = await aiocoap.Context.create_client_context()

    async def ask(code, path, payload=b"", **options):
        return await context.request(Message(code=code, uri=base + path, payload=payload, **options)).response

    for count in (0, 1, 1024, 1025, 50_000):
        body = bytes((n * 7 + (n >> 8)) & 0xFF for n in range(count))
        answer = await ask(PUT, "/body", body)
        check(answer.code == Code.CHANGED, "PUT", count, answer.code)
        answer = await ask(GET, "/body")
        check(answer.code == Code.CONTENT and answer.payload == body, "GET", count, answer.code, len(answer.payload))
        # Both the request and the response in blocks.
        answer = await ask(POST, "/body", body)
        check(answer.code == Code.CHANGED and answer.payload == body[::-1], "POST", count, answer.code)

    answer = await ask(GET, "/slow")
    check(answer.payload == b"slow", "separate", answer.code)
    answer = await ask(GET, "/nowhere")
    check(answer.code == Code.NOT_FOUND, "nowhere", answer.code)
    answer = await ask(DELETE, "/slow")
    check(answer.code == Code.METHOD_NOT_ALLOWED, "method", answer.code)
    answer = await ask(GET, "/body", accept=60)
    check(answer.code == Code.NOT_ACCEPTABLE, "accept", answer.code)
    answer = await ask(GET, "/.well-known/core?rt=bod*")
    check(answer.payload == b'</body>;rt="body";ct=42;obs', "discovery", answer.payload)

    await ask(PUT, "/body", b"first")
    request = context.request(Message(code=GET, uri=base + "/body", observe=0))
    first = await request.response
    check(first.payload == b"first" and first.opt.observe is not None, "first", first.payload)
    seen = []
    states = [b"1", b"2" * 5_000, b"3", b"4" * 50_000, b"5", b"6", b"7"]

    async def watch():
        async for notification in request.observation:
            seen.append(notification.payload)
            if notification.payload == states[-1]:
                return

    watching = asyncio.create_task(watch())
    for state in states:
        await ask(PUT, "/body", state)
        # Each is seen before the next, since what is in between may be left out.
        for _ in range(200):
            if state in seen:
                break
            await asyncio.sleep(0.02)
    await asyncio.wait_for(watching, 10)
    check(seen == states, "notifications", [len(state) for state in seen])
    request.observation.cancel()
    answer = await ask(DELETE, "/body")
    check(answer.code == Code.DELETED, "DELETE", answer.code)
    answer = await ask(GET, "/body")
    check(answer.code == Code.NOT_FOUND, "deleted", answer.code)
    await context.shutdown()
    print("ok")


asyncio.run(asyncio.wait_for(main(), 50))
