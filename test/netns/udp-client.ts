/** A UDP client of the application, in Python: scripts that run with `s`, a socket connected to its arguments. */

export const UDP_CLIENT = `import socket, sys, time
to, port = sys.argv[1], int(sys.argv[2])
six = ':' in to
s = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
s.connect((to, port)); s.settimeout(10)
def told(call):
    try: return call()
    except OSError as e: return type(e).__name__ if e.errno != 90 else 'EMSGSIZE'
`;

/** Prints the MTU that it is told of, and that sending more fails; then that the same is cut when it may be. */
export const PATH_MTU = `level, name, value = (41, 23, 24) if six else (0, 10, 14)
s.setsockopt(level, name, 2)
first = s.getsockopt(level, value)
s.send(bytes(1440)); s.settimeout(0.1)
end = time.time() + 10
while s.getsockopt(level, value) == first and time.time() < end: told(lambda: s.recv(1)); told(lambda: s.send(bytes(1440)))
print(s.getsockopt(level, value), told(lambda: s.send(bytes(1440))))
s.setsockopt(level, name, 0); s.settimeout(10)
told(lambda: s.send(b'')); s.send(bytes(1440))
while len(s.recv(2000)) < 1440: pass
print('cut')`;

/** Prints the errno that comes back. Only with IP_RECVERR or IPV6_RECVERR does Linux tell of all. */
export const SOFT_ERROR = `s.setsockopt(*((41, 25, 1) if six else (0, 11, 1)))
s.send(b'x')
try: s.recv(1)
except OSError as e: print(e.errno)`;
