# A client of VNC that comes as far as the password (RFC 6143): rfb.py HOST:PORT PASSWORD says the version, and ok or refused.
import socket, subprocess, sys
host, port = sys.argv[1].rsplit(':', 1)
s = socket.create_connection((host, int(port)), 20)
f = s.makefile('rwb', 0)
version = f.read(12)
f.write(b'RFB 003.008\n')
kinds = f.read(f.read(1)[0])
assert 2 in kinds, kinds
f.write(b'\x02')
challenge = f.read(16)
# DES with the bits of each byte of the password the other way round
key = bytes(int(f'{b:08b}'[::-1], 2) for b in sys.argv[2].encode()[:8].ljust(8, b'\0'))
des = subprocess.run(['openssl', 'enc', '-des-ecb', '-nopad', '-provider', 'legacy', '-provider', 'default', '-K', key.hex()],
                     input=challenge, stdout=subprocess.PIPE, check=True).stdout
f.write(des)
print(version.decode().strip(), 'ok' if f.read(4) == b'\0\0\0\0' else 'refused')
