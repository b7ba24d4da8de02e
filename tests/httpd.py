#!/usr/bin/env python3
"""A web server that misbehaves on request, for tests of downloads.
httpd.py DIR LOG [CERT KEY]: serves the files of DIR on a port of 127.0.0.1 it prints; LOG gets a line for each request:
METHOD PATH RANGE STATUS.  What follows ? in a URL says how it is served:
  norange       no ranges        noid       neither ETag nor date     drop=N      the connection is lost after N bytes, times=K times
  rate=N        bytes a second   chunked    without a length
  status=N      that answer      times=K    K times, then well        to=URL      a redirect      loop  to itself
  length=N      claims that many bytes      user=U:P  wants them      ignore      206 although the file changed
  hang          answers nothing  date       Last-Modified and no ETag weak        an ETag that is weak
"""
import base64, hashlib, http.server, os, ssl, sys, threading, time, urllib.parse

root, log = sys.argv[1], sys.argv[2]
seen, lock = {}, threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def note(self, status):
        with lock, open(log, "a") as f:
            f.write(f"{self.command} {self.path} {self.headers.get('Range', '-')} {status}\n")

    def first_times(self, k):
        with lock:
            seen[self.path] = seen.get(self.path, 0) + 1
            return seen[self.path] <= k

    def answer(self, status, headers=(), body=b""):
        self.note(status)
        self.send_response(status)
        for k, v in headers:
            self.send_header(k, v)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        try:
            self.get()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def get(self):
        url = urllib.parse.urlsplit(self.path)
        how = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        times = int(how.get("times", 1 << 30))
        if "hang" in how:
            self.note(0)
            time.sleep(600)
        if "user" in how and self.headers.get("Authorization") != "Basic " + base64.b64encode(how["user"].encode()).decode():
            return self.answer(401, [("WWW-Authenticate", 'Basic realm="x"')], b"who are you?")
        if "loop" in how:
            return self.answer(302, [("Location", self.path)], b"look there")
        if "to" in how:
            return self.answer(302, [("Location", how["to"])], b"look there")
        if "status" in how and self.first_times(times):
            return self.answer(int(how["status"]), [], b"x" * 5000)
        try:
            with open(root + urllib.parse.unquote(url.path), "rb") as f:
                data = f.read()
        except OSError:
            return self.answer(404, [], b"no")
        self.serve(data, how, times)

    def serve(self, data, how, times):
        tag = '"%s"' % hashlib.md5(data).hexdigest()
        date = "Sun, 22 Nov 2026 10:00:00 GMT"
        have_id = "noid" not in how
        ident = date if "date" in how else tag
        begin, status = 0, 200
        rng = self.headers.get("Range")
        if rng and "norange" not in how:
            same = self.headers.get("If-Range") == ident or "ignore" in how
            begin = int(rng[6:].split("-")[0])
            if same and begin < len(data):
                status = 206
            elif same:
                return self.answer(416, [("Content-Range", f"bytes */{len(data)}")])
            else:
                begin = 0
        drop = int(how["drop"]) if "drop" in how and self.first_times(times) else None
        self.note(status)
        self.send_response(status)
        if have_id:
            self.send_header("Last-Modified", date)
            if "date" not in how:
                self.send_header("ETag", ("W/" if "weak" in how else "") + tag)
        if status == 206:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        body = data[begin:]
        chunked = "chunked" in how
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", how.get("length", str(len(body))))
        self.end_headers()
        rate = int(how.get("rate", 0))
        step = max(1, rate // 20) if rate else 65536
        sent = 0
        while sent < len(body):
            piece = body[sent:sent + step]
            if drop is not None and sent + len(piece) > drop:
                piece = piece[:drop - sent]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked and piece else piece)
            sent += len(piece)
            if drop is not None and sent >= drop:
                self.wfile.flush()
                self.close_connection = True
                self.connection.shutdown(2)
                return
            if rate:
                time.sleep(0.05)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")
        if "length" in how:
            self.close_connection = True


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        pass


server = Server(("127.0.0.1", 0), Handler)
if len(sys.argv) > 3:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3], sys.argv[4])
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(server.server_address[1], flush=True)
server.serve_forever()
