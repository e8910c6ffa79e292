"""An npm registry on loopback: so many small packages, and a lock file that names them."""
import base64, hashlib, http.server, io, json, tarfile, threading


def tarball(name):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        files = {"package.json": json.dumps({"name": name, "version": "1.0.0", "main": "index.js"})}
        files.update((f"lib/part-{n}.js", f"module.exports = {n};\n" * 20) for n in range(20))
        files["index.js"] = "module.exports = require('./lib/part-0.js');\n"
        for path, text in files.items():
            entry = tarfile.TarInfo(f"package/{path}")
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return out.getvalue()


class Registry:
    def __init__(self, packages):
        self.files = {f"/{name}/-/{name}-1.0.0.tgz": tarball(name) for name in (f"bench-{n}" for n in range(packages))}
        files = self.files

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = files.get(self.path, b"")
                self.send_response(200 if body else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def project(self, folder):
        """package.json and package-lock.json that need all of them."""
        names = [path.split("/")[1] for path in self.files]
        wanted = {name: "1.0.0" for name in names}
        locked = {"": {"name": "bench", "version": "1.0.0", "dependencies": wanted}}
        for path, name in zip(self.files, names):
            digest = base64.b64encode(hashlib.sha512(self.files[path]).digest()).decode()
            locked[f"node_modules/{name}"] = {"version": "1.0.0", "resolved": f"http://127.0.0.1:{self.port}{path}", "integrity": f"sha512-{digest}"}
        folder.mkdir()
        (folder / "package.json").write_text(json.dumps({"name": "bench", "version": "1.0.0", "dependencies": wanted}))
        lock = {"name": "bench", "version": "1.0.0", "lockfileVersion": 3, "requires": True, "packages": locked}
        (folder / "package-lock.json").write_text(json.dumps(lock))
