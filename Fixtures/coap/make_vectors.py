#!/usr/bin/env python3
"""Writes aiocoap-vectors.txt: CoAP messages as aiocoap 0.4.17 encodes them (pip install aiocoap==0.4.17).

A line per message: type code message-ID token options payload datagram; numbers in decimal, bytes in hexadecimal, "-" for none,
options as number:value joined by commas.
"""
import pathlib
import random

from aiocoap import Message
from aiocoap.numbers.codes import Code
from aiocoap.numbers.types import Type
from aiocoap.numbers.optionnumbers import OptionNumber
from aiocoap.optiontypes import OpaqueOption

random.seed(7252)
LENGTHS = [0, 1, 2, 4, 8, 12, 13, 14, 255, 268, 269, 270, 300, 1034]
NUMBERS = [1, 3, 4, 5, 6, 7, 8, 11, 12, 14, 15, 17, 20, 35, 39, 60, 61, 62, 65, 258, 268, 269, 270, 281, 2048, 65000, 65535]
CODES = [1, 2, 3, 4, 5, 6, 7, 65, 66, 67, 68, 69, 95, 128, 129, 130, 131, 132, 133, 134, 140, 141, 143, 160, 161, 162, 163, 164, 165]
rows = []


def add(mtype, code, mid, token=b"", options=(), payload=b""):
    message = Message(code=Code(code), payload=payload, _mtype=Type(mtype), _mid=mid, _token=token)
    for number, value in options:
        message.opt.add_option(OpaqueOption(OptionNumber(number), value))
    text = ",".join(f"{n}:{v.hex() or '-'}" for n, v in sorted(options, key=lambda o: o[0])) or "-"
    rows.append(f"{mtype} {code} {mid} {token.hex() or '-'} {text} {payload.hex() or '-'} {message.encode().hex()}")


add(2, 0, 0)
add(2, 0, 65535)
add(3, 0, 44411)
for count in range(9):
    add(0, 1, 0x7D34 + count, random.randbytes(count), [(11, b"temperature")])
for code in CODES:
    add(random.randrange(3) if code > 31 else random.randrange(2), code, random.randrange(65536), random.randbytes(4))
for number in NUMBERS:
    add(0, 2, number, b"\x01", [(number, b"v")])
for length in LENGTHS:
    add(1, 69, length, b"\x02", [(2048, random.randbytes(length))], b"x")
for _ in range(80):
    options = [(random.choice(NUMBERS), random.randbytes(random.choice(LENGTHS[:9]))) for _ in range(random.randrange(9))]
    add(
        random.randrange(2), random.choice(CODES), random.randrange(65536), random.randbytes(random.randrange(9)), options,
        random.randbytes(random.choice([0, 1, 20, 100])),
    )
here = pathlib.Path(__file__).parent
(here / "aiocoap-vectors.txt").write_text("\n".join(rows) + "\n")
