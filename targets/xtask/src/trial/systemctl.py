#!/usr/bin/env python3
"""Stands for systemctl in a throw-away root: one service, Type=notify, no restarts of its own."""
import os, shlex, signal, socket, subprocess, sys, time

UNIT = "/etc/systemd/system/astra-edge.service"
PID = "/run/astra-edge.pid"
LOG = "/run/astra-edge.log"
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


def start():
    command = next(line.split("=", 1)[1] for line in open(UNIT) if line.startswith("ExecStart="))
    address = "/run/notify"
    if os.path.exists(address):
        os.remove(address)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.bind(address)
    listening.settimeout(0.1)
    with open(LOG, "a") as log:
        device = subprocess.Popen(
            shlex.split(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True, env={**os.environ, "NOTIFY_SOCKET": address})
    with open(PID, "w") as file:
        file.write(str(device.pid))
    limit = time.monotonic() + READY_LIMIT
    while time.monotonic() < limit and device.poll() is None:
        try:
            if "READY=1" in listening.recv(4096).decode().splitlines():
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
    sys.exit(0 if pid() else 3)
elif action == "show" and "MainPID" in rest:
    print(pid())
elif action not in ("daemon-reload", "enable", "reset-failed"):
    sys.exit(f"no stand-in for systemctl {action}")
