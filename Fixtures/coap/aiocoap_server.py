#!/usr/bin/env python3
"""A CoAP server on aiocoap, for tests: /echo (POST, PUT), /slow (a separate response), /gone (4.04), /critical (an unknown critical option),
/value (observable; PUT sets it)."""
import asyncio
import sys

import aiocoap
from aiocoap import resource
from aiocoap.numbers.codes import Code
from aiocoap.numbers.optionnumbers import OptionNumber
from aiocoap.optiontypes import OpaqueOption


class Echo(resource.Resource):
    async def render_post(self, request):
        return aiocoap.Message(code=Code.CONTENT, payload=request.payload)

    async def render_put(self, request):
        return aiocoap.Message(code=Code.CHANGED, payload=request.payload)


class Slow(resource.Resource):
    async def render_get(self, request):
        await asyncio.sleep(0.5)
        return aiocoap.Message(payload=b"slow")


class Value(resource.ObservableResource):
    value = b""

    async def render_get(self, request):
        return aiocoap.Message(payload=self.value)

    async def render_put(self, request):
        self.value = request.payload
        self.updated_state()
        return aiocoap.Message(code=Code.CHANGED)


class Critical(resource.Resource):
    async def render_get(self, request):
        message = aiocoap.Message(payload=b"x")
        message.opt.add_option(OpaqueOption(OptionNumber(65001), b"y"))
        return message


async def main():
    site = resource.Site()
    site.add_resource([".well-known", "core"], resource.WKCResource(site.get_resources_as_linkheader))
    site.add_resource(["echo"], Echo())
    site.add_resource(["slow"], Slow())
    site.add_resource(["critical"], Critical())
    site.add_resource(["value"], Value())
    await aiocoap.Context.create_server_context(site, bind=("127.0.0.1", int(sys.argv[1])))
    await asyncio.get_running_loop().create_future()


asyncio.run(main())
