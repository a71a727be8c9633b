"""A proxy that makes YAML of JSON: python examples/modify_response.py [asyncio|gevent|threads]"""

import json
import sys

import yaml

from sansio_pingora import Error, HttpPeer, ProxyHttp, serve


class JsonToYaml(ProxyHttp):
    peer, most = "127.0.0.1:9000", 1 << 20

    def new_ctx(self):
        return {"json": None}

    def upstream_peer(self, session, ctx):
        return HttpPeer(self.peer)

    def upstream_request_filter(self, session, request, ctx):
        request.remove("Accept-Encoding")

    def response_filter(self, session, response, ctx):
        if response.get("content-type") == b"application/json":
            response.insert("Content-Type", "application/yaml")
            response.remove("Content-Length")  # it will be another one
            ctx["json"] = b""

    def response_body_filter(self, session, body, end_of_stream, ctx):
        if ctx["json"] is None:
            return body
        ctx["json"] += body
        if len(ctx["json"]) > self.most:
            raise Error.http_status(502, "too much JSON")
        return yaml.safe_dump(json.loads(ctx["json"])).encode() if end_of_stream and ctx["json"] else b""


if __name__ == "__main__":
    serve(JsonToYaml(), listen="127.0.0.1:6191", runtime=sys.argv[1] if sys.argv[1:] else "asyncio")
