#!/usr/bin/env python3
"""A server of objects that misbehaves on request: as much of S3 (path-style), Swift (TempAuth) and Keystone as our places use, in memory.
objectd.py MODES LOG [DIR [PORT]]: serves on a port of 127.0.0.1 it prints; LOG gets a line for each request: METHOD PATH RANGE STATUS.  DIR: what is put is
kept in files there, named as in a URL with / as %2F, and may be changed behind its back.
The first line "METHOD WHAT TIMES [SUBSTRING]" of MODES that fits a request (METHOD * is all; SUBSTRING of path and query) is done to it, TIMES times.  WHAT:
  cut       the connection is lost in the middle of the body      close     ... before an answer       lost   ... after it was done
  short     a byte less, with lengths that fit                    long      a byte more                empty  no body where there is one
  shifted   another range     whole  all of it with 200           drip      10 bytes a second          hang   no answer for 30 s
  garbage   bytes of no use   huge   a body that does not end     error200  an <Error> with 200        skew   403, the clock an hour off
  noetag    without an ETag   etag   with a wrong one             endless   a list that goes on        NNN    that status
"""
import collections.abc, hashlib, http.server, json, os, re, sys, threading, time, urllib.parse
from xml.sax.saxutils import escape

modes_file, log = sys.argv[1], sys.argv[2]
store, uploads, tokens, used, lock = {}, {}, set(), {}, threading.RLock()
counter = [0]


class Files(collections.abc.MutableMapping):
    def path(self, key):
        return os.path.join(sys.argv[3], urllib.parse.quote(key, safe=""))

    def __getitem__(self, key):
        try:
            with open(self.path(key), "rb") as f:
                return f.read()
        except FileNotFoundError:
            raise KeyError(key)

    def __setitem__(self, key, data):
        with open(self.path(key) + "~", "wb") as f:
            f.write(data)
        os.rename(self.path(key) + "~", self.path(key))

    def __delitem__(self, key):
        try:
            os.unlink(self.path(key))
        except FileNotFoundError:
            raise KeyError(key)

    def __iter__(self):
        return iter([urllib.parse.unquote(n) for n in os.listdir(sys.argv[3]) if not n.endswith("~")])

    def __len__(self):
        return len(os.listdir(sys.argv[3]))


if len(sys.argv) > 3:
    store = Files()

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    rbufsize = 1 << 20

    def log_message(self, *_):
        pass

    def date_time_string(self, timestamp=None):
        return super().date_time_string(time.time() - 3600 if self.what == "skew" else timestamp)

    def pick(self):
        try:
            with open(modes_file) as f:
                lines = [l.split() for l in f if l.strip()]
        except OSError:
            lines = []
        for i, l in enumerate(lines):
            if l[0] not in ("*", self.command) or (len(l) > 3 and l[3] not in self.path):
                continue
            with lock:
                key = (i, tuple(l))
                used[key] = used.get(key, 0) + 1
                if used[key] <= int(l[2]):
                    return l[1]
        return ""

    def answer(self, status, body=b"", **headers):
        with lock, open(log, "a") as f:
            f.write(f"{self.command} {self.path} {self.headers.get('Range', '-')} {status}\n")
        what, length = self.what, len(body)
        if what == "lost":
            return self.lose()
        if status < 300:
            if what == "short":
                body = body[:-1]
                length -= 1
            elif what == "long":
                body += b"x"
                length += 1
            elif what == "empty":
                body, length = b"", 0
            elif what == "garbage":
                body = os.urandom(1000)
                length = 1000
            elif what == "huge":
                length = 1 << 40
        self.send_response(status)
        for k, v in headers.items():
            self.send_header(k.replace("_", "-"), v)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command == "HEAD":
            return
        if status < 300 and what == "cut":
            self.wfile.write(body[:len(body) // 2])
            return self.lose()
        if status < 300 and what == "huge":
            while True:
                self.wfile.write(b" " * 65536)
        if status < 300 and what == "drip":
            for i in range(len(body)):
                self.wfile.write(body[i:i + 1])
                self.wfile.flush()
                time.sleep(0.1)
            return
        self.wfile.write(body)

    def lose(self):
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(2)

    def handle_any(self):
        self.what = ""
        try:
            self.what = self.pick()
            self.go()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

    def go(self):
        n = int(self.headers.get("Content-Length", 0) or 0)
        body = self.rfile.read(n) if n else b""
        if len(body) < n:
            self.close_connection = True
            return
        what = self.what
        if what == "close":
            return self.lose()
        if what == "hang":
            time.sleep(30)
            return self.lose()
        if what == "skew":
            return self.answer(403, b"<Error><Code>RequestTimeTooSkewed</Code></Error>")
        if re.fullmatch(r"\d\d\d", what):
            return self.answer(int(what), b"<Error><Code>Injected</Code><Message>as told</Message></Error>", Location="http://elsewhere.invalid/")
        url = urllib.parse.urlsplit(self.path)
        q = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        path = urllib.parse.unquote(url.path)
        with lock:
            if path == "/auth/v1.0":
                return self.auth_v1()
            if path == "/v3/auth/tokens":
                return self.auth_v3(json.loads(body))
            if path.startswith("/swift/"):
                return self.swift(path[7:], q, body)
            return self.s3(path[1:], q, body)

    # ---- tokens
    def token(self):
        counter[0] += 1
        tokens.clear()
        tokens.add(f"token{counter[0]}")
        return f"token{counter[0]}"

    def here(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}/swift"

    def auth_v1(self):
        if (self.headers.get("X-Auth-User"), self.headers.get("X-Auth-Key")) != ("acme:me", "secret"):
            return self.answer(401, b"<html><h1>Unauthorized</h1></html>")
        self.answer(200, X_Storage_Url=self.here(), X_Auth_Token=self.token())

    def auth_v3(self, ask):
        user = ask["auth"]["identity"]["password"]["user"]
        project = ask["auth"]["scope"]["project"]
        if (user["name"], user["password"], project["name"], project["domain"]["name"]) != ("me", "secret", "acme", "Default"):
            return self.answer(401, b'{"error": {"message": "who?"}}')
        ends = [{"interface": "internal", "region": "one", "url": "http://internal.invalid/"},
                {"interface": "public", "region": "two", "url": "http://two.invalid/"},
                {"interface": "public", "region": "one", "url": self.here() + "/"}]
        body = {"token": {"catalog": [{"type": "compute", "endpoints": []}, {"type": "object-store", "endpoints": ends}]}}
        self.answer(201, json.dumps(body).encode(), X_Subject_Token=self.token())

    # ---- files
    def get(self, key, missing):
        data = store.get(key)
        if data is None:
            return self.answer(404, missing)
        rng = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if not rng or self.what == "whole":
            return self.answer(200, data)
        a, b = int(rng[1]), min(int(rng[2]), len(data) - 1)
        if a >= len(data):
            return self.answer(416, b"<Error><Code>InvalidRange</Code></Error>", Content_Range=f"bytes */{len(data)}")
        if self.what == "shifted":
            a, b = a + 1, b + 1
        self.answer(206, data[a:b + 1], Content_Range=f"bytes {a}-{b}/{len(data)}")

    def etag(self, data):
        return {} if self.what == "noetag" else {"Etag": "0" * 32 if self.what == "etag" else hashlib.md5(data).hexdigest()}

    def names(self, bucket, q, after):
        return sorted(k[len(bucket) + 1:] for k in store if k.startswith(bucket + "/" + q.get("prefix", "")) and k[len(bucket) + 1:] > after)

    def swift(self, path, q, body):
        if self.headers.get("X-Auth-Token") not in tokens:
            return self.answer(401, b"<html>no</html>")
        container, _, name = path.partition("/")
        if container != "packs":
            return self.answer(404, b"<html><h1>Not Found</h1></html>")
        if not name:
            if self.command == "HEAD":
                return self.answer(204)
            limit = int(q.get("limit", 10000))
            all_ = self.names(container, q, "" if self.what == "endless" else q.get("marker", ""))[:limit]
            return self.answer(200, json.dumps([{"name": n, "bytes": len(store[f"{container}/{n}"]), "hash": ""} for n in all_]).encode())
        if self.command == "PUT":
            if self.headers.get("ETag") != hashlib.md5(body).hexdigest():
                return self.answer(422)
            store[path] = body
            return self.answer(201, **self.etag(body))
        if self.command == "DELETE":
            return self.answer(204 if store.pop(path, None) is not None else 404)
        if self.command == "HEAD":
            return self.answer(200, Content_Length=len(store[path])) if path in store else self.answer(404)
        self.get(path, b"<html><h1>Not Found</h1><p>The resource could not be found.</p></html>")

    def s3(self, path, q, body):
        bucket, _, name = path.partition("/")
        if "AWS4-HMAC-SHA256 Credential=AK/" not in self.headers.get("Authorization", ""):
            return self.answer(403, b"<Error><Code>InvalidAccessKeyId</Code></Error>")
        if self.headers["x-amz-content-sha256"] != hashlib.sha256(body).hexdigest():
            return self.answer(400, b"<Error><Code>XAmzContentSHA256Mismatch</Code></Error>")
        if bucket != "packs":
            return self.answer(404, b"<Error><Code>NoSuchBucket</Code></Error>")
        if self.command == "GET" and not name:
            return self.s3_list(bucket, q)
        if self.command == "POST" and "uploads" in q:
            counter[0] += 1
            uploads[f"up/{counter[0]}+="] = {}
            return self.answer(200, f"<InitiateMultipartUploadResult><UploadId>up/{counter[0]}+=</UploadId></InitiateMultipartUploadResult>".encode())
        if "uploadId" in q and q["uploadId"] not in uploads:
            return self.answer(404, b"<Error><Code>NoSuchUpload</Code></Error>")
        if self.command == "PUT" and "uploadId" in q:
            uploads[q["uploadId"]][int(q["partNumber"])] = body
            return self.answer(200, **self.etag(body))
        if self.command == "POST":
            if self.what == "error200":
                return self.answer(200, b"<?xml version='1.0'?>\n\n  <Error><Code>InternalError</Code><Message>We lost it</Message></Error>")
            parts = uploads.pop(q["uploadId"])
            told = re.findall(rb"<PartNumber>(\d+)</PartNumber><ETag>([^<]*)</ETag>", body)
            if [(int(a), b.decode()) for a, b in told] != [(n, hashlib.md5(parts[n]).hexdigest()) for n in sorted(parts)]:
                return self.answer(400, b"<Error><Code>InvalidPart</Code></Error>")
            store[path] = b"".join(parts[n] for n in sorted(parts))
            return self.answer(200, b"<CompleteMultipartUploadResult/>")
        if self.command == "DELETE":
            (uploads.pop(q["uploadId"]) if "uploadId" in q else store.pop(path, None))
            return self.answer(204)
        if self.command == "PUT":
            store[path] = body
            return self.answer(200, **self.etag(body))
        self.get(path, b"<Error><Code>NoSuchKey</Code></Error>")

    def s3_list(self, bucket, q):
        limit = int(q["max-keys"])
        all_ = self.names(bucket, q, "" if self.what == "endless" else q.get("continuation-token", ""))
        page, more = all_[:limit], len(all_) > limit or self.what == "endless"
        items = "".join(f"<Contents><Key>{escape(n)}</Key><Size>{len(store[f'{bucket}/{n}'])}</Size></Contents>" for n in page)
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more and page else ""
        self.answer(200, f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
                    f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{items}{token}</ListBucketResult>".encode())


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        pass


# what is there and none of ours
store["packs/other prefix/x & <y>"] = store["packs/p1/sub/dir"] = store["packs/p1/ä"] = b"foreign"
server = Server(("127.0.0.1", int(sys.argv[4]) if len(sys.argv) > 4 else 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
