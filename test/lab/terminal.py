"""Runs a command on a terminal of its own. Takes JSON lines {"send": text}, {"size": [rows, columns]} and
{"signal": number} on stdin, and prints what the terminal shows; at the end a line that says how it was left."""
import fcntl
import json
import os
import pty
import select
import struct
import sys
import termios


def resize(fd, rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


rows, columns, *command = sys.argv[1:]
master, slave = pty.openpty()
resize(master, int(rows), int(columns))
before = termios.tcgetattr(slave)
child = os.fork()
if child == 0:
    os.close(master)
    os.login_tty(slave)
    os.execvp(command[0], command)

pending = b""
while True:
    readable, _, _ = select.select([master, 0], [], [], 0.1)
    if master in readable:
        os.write(1, os.read(master, 65536))
    if 0 in readable:
        data = os.read(0, 65536)
        if data == b"":
            os.kill(child, 9)
        pending += data
        *lines, pending = pending.split(b"\n")
        for line in lines:
            order = json.loads(line)
            if "send" in order:
                os.write(master, order["send"].encode())
            if "size" in order:
                resize(master, *order["size"])
            if "signal" in order:
                os.kill(child, order["signal"])
    ended, status = os.waitpid(child, os.WNOHANG)
    if ended != 0:
        while select.select([master], [], [], 0.1)[0]:
            os.write(1, os.read(master, 65536))
        same = termios.tcgetattr(slave) == before
        left = {"code": os.waitstatus_to_exitcode(status), "restored": same}
        os.write(1, b"\n" + json.dumps(left).encode() + b"\n")
        break
