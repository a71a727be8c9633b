import hpack

class HpackFault(Exception):
    pass

class FieldBlock:
    def __init__(s, items, size):
        s.items = items; s.size = size; s.truncated = False; s.template = None

class Decoder:
    def __init__(s, n): s.d = hpack.Decoder()
    def decode(s, raw, ceiling):
        s.d.max_header_list_size = 4 * ceiling
        try: items = [(bytes(a), bytes(b)) for a, b in s.d.decode(raw, raw=True)]
        except hpack.HPACKError as e: raise HpackFault(str(e))
        b = FieldBlock(items, sum(len(a) + len(b) + 32 for a, b in items)); b.truncated = b.size > ceiling
        return b

class Encoder:
    def __init__(s, n): s.e = hpack.Encoder()
    def encode(s, items): return s.e.encode([(a.lower(), b) for a, b in items])
    def set_max_table_size(s, n): s.e.header_table_size = n
