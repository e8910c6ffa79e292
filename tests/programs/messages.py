import array, ctypes, errno, os, signal, socket, struct, time
signal.signal(signal.SIGPIPE, lambda *a: print("SIGPIPE"))
libc = ctypes.CDLL(None, use_errno=True)
class iovec(ctypes.Structure): _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]
class msghdr(ctypes.Structure): _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_uint), ("iov", ctypes.c_void_p), ("iovlen", ctypes.c_size_t),
    ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t), ("flags", ctypes.c_int)]
class mmsghdr(ctypes.Structure): _fields_ = [("hdr", msghdr), ("len", ctypes.c_uint)]
def said(what, call):
    try: print(what, call())
    except OSError as e: print(what, errno.errorcode.get(e.errno, e))
D, S = socket.SOCK_DGRAM, socket.SOCK_STREAM
r = socket.socket(socket.AF_INET, D); r.bind(("127.0.0.1", 0)); to = r.getsockname()
r6 = socket.socket(socket.AF_INET6, D); r6.bind(("::1", 0)); to6 = r6.getsockname()
s = socket.socket(socket.AF_INET, D)
said("bare", lambda: s.sendmsg([b"x"]))
said("empty", lambda: s.sendto(b"", to)); said("got", lambda: r.recv(9))
said("parts", lambda: s.sendmsg([b"ab", b"", b"cd"], [], 0, to)); said("got", lambda: r.recv(9))
said("large", lambda: s.sendto(bytes(65507), to)); said("got", lambda: len(r.recv(70000)))
said("too large", lambda: s.sendto(bytes(65508), to))
said("too many parts", lambda: s.sendmsg([b"x"] * 1025, [], 0, to))
said("out of band", lambda: s.sendto(b"x", socket.MSG_OOB, to))
said("more", lambda: s.sendto(b"ab", socket.MSG_MORE, to)); said("rest", lambda: s.sendto(b"cd", to)); said("got", lambda: r.recv(9))
said("from", lambda: s.sendmsg([b"x"], [(0, 8, bytes(4) + socket.inet_aton("127.0.0.9") + bytes(4))], 0, to)); said("got", lambda: r.recvfrom(9)[1][0])
said("from nowhere", lambda: s.sendmsg([b"x"], [(0, 8, bytes(4) + socket.inet_aton("192.0.2.77") + bytes(4))], 0, to))
said("hops", lambda: s.sendmsg([b"x"], [(0, 2, struct.pack("i", 3))], 0, to)); said("got", lambda: r.recv(9))
said("bad control", lambda: libc.sendmsg(s.fileno(), ctypes.byref(msghdr(None, 0, None, 0, 1, 16, 0)), 0) or ctypes.get_errno())
said("segments", lambda: s.sendmsg([b"ab" * 3], [(17, 103, struct.pack("H", 2))], 0, to)); said("got", lambda: [r.recv(9) for _ in range(3)])
def address(family, text, port): return struct.pack("=HH", family, socket.htons(port)) + socket.inet_pton(socket.AF_INET, text) + bytes(8)
def raw(fd, name, data=b"x", flags=0):
    n = libc.sendto(fd, data, len(data), flags, name, len(name)); return n if n >= 0 else errno.errorcode[ctypes.get_errno()]
print("unspec", raw(s.fileno(), address(0, "127.0.0.1", to[1])), r.recv(9))
print("short", raw(s.fileno(), address(2, "127.0.0.1", to[1])[:8]), raw(s.fileno(), b"\2"))
print("foreign", raw(s.fileno(), struct.pack("=H", 77) + bytes(14)))
print("bad pointer", libc.sendmsg(s.fileno(), 8, 0), errno.errorcode[ctypes.get_errno()])
def many(fd, *names):
    keep = [ctypes.create_string_buffer(n) if n else None for n in names]; data = ctypes.create_string_buffer(b"xyz")
    part = iovec(ctypes.addressof(data), 3)
    a = (mmsghdr * len(names))(*[mmsghdr(msghdr(ctypes.addressof(k) if k else None, len(n) if n else 0, ctypes.addressof(part), 1, None, 0, 0), 99) for k, n in zip(keep, names)])
    n = libc.sendmmsg(fd, a, len(names), 0); return n, [m.len for m in a], errno.errorcode[ctypes.get_errno()] if n < 0 else ""
ok = address(2, "127.0.0.1", to[1])
print("many", many(s.fileno(), ok, ok), r.recv(9), r.recv(9))
print("many, second without", many(s.fileno(), ok, None, ok), r.recv(9))
print("many, first without", many(s.fileno(), None, ok))
s6 = socket.socket(socket.AF_INET6, D)
said("six", lambda: s6.sendto(b"x", to6)); said("got", lambda: r6.recv(9))
said("mapped", lambda: s6.sendto(b"x", ("::ffff:127.0.0.1", to[1]))); said("got", lambda: r.recv(9))
print("four on six", raw(s6.fileno(), ok), r.recv(9))
s.connect(to); said("connected", lambda: (s.send(b"x"), s.sendmsg([b"y"]), s.sendto(b"z", to))); said("got", lambda: [r.recv(9) for _ in range(3)])
n = socket.socket(socket.AF_INET, D); n.connect(("127.0.0.1", 1)); said("nobody", lambda: n.send(b"x")); time.sleep(.05); said("refused", lambda: n.sendmsg([b"x"]))
a, b = socket.socketpair(socket.AF_UNIX, D); a.setblocking(False)
def fill(s):
    n = 0
    try:
        while True: s.sendmsg([bytes(1000)]); n += 1
    except BlockingIOError: return n
said("pair full", lambda: fill(a))
a.settimeout(None); a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, 200000)); t = time.monotonic()
said("full, with patience", lambda: a.sendmsg([b"x"])); print(.15 < time.monotonic() - t < 3)
a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, 0))
signal.signal(signal.SIGALRM, lambda *x: b.recv(2000)); signal.setitimer(signal.ITIMER_REAL, .2); said("full, until a handler makes room", lambda: a.sendmsg([b"x"]))
p, q = socket.socketpair(); p.setblocking(False); said("stream full", lambda: 100000 < p.sendmsg([bytes(1 << 22)]) < 1 << 22)
p, q = socket.socketpair(); import threading
def drain(out=[]):
    while (d := q.recv(1 << 16)): out.append(len(d))
    print("drained", sum(out))
t = threading.Thread(target=drain); t.start(); said("stream, all of it", lambda: p.sendmsg([bytes(3 << 20), b"tail"])); p.shutdown(1); t.join()
p, q = socket.socketpair(); fd = os.open("/dev/null", os.O_RDONLY)
said("rights", lambda: p.sendmsg([b"f"], [(1, 1, array.array("i", [fd]))])); print(os.fstat(array.array("i", q.recvmsg(9, 99)[1][0][2])[0]).st_rdev == os.fstat(fd).st_rdev)
said("rights to nothing", lambda: p.sendmsg([b"f"], [(1, 1, array.array("i", [999]))]))
q.close(); said("gone", lambda: p.sendmsg([b"x"])); said("gone, quietly", lambda: p.sendmsg([b"x"], [], socket.MSG_NOSIGNAL))
e, f = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET); said("seqpacket", lambda: e.sendmsg([b"ab", b"c"])); said("got", lambda: f.recv(9))
u = socket.socket(socket.AF_UNIX, D); u.bind("u.sock"); v = socket.socket(socket.AF_UNIX, D)
said("by path", lambda: v.sendto(b"x", "u.sock")); said("got", lambda: u.recv(9)); said("no path", lambda: v.sendto(b"x", "none.sock")); os.unlink("u.sock")
l = socket.create_server(("127.0.0.1", 0)); c = socket.create_connection(l.getsockname()); d, _ = l.accept()
said("tcp", lambda: c.sendmsg([b"ab", b"cd"], [], 0)); said("got", lambda: d.recv(9)); said("tcp, with a name", lambda: c.sendto(b"x", ("127.0.0.1", 1))); said("got", lambda: d.recv(9))
said("no socket", lambda: libc.sendmsg(fd, ctypes.byref(msghdr()), 0) or errno.errorcode[ctypes.get_errno()])
