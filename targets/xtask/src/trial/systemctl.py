#!/usr/bin/env python3
"""Stands for systemctl in a throw-away root: one service, Type=notify, no restarts of its own, as the user of its unit.

A process of its own stays with the device and keeps what it last said as its status.
"""
import os, shlex, signal, socket, subprocess, sys, time

UNIT = "/etc/systemd/system/astra-edge.service"
PID = "/run/astra-edge.pid"
LOG = "/run/astra-edge.log"
STATUS = "/run/astra-edge.status"
# While this is there the service seems to have failed.
MISSED = "/run/missed"
READY_LIMIT = 120


def pid():
    """The device's process, 0 if it has none."""
    try:
        found = int(open(PID).read())
        state = open(f"/proc/{found}/stat").read().rsplit(") ", 1)[1][0]
        return 0 if state == "Z" else found
    except (OSError, ValueError, IndexError):
        return 0


def stop():
    running = pid()
    if running:
        os.kill(running, signal.SIGTERM)
        limit = time.monotonic() + 20
        while pid() == running and time.monotonic() < limit:
            time.sleep(0.05)
        if pid() == running:
            os.kill(running, signal.SIGKILL)
    if os.path.exists(PID):
        os.remove(PID)


def heard(listening):
    """The lines of the device's next message."""
    lines = listening.recv(4096).decode().splitlines()
    for line in lines:
        if line.startswith("STATUS="):
            with open(STATUS + ".new", "w") as file:
                file.write(line.split("=", 1)[1])
            os.rename(STATUS + ".new", STATUS)
    return lines


def follow(listening, device):
    """Listens on, apart from the caller, for as long as there is the device."""
    if os.fork():
        return
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    while pid() == device:
        try:
            heard(listening)
        except TimeoutError:
            pass
    os._exit(0)


def start():
    unit = dict(line.rstrip("\n").split("=", 1) for line in open(UNIT) if "=" in line)
    address = "/run/notify"
    for former in (address, STATUS):
        if os.path.exists(former):
            os.remove(former)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.bind(address)
    os.chmod(address, 0o666)
    listening.settimeout(0.1)
    with open(LOG, "a") as log:
        device = subprocess.Popen(
            shlex.split(unit["ExecStart"]), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            user=unit["User"], group=unit["Group"], extra_groups=[], umask=int(unit["UMask"], 8),
            start_new_session=True, env={**os.environ, "NOTIFY_SOCKET": address})
    with open(PID, "w") as file:
        file.write(str(device.pid))
    limit = time.monotonic() + READY_LIMIT
    while time.monotonic() < limit and device.poll() is None:
        try:
            if "READY=1" in heard(listening):
                follow(listening, device.pid)
                return
        except TimeoutError:
            pass
    stop()
    last = open(LOG).read().splitlines()[-1:]
    sys.exit(f"astra-edge.service did not become ready: {' '.join(last)}")


action, rest = sys.argv[1], sys.argv[2:]
if action == "restart":
    stop()
    start()
elif action == "stop":
    stop()
elif action == "is-active":
    sys.exit(0 if pid() and not os.path.exists(MISSED) else 3)
elif action == "show" and "MainPID" in rest:
    print(pid())
elif action == "show" and "StatusText" in rest:
    print(open(STATUS).read() if os.path.exists(STATUS) else "")
elif action not in ("daemon-reload", "enable", "reset-failed"):
    sys.exit(f"no stand-in for systemctl {action}")
