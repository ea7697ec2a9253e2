#!/usr/bin/env python3
"""A CoAP server on aiocoap with the resources of the ETSI plugtests that a client is tried with."""
import asyncio
import sys

import aiocoap
from aiocoap import Message, resource
from aiocoap.numbers.codes import Code

TEXT, LINKS, XML = 0, 40, 41
LARGE = bytes(ord("a") + n // 100 % 26 for n in range(3300))


class Fixed(resource.Resource):
    """What never changes."""

    def __init__(self, payload, content_format=TEXT, **attributes):
        super().__init__()
        self.message = dict(payload=payload, content_format=content_format)
        self.attributes = attributes

    def get_link_description(self):
        return dict(super().get_link_description(), **self.attributes)

    async def render_get(self, request):
        return Message(code=Code.CONTENT, **self.message)


class Test(Fixed):
    async def render_put(self, request):
        return Message(code=Code.CHANGED)

    async def render_post(self, request):
        return Message(code=Code.CREATED, location_path=("location1", "location2", "location3"))

    async def render_delete(self, request):
        return Message(code=Code.DELETED)


class Query(resource.Resource):
    async def render_get(self, request):
        return Message(code=Code.CONTENT, payload=" ".join(request.opt.uri_query).encode(), content_format=TEXT)


class LocationQuery(resource.Resource):
    async def render_post(self, request):
        return Message(code=Code.CREATED, location_query=("first=1", "second=2"))


class Separate(Fixed):
    async def render_get(self, request):
        # Longer than it waits with its acknowledgement.
        await asyncio.sleep(0.3)
        return await super().render_get(request)


class MultiFormat(resource.Resource):
    async def render_get(self, request):
        if request.opt.accept == XML:
            return Message(code=Code.CONTENT, payload=b"<a>text</a>", content_format=XML)
        return Message(code=Code.CONTENT, payload=b"text", content_format=TEXT)


class Validate(resource.Resource):
    version, body = 1, b"first"

    async def render_get(self, request):
        tag = bytes([self.version])
        if tag in request.opt.etags:
            return Message(code=Code.VALID, etag=tag)
        return Message(code=Code.CONTENT, payload=self.body, content_format=TEXT, etag=tag)

    async def render_put(self, request):
        if request.opt.if_match and bytes([self.version]) not in request.opt.if_match:
            return Message(code=Code.PRECONDITION_FAILED)
        self.version, self.body = self.version + 1, request.payload
        return Message(code=Code.CHANGED)


class Create(resource.Resource):
    body = None

    async def render_put(self, request):
        if self.body is not None and request.opt.if_none_match:
            return Message(code=Code.PRECONDITION_FAILED)
        self.body = request.payload
        return Message(code=Code.CREATED)


class Update(resource.Resource):
    body = b""

    async def render_get(self, request):
        return Message(code=Code.CONTENT, payload=self.body, content_format=TEXT)

    async def render_put(self, request):
        self.body = request.payload
        return Message(code=Code.CHANGED)


class Reverse(resource.Resource):
    async def render_post(self, request):
        return Message(code=Code.CHANGED, payload=request.payload[::-1], content_format=TEXT)


class LargeCreate(resource.Resource):
    def __init__(self, site):
        super().__init__()
        self.site, self.count = site, 0

    async def render_post(self, request):
        self.count += 1
        path = ("large-create", f"part{self.count}")
        self.site.add_resource(path, Fixed(request.payload))
        return Message(code=Code.CREATED, location_path=path)


class Observed(resource.ObservableResource):
    body = b"state 0"

    async def render_get(self, request):
        return Message(code=Code.CONTENT, payload=self.body, content_format=TEXT)

    async def render_put(self, request):
        self.body = request.payload
        self.updated_state()
        return Message(code=Code.CHANGED)


async def main():
    site = resource.Site()
    site.add_resource([".well-known", "core"], resource.WKCResource(site.get_resources_as_linkheader))
    site.add_resource(["test"], Test(b"a test"))
    site.add_resource(["seg1", "seg2", "seg3"], Fixed(b"three segments"))
    site.add_resource(["query"], Query())
    site.add_resource(["location-query"], LocationQuery())
    site.add_resource(["separate"], Separate(b"at last"))
    site.add_resource(["multi-format"], MultiFormat())
    site.add_resource(["validate"], Validate())
    site.add_resource(["create1"], Create())
    site.add_resource(["large"], Fixed(LARGE))
    site.add_resource(["large-update"], Update())
    site.add_resource(["large-create"], LargeCreate(site))
    site.add_resource(["large-post"], Reverse())
    site.add_resource(["obs"], Observed())
    site.add_resource(["link1"], Fixed(b"1", rt="Type1 Type2", **{"if": "If1"}))
    site.add_resource(["link2"], Fixed(b"2", rt="Type2 Type3", **{"if": "If2"}))
    site.add_resource(["link3"], Fixed(b"3", rt="Type1 Type3", **{"if": "foo"}))
    site.add_resource(["path"], Fixed(b"</path/sub1>,</path/sub2>", LINKS, ct="40"))
    for sub in ("sub1", "sub2"):
        site.add_resource(["path", sub], Fixed(f"/path/{sub}".encode()))
    await aiocoap.Context.create_server_context(site, bind=("127.0.0.1", int(sys.argv[1])))
    await asyncio.get_running_loop().create_future()


asyncio.run(main())
