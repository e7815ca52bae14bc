# SPDX-License-Identifier: BSD-2-Clause
"""Pictures of PNG, as bytes."""
import struct
import zlib


def unfilter(kind, line, above, step):
    """One row of a PNG, 9.2; a pixel is of @step bytes."""
    out = bytearray()
    for i, byte in enumerate(line):
        left, up, corner = (out[i - step] if i >= step else 0), above[i], (above[i - step] if i >= step else 0)
        guess = left + up - corner
        nearest = min((abs(guess - left), 0, left), (abs(guess - up), 1, up), (abs(guess - corner), 2, corner))[2]
        out.append((byte + (0, left, up, (left + up) // 2, nearest)[kind]) & 255)
    return bytes(out)


def read_png(path):
    """(width, height, bytes of red, green and blue), or None: there is none, or half of one."""
    with open(path, "rb") as file:
        data = file.read()
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[-8:-4] != b"IEND":
        return None
    at, chunks = 8, {}
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + size:at + 12 + size])[0]
        chunks[kind] = chunks.get(kind, b"") + body
        at += 12 + size
    width, height, depth, colours, *_ = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert depth == 8 and colours in (2, 6), "not of red, green and blue"
    step = 3 if colours == 2 else 4
    packed, line = zlib.decompress(chunks[b"IDAT"]), width * step
    above, rows = bytes(line), []
    for row in range(height):
        start = row * (line + 1)
        above = unfilter(packed[start], packed[start + 1:start + 1 + line], above, step)
        rows.append(above)
    pixels = bytearray(b"".join(rows))
    if step == 4:
        del pixels[3::4]
    return width, height, bytes(pixels)
