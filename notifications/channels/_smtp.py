"""The line to a mail server: a few connections kept open, one transaction per reader, each with its own outcome."""

import re
import select
import smtplib
import time
from collections import OrderedDict, deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from email.utils import parseaddr

from notifications.channels import Outcome, Recipient, _mail, accepted, refused, retry, unknown
from notifications.channels._http import Timeouts
from notifications.channels._lane import PATIENCE_S_MIN, Conversation, HungUp, Lane, Reply, Server
from notifications.messages import Notice, clean_line, cut

# Relays hang up on silent clients; Postfix after 300 s, some after half a minute.
IDLE_S_MAX = 20.0
# A wrong password does not mend itself in seconds, and some servers lock out who keeps asking.
ACCOUNT_WAIT_S = 300.0
WHY_CHARS_MAX = 200
# Notices whose forms are kept: what is sent at the same time, in a few languages.
FORMS_MAX = 16
# Connections of one sending thread, of which a worker has two. Postfix takes 50 from one client
# (smtpd_client_connection_count_limit), others ten.
CONNECTIONS_MAX = 5
# A server that answers faster than this is not waited for: one more connection would only cost it.
SLOW_S = 0.02
# Connections that a large batch uses at once: while one reply is waited for, the others have something to do.
CONNECTIONS_EAGER = 3
# Where no further connection could be had, this long none is asked for.
ENOUGH_S = 60.0
# RFC 3463: the address does not exist, or its domain takes no mail. 5.1.7 and 5.1.8 speak of our own.
_NO_SUCH_ADDRESS = re.compile(r"\b5\.1\.(?:1|2|3|6|10)\b")
# A part of a conversation that ends with the reply it asked for.
Asking = Generator[None, Reply, Reply]
AskingAll = Generator[None, Reply, list[Reply]]
_STAGES = ("MAIL", "RCPT", "DATA")


@dataclass(slots=True)
class _Job:
    """One mail: what to say in the envelope, what to send, and until when it must be through."""

    delivery: str
    address: str
    wire: bytes
    message_id: str
    is_ascii: bool
    ends: float
    return_path: str


class SmtpLine:
    """Keeps its connections between batches; one batch, of one thread, at a time."""

    group = 500

    def __init__(
        self,
        server: Server,
        sender: str,
        timeouts: Timeouts,
        *,
        connections: int = CONNECTIONS_MAX,
    ) -> None:
        self.provider = f"smtp:{server.host}:{server.port}"[:32]
        self._server = server
        self._sender = sender
        self.sender_address = parseaddr(sender)[1]
        self._timeouts = timeouts
        self._connections = connections
        self._enough_until = 0.0
        self._lanes: list[Lane] = []
        self._forms: OrderedDict[Notice, dict[tuple[bool, bool], _mail.Form]] = OrderedDict()

    def send(self, notice: Notice, batch: Iterable[Recipient]) -> Iterator[tuple[str, Outcome]]:
        sending = _Sending(self, notice, iter(batch))
        try:
            yield from sending.run()
        finally:
            sending.leave()

    def close(self) -> None:
        for lane in self._lanes:
            lane.close()
        self._lanes = []

    def check(self) -> str:
        """Return "" when the server answers and lets us in, else why not. Sends nothing."""
        where = f"{self._server.host}:{self._server.port}"
        try:
            Lane(self._server, self._timeouts.read_s).close()
        except smtplib.SMTPAuthenticationError as error:
            return f"{where} refuses user and password ({error.smtp_code})."
        except smtplib.SMTPNotSupportedError:
            return f"{where} offers no encryption, or no log-in."
        except smtplib.SMTPException as error:
            return f"{where} does not speak SMTP as it should ({type(error).__name__})."
        except OSError as error:
            return f"{where} does not answer ({type(error).__name__})."
        return ""

    def forms_of(self, notice: Notice) -> dict[tuple[bool, bool], _mail.Form]:
        """Return the notice's forms by what of the quiet line they hold; built once, kept over batches."""
        if notice not in self._forms:
            self._forms[notice] = {}
            if len(self._forms) > FORMS_MAX:
                self._forms.popitem(last=False)
        return self._forms[notice]

    def form(self, notice: Notice, *, manage: bool, unsubscribe: bool) -> _mail.Form:
        return _mail.form(notice, self._sender, manage=manage, unsubscribe=unsubscribe)

    def message_id(self, notice: Notice, delivery: str) -> str:
        return _mail.message_id(notice, delivery, self._sender)

    def envelope(self, lane: Lane, job: _Job) -> tuple[bytes, bytes, bytes]:
        options = f" SIZE={len(job.wire)}" if lane.sizes else ""
        options += " BODY=8BITMIME" if not job.is_ascii and lane.eight_bit else ""
        mail = f"MAIL FROM:<{job.return_path}>{options}\r\n".encode()
        return mail, f"RCPT TO:<{job.address}>\r\n".encode(), b"DATA\r\n"

    def patience_s(self, job: _Job) -> float:
        """Return how long the next step may take: a server slow at every one must not outlast the lease."""
        return max(PATIENCE_S_MIN, min(self._timeouts.read_s, job.ends - time.monotonic()))

    def delivery_s(self) -> float:
        return self._timeouts.delivery_s

    def read_s(self) -> float:
        return self._timeouts.read_s

    def kept(self) -> list[Lane]:
        """Return the connections that are still fresh; the others are closed."""
        now = time.monotonic()
        stale = [lane for lane in self._lanes if now - lane.used_at > IDLE_S_MAX]
        for lane in stale:
            self.forget(lane)
            lane.close()
        return list(self._lanes)

    def open(self, job: _Job) -> Lane:
        """Return a new connection. Raises OSError."""
        lane = Lane(self._server, self.patience_s(job))
        self._lanes.append(lane)
        return lane

    def may_grow(self) -> bool:
        return len(self._lanes) < self._connections and time.monotonic() > self._enough_until

    def has_enough(self) -> None:
        """The server gives no further connection: what is open must do for a while."""
        self._enough_until = time.monotonic() + ENOUGH_S

    def forget(self, lane: Lane) -> None:
        if lane in self._lanes:
            self._lanes.remove(lane)


class _Sending:
    """One batch on its way over the line's connections: whichever is free takes the next reader."""

    def __init__(self, line: SmtpLine, notice: Notice, batch: Iterator[Recipient]) -> None:
        self._line = line
        self._notice = notice
        self._batch = batch
        self._forms = line.forms_of(notice)
        self._again: deque[_Job] = deque()  # over a new connection: the kept one was closed
        self._outcomes: deque[tuple[str, Outcome]] = deque()
        self._busy: dict[int, Lane] = {}
        self._is_slow = False
        self._poll = select.poll()

    def run(self) -> Iterator[tuple[str, Outcome]]:
        for lane in self._line.kept()[:1]:
            self._start(lane)
        while True:
            if not self._busy and not self._open_first():
                yield from self._said()
                return
            if self._wants_more():
                self._grow()
            yield from self._said()
            self._listen()
            yield from self._said()

    def _wants_more(self) -> bool:
        """One connection has taken a mail, and there are more: a few more connections share the work."""
        if not 0 < len(self._busy) < CONNECTIONS_EAGER:
            return False
        return all(lane.served for lane in self._busy.values())

    def leave(self) -> None:
        """Let go of connections in the middle of something: nobody can tell any more what their next reply is about."""
        for lane in list(self._busy.values()):
            self._part(lane)

    def _said(self) -> Iterator[tuple[str, Outcome]]:
        while self._outcomes:
            yield self._outcomes.popleft()

    # Who is next.

    def _pull(self) -> _Job | None:
        if self._again:
            return self._again.popleft()
        for recipient in self._batch:
            job = self._job(recipient)
            if job is not None:
                return job
        return None

    def _job(self, recipient: Recipient) -> _Job | None:
        try:
            address = _mail.clean_address(recipient.address)
            _mail.check_links(recipient)
        except ValueError as error:
            self._outcomes.append((recipient.delivery, refused(str(error))))
            return None
        key = (bool(recipient.manage_url), bool(recipient.unsubscribe_url))
        form = self._forms.get(key)
        if form is None:
            form = self._line.form(self._notice, manage=key[0], unsubscribe=key[1])
            self._forms[key] = form
        message_id = self._line.message_id(self._notice, recipient.delivery)
        wire = form.filled(address, message_id, recipient)
        ends = time.monotonic() + self._line.delivery_s()
        back = recipient.return_path or self._line.sender_address
        return _Job(recipient.delivery, address, wire, message_id, form.is_ascii, ends, back)

    # Connections.

    def _start(self, lane: Lane, job: _Job | None = None) -> bool:
        job = job or self._pull()
        if job is None:
            return False
        lane.talk = self._pipelined(lane, job) if lane.pipelining else self._in_turn(lane, job)
        self._busy[lane.fd] = lane
        self._poll.register(lane.fd, select.POLLIN)
        self._step(lane, None)
        return True

    def _open_first(self) -> bool:
        """Go on over a kept or a new connection; False when there is nobody left to send to."""
        job = self._pull()
        if job is None:
            return False
        free = self._line.kept()
        if free:
            return self._start(free[0], job)
        try:
            lane = self._line.open(job)
        except smtplib.SMTPAuthenticationError as error:
            why = f"the mail server refuses the login ({error.smtp_code})"
            self._outcomes.append((job.delivery, retry(why, after_s=ACCOUNT_WAIT_S)))
        except OSError:
            self._outcomes.append((job.delivery, retry("could not connect to the mail server")))
        else:
            self._start(lane, job)
        return True

    def _grow(self) -> None:
        """All connections wait: take one more, as far as the server gives it."""
        free = [lane for lane in self._line.kept() if lane.fd not in self._busy]
        if free:
            self._start(free[0])
            return
        if not self._line.may_grow():
            return
        job = self._pull()
        if job is None:
            return
        try:
            lane = self._line.open(job)
        except OSError:
            self._line.has_enough()
            self._again.append(job)
            return
        self._start(lane, job)

    def _listen(self) -> None:
        """Take what the servers said; whoever stays silent for too long has hung up."""
        if not self._busy:
            return
        now = time.monotonic()
        wait_s = min(lane.ends for lane in self._busy.values()) - now
        ready = self._poll.poll(max(0.0, min(wait_s, SLOW_S)) * 1000 + 1)
        for fd, _ in ready:
            lane = self._busy.get(fd)
            if lane is not None:
                self._hear(lane)
        if self._is_slow:
            self._is_slow = False
            self._grow()
        if ready:
            return
        late = [lane for lane in self._busy.values() if lane.ends <= time.monotonic()]
        for lane in late:
            self._step(lane, HungUp())
        if not late:
            self._grow()

    def _hear(self, lane: Lane) -> None:
        gone = None
        try:
            lane.read()
        except HungUp as error:
            gone = error
        while lane.replies and lane.fd in self._busy:
            self._step(lane, lane.replies.popleft())
        if gone is not None and lane.fd in self._busy:
            self._step(lane, gone)

    def _step(self, lane: Lane, word: Reply | HungUp | None) -> None:
        """Let a conversation go on with what came; at its end the connection is free, or gone."""
        talk = lane.talk
        assert talk is not None
        try:
            match word:
                case None:
                    next(talk)
                case Reply():
                    talk.send(word)
                case HungUp():
                    talk.throw(word)
        except StopIteration:
            self._rest(lane)
        except HungUp:
            self._part(lane)

    def _rest(self, lane: Lane) -> None:
        lane.talk, lane.used_at = None, time.monotonic()
        if self._busy.pop(lane.fd, None) is not None:
            self._poll.unregister(lane.fd)

    def _part(self, lane: Lane) -> None:
        self._rest(lane)
        self._line.forget(lane)
        lane.drop()

    # What is said on one connection.

    def _in_turn(self, lane: Lane, first: _Job) -> Conversation:
        """One command, one reply."""
        job: _Job | None = first
        while job is not None:
            failed = None
            for stage, command in zip(_STAGES, self._line.envelope(lane, job), strict=True):
                reply = yield from self._before(lane, job, command)
                if not reply.is_good:
                    failed = (stage, reply)
                    break
            if failed is not None:
                self._refused(lane, job, *failed)
                yield from self._clean(lane, b"RSET\r\n")
            else:
                reply = yield from self._message(lane, job, b"")
                self._taken(lane, job, reply)
            job = self._pull()

    def _pipelined(self, lane: Lane, first: _Job) -> Conversation:
        """The envelope in one write, and the next one's behind the message (RFC 2920 §3.1): one round trip for each mail."""
        job: _Job | None = first
        is_announced = False
        while job is not None:
            command = b"" if is_announced else b"".join(self._line.envelope(lane, job))
            replies = yield from self._before_all(lane, job, command)
            is_announced = False
            words = zip(_STAGES, replies, strict=True)
            failed = next(((stage, reply) for stage, reply in words if not reply.is_good), None)
            if failed is not None:
                self._refused(lane, job, *failed)
                # A server may say go ahead although nobody is to get it; an empty message is then refused.
                yield from self._clean(lane, b".\r\n" if replies[-1].is_good else b"RSET\r\n")
                job = self._pull()
                continue
            following = self._pull()
            ahead = b"".join(self._line.envelope(lane, following)) if following else b""
            try:
                reply = yield from self._message(lane, job, ahead)
            except HungUp:
                if following is not None:
                    self._again.append(following)  # its envelope at most has left
                raise
            is_announced = following is not None
            try:
                self._taken(lane, job, reply)
            except HungUp:
                if following is not None:
                    self._again.append(following)
                raise
            job = following

    def _before(self, lane: Lane, job: _Job, command: bytes) -> Asking:
        """Say one thing of the envelope and return the reply. Hung up on, the mail goes over another connection, once."""
        lane.ends = time.monotonic() + self._line.patience_s(job)
        try:
            if command:
                lane.write(command)
            reply = yield
        except HungUp:
            self._lost_before(lane, job)
            raise
        if reply.code == 421 and lane.served:
            # This connection has served enough; that says nothing of the mail.
            self._again.append(job)
            raise HungUp
        return reply

    def _before_all(self, lane: Lane, job: _Job, command: bytes) -> AskingAll:
        """Say the whole envelope, unless it was said already, and return its replies."""
        replies = [(yield from self._before(lane, job, command))]
        try:
            while len(replies) < len(_STAGES):
                replies.append((yield))
        except HungUp:
            self._lost_before(lane, job)
            raise
        if lane.served and any(reply.code == 421 for reply in replies):
            self._again.append(job)
            raise HungUp
        return replies

    def _clean(self, lane: Lane, command: bytes) -> Conversation:
        """Leave nothing of a refused mail behind; what the server says to that does not matter."""
        lane.ends = time.monotonic() + self._line.read_s()
        lane.write(command)
        yield

    def _lost_before(self, lane: Lane, job: _Job) -> None:
        if lane.served:
            self._again.append(job)
        else:
            why = "the mail server hung up before the message"
            self._outcomes.append((job.delivery, retry(why)))

    def _message(self, lane: Lane, job: _Job, ahead: bytes) -> Asking:
        lane.wrote_at = time.monotonic()
        if lane.wrote_at > job.ends:
            # Whoever slept in the middle of the envelope no longer knows whether this is still to be said.
            self._outcomes.append((job.delivery, retry("there was no time left for the message")))
            raise HungUp
        lane.ends = lane.wrote_at + self._line.patience_s(job)
        try:
            lane.write(job.wire + ahead)
        except HungUp as error:
            if error.unsent > len(ahead):
                # The final dot never left this machine.
                why = "the connection broke while the message was on its way"
                self._outcomes.append((job.delivery, retry(why)))
            else:
                self._unanswered(job)
            raise
        try:
            return (yield)
        except HungUp:
            self._unanswered(job)
            raise

    def _unanswered(self, job: _Job) -> None:
        why = "the mail server took the message and did not answer"
        self._outcomes.append((job.delivery, unknown(why)))

    # What the replies mean.

    def _taken(self, lane: Lane, job: _Job, reply: Reply) -> None:
        if not reply.is_good:
            self._refused(lane, job, "END", reply)
            return
        lane.served += 1
        self._is_slow = self._is_slow or time.monotonic() - lane.wrote_at > SLOW_S
        self._outcomes.append((job.delivery, accepted(job.message_id)))

    def _refused(self, lane: Lane, job: _Job, stage: str, reply: Reply) -> None:
        """Note what a refusal means; raises HungUp when the connection is of no more use."""
        outcome = _refusal(stage, reply, job.address)
        self._outcomes.append((job.delivery, outcome))
        if reply.code == 421 or not 400 <= reply.code < 600:
            raise HungUp


def _refusal(stage: str, reply: Reply, address: str) -> Outcome:
    text = clean_line(reply.text.decode("utf-8", "replace").replace(address, "the address"))
    why = cut(f"{reply.code} {text}", WHY_CHARS_MAX)
    if 400 <= reply.code < 500:
        return retry(why)
    if stage == "MAIL":
        # It is we who are refused: not one reader may be lost for it.
        return retry(why, after_s=ACCOUNT_WAIT_S)
    if 500 <= reply.code < 600:
        return refused(why, dead=bool(_NO_SUCH_ADDRESS.search(text)))
    return unknown(f"the mail server's answer could not be read: {why}")
