"""One exchange through a proxy with modules."""

from __future__ import annotations

from itertools import pairwise

from tests.proxy.harness import App, Bench, dechunk, head_of


class Moduled(App):
    """A proxy with *downstream* modules."""

    def __init__(self, *downstream):
        super().__init__()
        self.downstream = downstream

    def init_downstream_modules(self, modules):
        for module in self.downstream:
            modules.add_module(module)


def through(modules, fields, answer, method=b"GET", *, cuts=()):
    """The start line, fields and body that the client gets, twice over one connection, which must not disturb it."""
    modules = modules if isinstance(modules, list) else [modules]
    bench = Bench(Moduled(*modules))
    client = bench.client()
    got = []
    for _ in range(2):
        client.send(b"%b / HTTP/1.1\r\nHost: a.test\r\n%b\r\n" % (method, fields))
        ends = sorted({0, len(answer), *(cut % (len(answer) + 1) for cut in cuts)})
        for start, end in pairwise(ends):
            bench.origin.send(answer[start:end])
        got.append(client.take())
    bench.assert_clean()
    (start, known, body), (again, _, same) = map(head_of, got)
    if known.get(b"transfer-encoding") == b"chunked" and body:
        return start, known, dechunk(body)[0]
    assert (start, len(body)) == (again, len(same))
    return start, known, body
