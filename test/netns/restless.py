"""
An application that tries every way out, ten times a second, until it is killed:
restless.py OWN4 OWN6 NEAR4 NEAR6 KIND... Kinds: tcp, udp, dns, icmp, bound, old.
It prints a dot after each round. No error stops it. With the kind "serve" it also answers, in
capitals, on port 8000 of TCP and UDP.
"""
import select, signal, socket, struct, sys, time

own4, own6, near4, near6, *kinds = sys.argv[1:]
FAR4, FAR6 = '203.0.113.7', '2001:db8:99::7'
INTERVAL_S = 0.1
QUESTION = bytes.fromhex('123401000001000000000000') + b'\x07example\x03com\x00\x00\x01\x00\x01'
families = [(socket.AF_INET, FAR4, own4, near4), (socket.AF_INET6, FAR6, own6, near6)]


def quietly(action, *args):
    try:
        return action(*args)
    except OSError:
        return None


def checksum(data):
    total = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def connect(family, address, port, bound=None, device=None):
    s = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    if bound: quietly(s.bind, (bound, 0))
    if device: quietly(s.setsockopt, socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
    quietly(s.connect, (address, port))
    return s


def send(family, address, port, data, bound=None, device=None):
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        if bound: quietly(s.bind, (bound, 0))
        if device: quietly(s.setsockopt, socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
        quietly(s.sendto, data, (address, port))


def ping(family, address, device=None):
    protocol, kind = (socket.IPPROTO_ICMP, 8) if family == socket.AF_INET else (socket.IPPROTO_ICMPV6, 128)
    with socket.socket(family, socket.SOCK_RAW, protocol) as s:
        if device: quietly(s.setsockopt, socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
        message = struct.pack('!BBHHH', kind, 0, 0, 7, 7)
        if family == socket.AF_INET:  # the kernel does it for IPv6
            message = message[:2] + struct.pack('!H', checksum(message)) + message[4:]
        quietly(s.sendto, message, (address, 0))


def crafted():
    """A whole IPv4 packet with a header of its own."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as s:
        header = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 28, 0, 0, 64, 17, 0,
                             socket.inet_aton(own4), socket.inet_aton(FAR4))
        quietly(s.sendto, header + struct.pack('!HHHH', 5, 5, 8, 0), (FAR4, 0))


# Sockets that got their route before whatever happens next, of which one is connected to somebody who listens.
old = []
if 'old' in kinds:
    for family, far, own, near in families:
        s = socket.socket(family, socket.SOCK_DGRAM)
        quietly(s.connect, (far, 7777))
        quietly(s.send, b'first')
        talk = socket.socket(family, socket.SOCK_STREAM)
        talk.settimeout(1)
        quietly(talk.connect, (near, 7000))
        talk.setblocking(False)
        old += [s, talk]

servers, waiting = [], []
if 'serve' in kinds:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        s = socket.socket(socket.AF_INET6, kind)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(('::', 8000))
        if kind == socket.SOCK_STREAM: s.listen(64)
        s.setblocking(False)
        servers.append(s)


def serve(seconds):
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        for s in select.select(servers + waiting, [], [], left)[0]:
            if s in waiting:
                waiting.remove(s)
                quietly(lambda: s.send(s.recv(100).upper()))
                s.close()
            elif s.type == socket.SOCK_STREAM:
                connection = quietly(s.accept)
                if connection: waiting.append(connection[0])
            else:
                asked = quietly(s.recvfrom, 100)
                if asked: quietly(s.sendto, asked[0].upper(), asked[1])


signal.signal(signal.SIGPIPE, signal.SIG_IGN)
attempts = []
while True:
    for s in attempts: s.close()
    attempts = []
    for family, far, own, near in families:
        if 'tcp' in kinds:
            attempts += [connect(family, far, 80), connect(family, far, 443, bound=own)]
        if 'udp' in kinds:
            for port in (443, 9999): send(family, far, port, b'datagram')
            send(family, far, 9998, b'datagram', bound=own)
        if 'dns' in kinds:
            for _ in range(5): send(family, far, 53, QUESTION)
        if 'icmp' in kinds:
            ping(family, far)
        if 'bound' in kinds:
            attempts.append(connect(family, far, 81, device=b'eth0'))
            send(family, far, 9997, b'datagram', device=b'eth0')
            ping(family, far, device=b'eth0')
    if 'icmp' in kinds: crafted()
    for s in old: quietly(s.send, b'again')
    print('.', end='', flush=True)
    serve(INTERVAL_S)
