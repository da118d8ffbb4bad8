"""UDP servers on the addresses given: echo on 7007, and NTP on 123."""
import select, socket, struct, sys, time

SO_RCVBUFFORCE = 33  # asm-generic/socket.h


def bound(address, port):
    server = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
    server.bind((address, port))
    return server


def ntp(question):
    # RFC 5905 section 7.3: a server of stratum 1 that is right.
    now = time.time() + 2208988800
    stamp = struct.pack(">II", int(now), int(now % 1 * 2**32))
    head = struct.pack(">BBbbII4s", 0x24, 1, 4, -20, 0, 0, b"LOCL")
    return head + stamp + question[40:48] + stamp + stamp


servers = {}
for address in sys.argv[1:]:
    servers[bound(address, 7007)] = lambda question: question
    servers[bound(address, 123)] = ntp
while True:
    for server in select.select(list(servers), [], [])[0]:
        question, client = server.recvfrom(65535)
        server.sendto(servers[server](question), client)
