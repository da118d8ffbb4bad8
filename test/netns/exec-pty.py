"""Runs a command on a terminal of its own, presses Ctrl-C once it has begun, then types, and tells its exit code."""
import os
import pty
import re
import select
import sys

pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])

said = b''
step = 0
while True:
    ready, _, _ = select.select([terminal], [], [], 60)
    if not ready:
        break
    try:
        part = os.read(terminal, 65536)
    except OSError:
        break
    if not part:
        break
    said += part
    if step == 0 and b'terminal' in said:
        os.write(terminal, b'\x03')
        step = 1
    elif step == 1 and re.search(rb'caught \d', said):
        os.write(terminal, b'no\nyes\n')
        step = 2
status = os.waitpid(pid, 0)[1]
sys.stdout.write(said.decode() + f'exit {os.waitstatus_to_exitcode(status)}\n')
