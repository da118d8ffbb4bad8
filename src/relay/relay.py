# netproxy's UDP relay, run by python3 on the bastion for as long as its SSH channel lasts. It comes by stdin,
# keeps nothing, and ends with its input. The protocol: src/relay/frames.ts. Before this text stands a line
# that sets AGE (ms), QUEUE (bytes), SILENCE (s), FLOWS and BUFFER (bytes).
import collections, errno, os, select, socket, struct, sys, time

LINUX = sys.platform.startswith("linux")
# linux/in.h, linux/in6.h: not all of them are in the module.
IP_RECVERR, IP_MTU_DISCOVER, IP_MTU = 11, 10, 14
IPV6_RECVERR, IPV6_MTU_DISCOVER, IPV6_MTU = 25, 23, 24
MSG_ERRQUEUE = 0x2000
READ, WRITE, FAILED = 1, 4, 8
OPEN, DATA, CLOSE, TIME, ERROR, HELLO = b"ODCTEH"
UDP4, UDP6, PING4, PING6 = 4, 6, 0x14, 0x16
CODES = {
    errno.ECONNREFUSED: 1,
    errno.EHOSTUNREACH: 2, errno.EHOSTDOWN: 2, errno.ETIMEDOUT: 2,
    errno.ENETUNREACH: 3, errno.ENETDOWN: 3, errno.EADDRNOTAVAIL: 3, errno.EAFNOSUPPORT: 3, errno.EINVAL: 3,
    errno.EACCES: 4, errno.EPERM: 4,
    errno.EMSGSIZE: 5,
}
DATA_HEAD, DROP_BUCKET = struct.Struct(">HBI"), 300000


def clock():
    return int(time.monotonic() * 1000) & 0xFFFFFFFF


def make(kind):
    family = socket.AF_INET6 if kind & 2 else socket.AF_INET
    protocol = 0
    if kind & 0x10:
        protocol = socket.IPPROTO_ICMPV6 if kind & 2 else socket.IPPROTO_ICMP
    made = socket.socket(family, socket.SOCK_DGRAM, protocol)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    if LINUX:
        six = kind & 2
        made.setsockopt(socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP, IPV6_RECVERR if six else IP_RECVERR, 1)
    return made


def possible(kind):
    try:
        make(kind).close()
        return True
    except OSError:
        return False


class Flow:
    __slots__ = ("id", "kind", "socket", "whole")


class Delay:
    """How much later than the fastest of the last minutes something came: what it spent in queues."""

    def __init__(self):
        self.least = self.before = None
        self.since = 0

    def of(self, sent):
        now = clock()
        took = (now - sent) & 0xFFFFFFFF
        if took >= 0x80000000:
            took -= 0x100000000
        # Clocks drift: what was least is forgotten after a while.
        if self.least is None or (now - self.since) & 0xFFFFFFFF > DROP_BUCKET:
            self.before, self.least, self.since = self.least, took, now
        self.least = min(self.least, took)
        return took - (self.least if self.before is None else min(self.least, self.before))


class Relay:
    def __init__(self):
        try:
            self.poller, self.unit = select.epoll(), 1
        except AttributeError:
            self.poller, self.unit = select.poll(), 1000
        self.flows, self.sockets = {}, {}
        self.rest = b""
        # What waits for stdout: [time, bytes, datagrams]; and what is being written of the last one taken.
        self.waiting, self.bytes, self.head = collections.deque(), 0, b""
        self.news, self.answers = [], 0
        self.dropped, self.late, self.delay = 0, False, Delay()
        self.blocked = False
        self.heard = time.monotonic()
        self.room = self.limit()

    def limit(self):
        try:
            import resource
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            want = FLOWS + 32
            if hard != resource.RLIM_INFINITY:
                want = min(want, hard)
            if soft != resource.RLIM_INFINITY and soft < want:
                resource.setrlimit(resource.RLIMIT_NOFILE, (want, hard))
                soft = want
            return max(1, min(FLOWS, FLOWS if soft == resource.RLIM_INFINITY else soft - 32))
        except (ImportError, ValueError, OSError):
            return min(FLOWS, 200)

    def run(self):
        os.set_blocking(0, False)
        os.set_blocking(1, False)
        self.poller.register(0, READ)
        can = 1 * possible(UDP4) | 2 * possible(UDP6)
        if LINUX:
            can |= 4 * possible(PING4) | 8 * possible(PING6)
        self.head = b"\0netproxy\r\n" + struct.pack(">HBBHB", 5, HELLO, 1, self.room, can)
        self.write()
        while True:
            for fd, what in self.poller.poll(SILENCE * self.unit / 4):
                if fd == 0:
                    self.read()
                elif fd == 1:
                    self.write()
                else:
                    flow = self.sockets.get(fd)
                    if flow is not None:
                        self.receive(flow, what & FAILED)
            self.flush()
            if time.monotonic() - self.heard > SILENCE:
                return

    def read(self):
        data = os.read(0, 262144)
        if not data:
            raise EOFError
        self.heard = time.monotonic()
        view = memoryview(self.rest + data if self.rest else data)
        at, end = 0, len(view)
        while end - at >= 3:
            size = view[at] << 8 | view[at + 1]
            stop = at + 2 + size
            if size < 5:
                raise ValueError
            if stop > end:
                break
            kind = view[at + 2]
            number, = struct.unpack_from(">I", view, at + 3)
            if kind == DATA and size >= 6:
                if self.late:
                    self.dropped += 1
                else:
                    flow = self.flows.get(number)
                    if flow is not None:
                        self.send(flow, view[at + 7], view[at + 8:stop])
            elif kind == TIME:
                self.late = self.delay.of(number) > AGE
            elif kind == OPEN and size >= 8:
                self.open(number, view[at + 7], struct.unpack_from(">H", view, at + 8)[0], bytes(view[at + 10:stop]))
            elif kind == CLOSE:
                self.close(number)
            else:
                raise ValueError
            at = stop
        self.rest = bytes(view[at:])

    def open(self, number, kind, port, address):
        if kind not in (UDP4, UDP6, PING4, PING6) or len(address) != (16 if kind & 2 else 4):
            raise ValueError
        self.close(number)
        if len(self.flows) >= self.room:
            self.error(number, 6)
            return
        made = None
        try:
            made = make(kind)
            made.connect((socket.inet_ntop(made.family, address), port))
            self.poller.register(made.fileno(), READ)
        except OSError as error:
            if made is not None:
                made.close()
            self.error(number, CODES.get(error.errno, 6))
            return
        flow = Flow()
        flow.id, flow.kind, flow.socket, flow.whole = number, kind, made, None
        self.flows[number] = self.sockets[made.fileno()] = flow

    def close(self, number):
        flow = self.flows.pop(number, None)
        if flow is None:
            return
        del self.sockets[flow.socket.fileno()]
        self.poller.unregister(flow.socket.fileno())
        flow.socket.close()

    def send(self, flow, flags, payload):
        whole = flags & 1
        six = flow.kind & 2
        if flow.kind & 0x10:
            if len(payload) < 2:
                return
            payload = bytes((128 if six else 8, 0, 0, 0, 0, 0)) + payload
        elif LINUX and flow.whole != whole:
            # IP_PMTUDISC_DO or IP_PMTUDISC_DONT.
            flow.socket.setsockopt(socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP,
                                   IPV6_MTU_DISCOVER if six else IP_MTU_DISCOVER, 2 if whole else 0)
            flow.whole = whole
        # The first error may be that of a datagram before, and this one was not sent.
        for _ in range(2):
            try:
                flow.socket.send(payload)
                return
            except BlockingIOError:
                self.dropped += 1
                return
            except OSError as error:
                self.failed(flow, error.errno)
                if error.errno == errno.EMSGSIZE:
                    return

    def failed(self, flow, number):
        code, mtu = CODES.get(number, 6), 0
        if LINUX:
            six = flow.kind & 2
            if code == 5:
                try:
                    mtu = flow.socket.getsockopt(socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP,
                                                 IPV6_MTU if six else IP_MTU)
                except OSError:
                    pass
        self.drain(flow)
        self.error(flow.id, code, mtu)

    def drain(self, flow):
        try:
            while LINUX:
                flow.socket.recvmsg(1, 512, MSG_ERRQUEUE)
        except OSError:
            pass

    def error(self, number, code, mtu=0):
        self.news.append(struct.pack(">HBIBH", 8, ERROR, number, code, min(mtu, 65535)))

    def receive(self, flow, failed):
        for _ in range(64):
            try:
                data = flow.socket.recv(65535)
            except BlockingIOError:
                # A message may wait in the error queue without an error to tell of it.
                if failed:
                    self.drain(flow)
                return
            except OSError as error:
                self.failed(flow, error.errno)
                continue
            if flow.kind & 0x10:
                if len(data) < 8 or data[0] != (129 if flow.kind & 2 else 0):
                    continue
                data = data[6:]
            self.news.append(DATA_HEAD.pack(len(data) + 5, DATA, flow.id))
            self.news.append(data)
            self.answers += 1

    def flush(self):
        if self.news:
            text = b"".join(self.news)
            self.waiting.append((time.monotonic(), text, self.answers))
            self.bytes += len(text)
            self.news, self.answers = [], 0
        if self.waiting:
            self.write()

    def write(self):
        while True:
            if not self.head:
                self.age()
                if not self.waiting:
                    break
                _, text, _ = self.waiting.popleft()
                self.bytes -= len(text)
                time_head = struct.pack(">HBII", 9, TIME, clock(), self.dropped & 0xFFFFFFFF)
                self.head = memoryview(time_head + text)
            try:
                self.head = self.head[os.write(1, self.head):]
            except BlockingIOError:
                break
        if bool(self.head) != self.blocked:
            self.blocked = not self.blocked
            if self.blocked:
                self.poller.register(1, WRITE)
            else:
                self.poller.unregister(1)

    def age(self):
        oldest = time.monotonic() - AGE / 1000
        while self.waiting and (self.bytes > QUEUE or self.waiting[0][0] < oldest):
            _, text, datagrams = self.waiting[0]
            if datagrams == 0 and self.bytes <= QUEUE:
                return
            self.waiting.popleft()
            self.bytes -= len(text)
            self.dropped += datagrams


try:
    Relay().run()
except (EOFError, OSError, KeyboardInterrupt):
    pass
except ValueError:
    sys.exit(65)
