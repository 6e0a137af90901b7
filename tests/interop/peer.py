"""Runs one peer of pyile_protocol 0.1.1: what it knows goes out as JSON lines, what it is to do comes in as JSON lines.

    python peer.py host IP PORT PASSWORD ATTEMPTS ALIAS
    python peer.py join IP PORT PASSWORD HOST_IP HOST_PORT ALIAS [SECONDS]

SECONDS is how late the joiner reads whatever comes over its sockets.
"""

import json
import os
import socket
import sys
import threading
import time

from pyile_protocol.lib.messenger.Messenger import Messenger
from pyile_protocol.lib.peers import Peer
from pyile_protocol.lib.peers.AuthPeer import AuthPeer
from pyile_protocol.lib.peers.JoinPeer import JoinPeer

lock = threading.Lock()


def tell(event, **fields):
    with lock:
        print(json.dumps({"event": event, **fields}, default=str), flush=True)


class Telling(Messenger):
    """Tells of everything that the peer writes down."""

    def add_message(self, message):
        super().add_message(message)
        if "self" not in message:
            tell("message", text=message["data"], alias=message["alias"], to=message["to"],
                 sender=message["from"])

    def add_info(self, message):
        super().add_info(message)
        tell("info", text=message)

    def add_warning(self, message):
        super().add_warning(message)
        tell("warning", text=message)

    def add_error(self, message):
        super().add_error(message)
        tell("error", text=message)


def watch(peer):
    """Tells of the roster and of the end."""
    known = None
    while not peer.disconnected:
        now = [list(addr) for addr in peer.peers]
        if now != known:
            known = now
            tell("roster", peers=now)
        time.sleep(0.01)
    tell("left")


def late(seconds):
    """Makes every read of this process late."""
    plain = socket.socket

    class Late(plain):
        def recv(self, *args):
            time.sleep(seconds)
            return super().recv(*args)

    socket.socket = Late


def patient():
    """The program gives up what takes longer than 2 or 4 s. How busy the machine is decides about no test."""
    plain = socket.socket

    class Patient(plain):
        def settimeout(self, seconds):
            super().settimeout(seconds and seconds * 10)

    socket.socket = Patient


class Ports:
    """The ports that the program draws by lot lie among those that the system gives to anybody, and a port that is
    taken ends it. These are below them, and of this process alone: 10000 to 19999 and 20000 to 29999."""

    # What the program adds to the lot, taken off again.
    lots = [10000 - 50000, 20000 - 49000]

    @staticmethod
    def randint(_least, _most):
        return Ports.lots.pop(0) + os.getpid() % 10000


def main():
    Peer.random = Ports
    patient()
    role, ip, port, password = sys.argv[1:5]
    if role == "host":
        attempts, alias = sys.argv[5:7]
        peer = AuthPeer(address=(ip, int(port)), password_attempts=int(attempts), password=password,
                        messenger=Telling(), alias=alias)
        threading.Thread(target=peer.authenticate_peers, daemon=True).start()
        admitted = True
    else:
        host_ip, host_port, alias = sys.argv[5:8]
        if len(sys.argv) > 8:
            late(float(sys.argv[8]))
        peer = JoinPeer(address=(ip, int(port)), messenger=Telling(), alias=alias)
        try:
            admitted = peer.get_authenticated((host_ip, int(host_port)), password)
        except Exception as error:  # What the program does with bytes that it does not expect.
            tell("failed", text=repr(error))
            return
    if not admitted:
        tell("refused")
        return
    threading.Thread(target=peer.connect, daemon=True).start()
    threading.Thread(target=watch, args=(peer,), daemon=True).start()
    tell("ready", address=list(peer.peer_address))
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "broadcast":
            peer.broadcast(command["text"])
        elif command["do"] == "send":
            to = tuple(command["to"])
            peer.send(to, command["text"], to)
        elif command["do"] == "alias":
            peer.alias = command["text"]
        elif command["do"] == "leave":
            peer.leave()
            tell("left")
            return


if __name__ == "__main__":
    main()
