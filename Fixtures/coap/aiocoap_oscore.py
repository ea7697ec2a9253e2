#!/usr/bin/env python3
"""A peer with OSCORE on aiocoap, for tests: the context of RFC 8613, C.1, with an ID context.

server PORT    /hello, /echo (POST), /count (observable), /observers (how many of that), /large (Block2). It has lost its replay window, and so challenges the first request.
client PORT    sends requests to a server, GET /hello?a=1, /nowhere and /count (observed up to "3"), and in the end what came of them: POST /result.
"""
import asyncio
import json
import os
import sys
import tempfile

import aiocoap
from aiocoap import credentials, oscore, oscore_sitewrapper, resource
from aiocoap.numbers.codes import Code


# Nothing outlives a test, and so the folder goes when the context is loaded.
oscore.FilesystemSecurityContext._store = lambda self: None


def load(known, name, sender, recipient, received=None):
    with tempfile.TemporaryDirectory() as folder:
        known.load_from_dict({name: {"oscore": {"basedir": write_context(folder, sender, recipient, received)}}})


def write_context(folder, sender, recipient, received):
    settings = {
        "secret_hex": "0102030405060708090a0b0c0d0e0f10",
        "salt_hex": "9e7ca92223786340",
        "id-context_hex": "37cbf3210017a2d3",
        "sender-id_hex": sender,
        "recipient-id_hex": recipient,
    }
    with open(os.path.join(folder, "settings.json"), "w") as file:
        json.dump(settings, file)
    if received is not None:
        with open(os.path.join(folder, "sequence.json"), "w") as file:
            json.dump({"next-to-send": 0, "received": received}, file)
    return folder


class Hello(resource.Resource):
    async def render_get(self, request):
        return aiocoap.Message(payload=b"Hello World!")


class Echo(resource.Resource):
    async def render_post(self, request):
        return aiocoap.Message(code=Code.CONTENT, content_format=42, payload=request.payload)


class Count(resource.ObservableResource):
    count = 0
    observers = 0

    async def add_observation(self, request, observation):
        await super().add_observation(request, observation)
        asyncio.get_running_loop().create_task(self.tick())

    def update_observation_count(self, newcount):
        self.observers = newcount

    async def tick(self):
        for _ in range(3):
            await asyncio.sleep(0.1)
            self.count += 1
            self.updated_state()

    async def render_get(self, request):
        return aiocoap.Message(payload=b"%d" % self.count)


class Observers(resource.Resource):
    def __init__(self, count):
        super().__init__()
        self.count = count

    async def render_get(self, request):
        return aiocoap.Message(payload=b"%d" % self.count.observers)


class Large(resource.Resource):
    async def render_get(self, request):
        return aiocoap.Message(payload=bytes(range(256)) * 8)


async def serve(port):
    site = resource.Site()
    site.add_resource(["hello"], Hello())
    site.add_resource(["echo"], Echo())
    count = Count()
    site.add_resource(["count"], count)
    site.add_resource(["observers"], Observers(count))
    site.add_resource(["large"], Large())
    known = credentials.CredentialsMap()
    load(known, ":peer", "01", "", "unknown")
    site = oscore_sitewrapper.OscoreSiteWrapper(site, known)
    await aiocoap.Context.create_server_context(site, bind=("127.0.0.1", port), server_credentials=known)
    await asyncio.get_running_loop().create_future()


async def ask(port):
    base = "coap://127.0.0.1:%d" % port
    client = await aiocoap.Context.create_client_context()
    load(client.client_credentials, base + "/*", "", "01")
    received = []

    def note(response):
        received.append(response.code.dotted + " " + response.payload.decode())

    for _ in range(2):
        note(await client.request(aiocoap.Message(code=Code.GET, uri=base + "/hello?a=1")).response)
    note(await client.request(aiocoap.Message(code=Code.GET, uri=base + "/nowhere")).response)
    request = client.request(aiocoap.Message(code=Code.GET, uri=base + "/count", observe=0))
    note(await request.response)
    async for response in request.observation:
        note(response)
        if response.payload == b"3":
            break
    result = ", ".join(received).encode()
    await client.request(aiocoap.Message(code=Code.POST, uri=base + "/result", payload=result)).response
    await client.shutdown()


asyncio.run({"server": serve, "client": ask}[sys.argv[1]](int(sys.argv[2])))
