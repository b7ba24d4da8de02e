#!/usr/bin/python3
"""OpenStack's Swift of Debian's python3-swift on one node, without its packages of services.
swiftd.py make DIR: rings, settings and disks below DIR.   swiftd.py account|container|object|proxy DIR: that server, in the foreground.
swiftd.py keystone DIR: as much of Keystone as gives tokens; they are TempAuth's, so the store takes them.  (The system's python: it has the packages.)"""
import http.server, json, os, sys, urllib.request

what, top = sys.argv[1:3]
PORTS = {"proxy": 8080, "account": 6202, "container": 6201, "object": 6200, "keystone": 5000}
PROXY = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = 8080
swift_dir = {top}
workers = 0
log_level = WARNING
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache listing_formats bulk s3api tempauth copy slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:11211
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
s3_acl = false
storage_domain = s3.test
[filter:tempauth]
use = egg:swift#tempauth
token_life = 4
user_acme_me = secret .admin
user_acme_guest = guest
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
"""
BACK = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {top}
devices = {top}/disks
mount_check = false
workers = 0
log_level = WARNING
disable_fallocate = true
[pipeline:main]
pipeline = {what}-server
[app:{what}-server]
use = egg:swift#{what}
"""


def make():
    from swift.common.ring import RingBuilder
    os.makedirs(f"{top}/disks/d1")
    with open(f"{top}/swift.conf", "w") as f:
        f.write("[swift-hash]\nswift_hash_path_suffix = test\nswift_hash_path_prefix = test\n")
    with open(f"{top}/proxy.conf", "w") as f:
        f.write(PROXY.format(top=top))
    for name in ("account", "container", "object"):
        with open(f"{top}/{name}.conf", "w") as f:
            f.write(BACK.format(top=top, what=name, port=PORTS[name]))
        b = RingBuilder(4, 1, 1)
        b.add_dev({"id": 0, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": PORTS[name], "device": "d1", "weight": 1.0})
        b.rebalance()
        b.get_ring().save(f"{top}/{name}.ring.gz")


def server():
    from swift.common import utils
    utils.SWIFT_CONF_FILE = f"{top}/swift.conf"
    utils.validate_hash_conf()
    from swift.common.wsgi import run_wsgi
    sys.exit(run_wsgi(f"{top}/{what}.conf", f"{what}-server"))


class Keystone(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        ask = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["auth"]
        user = ask["identity"]["password"]["user"]
        name = ask["scope"]["project"]["name"] + ":" + user["name"]
        status, token, url = 401, "", ""
        try:
            r = urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:8080/auth/v1.0", headers={"X-Auth-User": name, "X-Auth-Key": user["password"]}))
            status, token, url = 201, r.headers["X-Auth-Token"], r.headers["X-Storage-Url"]
        except urllib.error.HTTPError:
            pass
        body = json.dumps({"token": {"catalog": [{"type": "object-store", "endpoints": [{"interface": "public", "region": "one", "url": url}]}]}}).encode()
        self.send_response(status)
        self.send_header("X-Subject-Token", token)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if what == "make":
    make()
elif what == "keystone":
    http.server.ThreadingHTTPServer(("127.0.0.1", PORTS[what]), Keystone).serve_forever()
else:
    server()
