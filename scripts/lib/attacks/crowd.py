"""An attacker's connections: opened from many addresses, fed as their attack says, and opened again when they end."""

import collections
import errno
import heapq
import select
import socket
import struct
import time

from attacks.attack import PIECE_BYTES

# Leaves the choice of the port to the connect, which finds many more of them.
IP_BIND_ADDRESS_NO_PORT = 24
RESET = struct.pack("ii", 1, 0)
READ_BYTES = 1 << 18
# New connections between two looks at the others.
OPENED_AT_ONCE = 64
# How long the poll waits where nothing happens.
REST_S = 0.005


class Connection:
    """`unsent` is the rest of the piece under way, `pieces` how many were begun after the opening."""

    def __init__(self, number, sock, opening):
        self.number, self.socket, self.unsent, self.pieces = number, sock, memoryview(opening), 0
        self.is_answered = self.is_over = False


class Crowd:
    """Runs an attack; `counts` say what became of it."""

    def __init__(self, target, attack):
        self.target, self.attack = target, attack
        host, port = getattr(target, attack.to).rsplit(":", 1)
        self.address = (host, int(port))
        self.poll, self.held, self.due = select.epoll(), {}, []
        self.missing = collections.deque(range(attack.connections))
        self.room, self.room_at = 0.0, time.monotonic()
        self.counts = collections.Counter()

    def run(self, is_ending):
        while not is_ending():
            self.open_some()
            for fd, events in self.poll.poll(REST_S):
                if fd in self.held:
                    self.on_event(self.held[fd], events)
            self.feed_due()
        for one in list(self.held.values()):
            one.socket.close()

    def open_some(self):
        now, rate = time.monotonic(), self.attack.connects_per_s
        self.room = min(self.room + (now - self.room_at) * rate, rate / 10)
        self.room_at = now
        for _ in range(min(OPENED_AT_ONCE, int(self.room), len(self.missing))):
            self.room -= 1
            self.open(self.missing.popleft())

    def open(self, number):
        attack, sock = self.attack, socket.socket()
        sock.setblocking(False)
        try:
            if attack.receive_bytes:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, attack.receive_bytes)
            sock.setsockopt(socket.SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            at = number % attack.addresses
            sock.bind((f"127.9.{at // 250}.{at % 250 + 1}", 0))
            if sock.connect_ex(self.address) not in (0, errno.EINPROGRESS):
                raise OSError
        except OSError:
            return self.lose(number, sock, "connects_failed")
        self.counts["connects"] += 1
        one = Connection(number, sock, attack.opening(self.target, number))
        self.held[sock.fileno()] = one
        self.poll.register(sock, self.interest(one, True))
        if attack.pace_s:
            # Spread, so that not all say something at once.
            after_s = attack.pace_s * (1 + number / attack.connections)
            heapq.heappush(self.due, (time.monotonic() + after_s, number, sock.fileno(), one))

    def interest(self, one, is_sending):
        events = select.EPOLLOUT if is_sending else 0
        # Who does not read hears of a reset all the same.
        return events | (select.EPOLLIN | select.EPOLLRDHUP if self.attack.reads or not one.is_answered else 0)

    def lose(self, number, sock, what):
        sock.close()
        self.counts[what] += 1
        self.missing.append(number)

    def end(self, one, what):
        self.held.pop(one.socket.fileno(), None)
        one.is_over = True
        self.lose(one.number, one.socket, what)

    def reset(self, one):
        one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.end(one, "resets")

    def on_event(self, one, events):
        try:
            if events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR | select.EPOLLRDHUP):
                self.receive(one)
            if events & select.EPOLLOUT and not one.is_over:
                self.send(one)
        except BlockingIOError:
            pass
        except OSError:
            self.end(one, "ended")

    def receive(self, one):
        data = one.socket.recv(READ_BYTES)
        self.counts["bytes_read"] += len(data)
        if not data:
            return self.end(one, "ended")
        if not one.is_answered:
            one.is_answered = True
            if data.startswith(b"HTTP/1.1 "):
                self.counts[f"answers_{data[9:12].decode(errors='replace')}"] += 1
            if not self.attack.reads:
                self.poll.modify(one.socket, self.interest(one, bool(one.unsent)))
        if self.attack.resets == "answered":
            self.reset(one)

    def send(self, one):
        """Sends on, and begins the next piece where the attack has no pace."""
        while True:
            if one.unsent:
                sent = one.socket.send(one.unsent[:PIECE_BYTES])
                self.counts["bytes_sent"] += sent
                one.unsent = one.unsent[sent:]
                if one.unsent:
                    return
            if self.attack.resets == "sent":
                return self.reset(one)
            if self.attack.pace_s or not self.begin(one):
                return self.poll.modify(one.socket, self.interest(one, False))
            if one.pieces % 4 == 0:
                # The others have their turn.
                return

    def begin(self, one):
        """Whether there is a next piece."""
        piece = self.attack.more(self.target, one.number, one.pieces)
        if piece is None:
            return False
        one.pieces += 1
        self.counts["pieces"] += 1
        one.unsent = memoryview(piece)
        return True

    def feed_due(self):
        now = time.monotonic()
        while self.due and self.due[0][0] <= now:
            at, number, fd, one = heapq.heappop(self.due)
            if one.is_over:
                continue
            # What is late is left out.
            heapq.heappush(self.due, (max(at, now) + self.attack.pace_s, number, fd, one))
            if one.unsent or not self.begin(one):
                continue
            try:
                self.send(one)
                if one.unsent:
                    self.poll.modify(one.socket, self.interest(one, True))
            except BlockingIOError:
                self.poll.modify(one.socket, self.interest(one, True))
            except OSError:
                self.end(one, "ended")
