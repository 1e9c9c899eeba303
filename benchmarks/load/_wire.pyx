# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, binding=False
"""The load generators and the bare UDP servers as compiled loops: many datagrams to a system call, no GIL.

What is sent and how an answer is judged is described by `requests.Requests`; `pure.py` does the same in Python.
"""

from hashlib import sha256

from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memmove, memset

cdef extern from *:
    """
    #include <poll.h>
    #include <sys/epoll.h>
    #include <sys/prctl.h>
    #include <sys/socket.h>
    #include <sys/uio.h>
    #include <netinet/in.h>
    #include <time.h>
    #include <unistd.h>

    static inline long long hg_now(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (long long)t.tv_sec * 1000000000LL + t.tv_nsec;
    }
    static inline int hg_wait(struct pollfd *fds, int count, long long ns) {
        struct timespec t;
        if (ns < 0) ns = 0;
        t.tv_sec = ns / 1000000000LL;
        t.tv_nsec = ns % 1000000000LL;
        return ppoll(fds, count, &t, NULL);
    }
    static inline int hg_bucket(unsigned long long ns) {
        if (ns < 32) return (int)ns;
        int top = 63 - __builtin_clzll(ns) - 5;
        return top * 32 + (int)(ns >> top);
    }
    static inline void hg_sharp_timers(void) { prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL); }
    """
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        void *msg_name
        unsigned int msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    struct pollfd:
        int fd
        short events
        short revents
    int POLLIN, POLLOUT, POLLHUP, MSG_DONTWAIT, MSG_NOSIGNAL
    int recvmmsg(int, mmsghdr *, unsigned int, int, void *) nogil
    int sendmmsg(int, mmsghdr *, unsigned int, int) nogil
    ssize_t recv(int, void *, size_t, int) nogil
    ssize_t send(int, const void *, size_t, int) nogil
    int64_t hg_now() nogil
    int hg_wait(pollfd *, int, int64_t) nogil
    int hg_bucket(uint64_t) nogil
    void hg_sharp_timers() nogil

cdef enum:
    BATCH = 64          # datagrams to a system call
    PACKET = 2048       # octets of the largest datagram that is taken
    BUCKETS = 2048      # of a latency histogram, 32 to a power of two of nanoseconds
    STREAM = 262144     # octets of answers that one connection may owe us
    TICK_NS = 50000000  # between two looks for lost requests and signals

cdef inline uint64_t get(const uint8_t *at, int octets) noexcept nogil:
    cdef uint64_t value = 0
    cdef int i
    for i in range(octets):
        value = value << 8 | at[i]
    return value

cdef inline void put(uint8_t *at, int octets, uint64_t value) noexcept nogil:
    cdef int i
    for i in range(octets - 1, -1, -1):
        at[i] = value & 0xFF
        value >>= 8

cdef inline void put_digits(uint8_t *at, int digits, uint32_t value) noexcept nogil:
    cdef int i
    for i in range(digits - 1, -1, -1):
        at[i] = 48 + value % 10
        value //= 10


cdef class Load:
    """The requests of one run: what is in flight, and what came of the others."""

    cdef readonly int64_t answers, lost, wrong, stray, sent, octets, closed
    cdef readonly double elapsed_s
    cdef readonly bytes first_wrong
    cdef uint64_t histogram[BUCKETS]
    cdef uint8_t *slots        # one request for each that may be in flight
    cdef int64_t *since        # when it was due; 0: it is not in flight
    cdef uint64_t *ids
    cdef int *spare            # stack of slots that are not in flight
    cdef int spares, window, size, slot_bits
    cdef uint64_t generation, id_mask
    cdef int id_at, id_octets, number_at, number_digits, code_at, code_octets
    cdef uint64_t code_mask, code
    cdef int echo_at, echo_octets, echo_back_at
    cdef const uint32_t[::1] numbers
    cdef Py_ssize_t next_number
    cdef int64_t sent_max
    cdef double rate
    cdef int64_t started, until, lost_after, interval_ns
    cdef uint8_t wrong_octets[PACKET]
    cdef int wrong_length

    def __cinit__(self, what, *, int window, double seconds, double rate, int64_t sent_max, double lost_after_s):
        cdef bytes template = what.template
        cdef int slot
        self.window, self.size = window, len(template)
        self.slot_bits = 0
        while 1 << self.slot_bits < window:
            self.slot_bits += 1
        self.id_at, self.id_octets = what.id_at, what.id_octets
        self.id_mask = (1 << (8 * self.id_octets - (2 if self.id_octets == 4 else 0))) - 1  # Java: signed
        if self.id_octets and self.slot_bits > 8 * self.id_octets - 4:
            raise ValueError("the window is too large for the request ids")
        self.number_at, self.number_digits = what.number_at, what.number_digits
        self.code_at, self.code_octets = what.code_at, what.code_octets
        self.code_mask, self.code = what.code_mask, what.code
        self.echo_at, self.echo_octets, self.echo_back_at = what.echo_at, what.echo_octets, what.echo_back_at
        self.numbers = what.numbers
        self.sent_max, self.rate = sent_max, rate
        self.until, self.lost_after = <int64_t>(seconds * 1e9), <int64_t>(lost_after_s * 1e9)
        self.slots = <uint8_t *>calloc(window, self.size)
        self.since = <int64_t *>calloc(window, sizeof(int64_t))
        self.ids = <uint64_t *>calloc(window, sizeof(uint64_t))
        self.spare = <int *>calloc(window, sizeof(int))
        if not (self.slots and self.since and self.ids and self.spare):
            raise MemoryError()
        for slot in range(window):
            memcpy(self.slots + slot * self.size, <const char *>template, self.size)
            self.spare[slot] = window - 1 - slot
        self.spares = window

    def __dealloc__(self):
        free(self.slots)
        free(self.since)
        free(self.ids)
        free(self.spare)

    def counts(self):
        """The latency histogram."""
        return [self.histogram[i] for i in range(BUCKETS)]

    cdef inline void begin(self) noexcept nogil:
        self.started = hg_now()
        self.until += self.started
        if self.rate > 0:
            hg_sharp_timers()

    cdef inline int64_t wanted(self, int64_t now) noexcept nogil:
        """How many requests may be sent now."""
        cdef int64_t count = self.sent_max - self.sent if self.sent_max else self.window
        cdef int64_t due
        if now >= self.until:
            return 0
        if self.rate > 0:
            due = <int64_t>((now - self.started) * self.rate / 1e9) + 1 - self.sent
            if due < count:
                count = due
        return count

    cdef inline int64_t pause(self, int64_t now) noexcept nogil:
        """Nanoseconds until the next request is due; a tick when that depends on answers."""
        cdef int64_t due
        if self.rate <= 0 or not self.spares or now >= self.until:
            return TICK_NS
        due = self.started + <int64_t>(self.sent * 1e9 / self.rate) - now
        return due if due < TICK_NS else TICK_NS

    cdef inline uint8_t *take(self, int slot, int64_t now) noexcept nogil:
        """Make the next request in a slot."""
        cdef uint8_t *at = self.slots + slot * self.size
        if self.id_octets:
            self.generation += 1
            self.ids[slot] = ((self.generation << self.slot_bits) | slot) & self.id_mask
            put(at + self.id_at, self.id_octets, self.ids[slot])
        if self.number_digits:
            put_digits(at + self.number_at, self.number_digits, self.numbers[self.next_number])
            self.next_number += 1
            if self.next_number == self.numbers.shape[0]:
                self.next_number = 0
        if self.rate > 0:  # since it was due: a server that stalls is not spared the requests that it kept waiting
            now = self.started + <int64_t>(self.sent * 1e9 / self.rate)
        self.since[slot] = now
        self.sent += 1
        return at

    cdef inline void untake(self, int slot) noexcept nogil:
        """The socket did not take the request: it comes again."""
        self.since[slot] = 0
        self.sent -= 1
        if self.number_digits:
            self.next_number = (self.next_number or self.numbers.shape[0]) - 1

    cdef inline void release(self, int slot) noexcept nogil:
        self.since[slot] = 0
        self.spare[self.spares] = slot
        self.spares += 1

    cdef inline int slot_of(self, const uint8_t *answer, int octets) noexcept nogil:
        """Whose answer it is; -1: of nothing that is in flight."""
        cdef uint64_t id_
        cdef int slot
        if octets < self.id_at + self.id_octets:
            return -1
        id_ = get(answer + self.id_at, self.id_octets)
        slot = <int>(id_ & ((1 << self.slot_bits) - 1))
        if slot >= self.window or not self.since[slot] or self.ids[slot] != id_:
            return -1
        return slot

    cdef inline void judge(self, int slot, const uint8_t *answer, int octets, int head, int64_t now) noexcept nogil:
        """Count an answer, and check its code and its echo of the name, which is looked for `head` octets later."""
        self.answers += 1
        self.octets += octets
        self.histogram[hg_bucket(now - self.since[slot])] += 1
        if (
            octets < self.code_at + self.code_octets
            or get(answer + self.code_at, self.code_octets) & self.code_mask != self.code
            or octets < head + self.echo_back_at + self.echo_octets
            or memcmp(answer + head + self.echo_back_at, self.slots + slot * self.size + self.echo_at, self.echo_octets)
        ):
            self.note_wrong(answer, octets)

    cdef inline void note_wrong(self, const uint8_t *answer, int octets) noexcept nogil:
        if not self.wrong:
            self.wrong_length = octets if octets < PACKET else PACKET
            memcpy(self.wrong_octets, answer, self.wrong_length)
        self.wrong += 1

    cdef int give_up(self, int64_t now, bint all_) noexcept nogil:
        """Count as lost what waited too long; returns how many are still in flight."""
        cdef int slot, flying = 0
        for slot in range(self.window):
            if self.since[slot]:
                if all_ or now - self.since[slot] > self.lost_after:
                    self.lost += 1
                    self.release(slot)
                else:
                    flying += 1
        return flying

    cdef finish(self, int64_t now):
        self.elapsed_s = (now - self.started) / 1e9
        self.first_wrong = self.wrong_octets[:self.wrong_length]


def udp_load(int fd, Load load):
    """Run a load on a connected, non-blocking UDP socket."""
    cdef mmsghdr out[BATCH]
    cdef mmsghdr into[BATCH]
    cdef iovec out_iov[BATCH]
    cdef iovec into_iov[BATCH]
    cdef int taken[BATCH]
    cdef uint8_t *space = <uint8_t *>calloc(BATCH, PACKET)
    cdef int i, slot, count, done, flying
    cdef int64_t now, last, tick, may, ended = 0
    cdef pollfd waiting
    if not space:
        raise MemoryError()
    memset(out, 0, sizeof(out))
    memset(into, 0, sizeof(into))
    for i in range(BATCH):
        out[i].msg_hdr.msg_iov = &out_iov[i]
        out[i].msg_hdr.msg_iovlen = 1
        out_iov[i].iov_len = load.size
        into[i].msg_hdr.msg_iov = &into_iov[i]
        into[i].msg_hdr.msg_iovlen = 1
        into_iov[i].iov_base = space + i * PACKET
        into_iov[i].iov_len = PACKET
    waiting.fd, waiting.events = fd, POLLIN
    try:
        with nogil:
            load.begin()
            now = last = tick = load.started
            while True:
                may = load.wanted(now)
                count = 0
                while count < may and count < BATCH and load.spares:
                    load.spares -= 1
                    slot = taken[count] = load.spare[load.spares]
                    out_iov[count].iov_base = load.take(slot, now)
                    count += 1
                if count:
                    done = sendmmsg(fd, out, count, MSG_DONTWAIT)
                    for i in range(count - 1, (done if done > 0 else 0) - 1, -1):
                        load.untake(taken[i])
                        load.release(taken[i])
                count = recvmmsg(fd, into, BATCH, MSG_DONTWAIT, NULL)
                if count <= 0:
                    hg_wait(&waiting, 1, load.pause(now))
                    count = recvmmsg(fd, into, BATCH, MSG_DONTWAIT, NULL)
                now = hg_now()
                for i in range(count):
                    slot = load.slot_of(space + i * PACKET, into[i].msg_len)
                    if slot < 0:
                        load.stray += 1
                        continue
                    load.judge(slot, space + i * PACKET, into[i].msg_len, 0, now)
                    load.release(slot)
                    last = now
                if load.spares == load.window and (now >= load.until or load.sent == load.sent_max > 0):
                    break
                if now - tick > TICK_NS:
                    tick = now
                    load.give_up(now, False)
                    with gil:
                        PyErr_CheckSignals()
        load.finish(last if last > load.started else now)
    finally:
        free(space)


cdef class Stream:
    """One connection: its requests in flight, in their order, and the answers that have come in part."""

    cdef int fd
    cdef int *order            # slots in order of sending, for answers without an id
    cdef int head, flying, depth
    cdef uint8_t *buffer
    cdef int filled

    def __cinit__(self, int fd, int depth):
        self.fd, self.depth = fd, depth
        self.order = <int *>calloc(depth, sizeof(int))
        self.buffer = <uint8_t *>calloc(1, STREAM)
        if not (self.order and self.buffer):
            raise MemoryError()

    def __dealloc__(self):
        free(self.order)
        free(self.buffer)


cdef int http_octets(const uint8_t *at, int octets, int *head) noexcept nogil:
    """Octets of the answer at hand; 0: more is to come; -1: it has no length. head: octets before its body."""
    cdef int i, line = 0, length = -1
    for i in range(octets - 3):
        if at[i] == 13 and at[i + 1] == 10:
            if i - line > 15 and (at[line] | 32) == 99 and (at[line + 8] | 32) == 108 and at[line + 14] == 58:
                length = 0
                line += 15
                while line < i:
                    if 48 <= at[line] <= 57:
                        length = length * 10 + at[line] - 48
                    line += 1
            if at[i + 2] == 13 and at[i + 3] == 10:
                head[0] = i + 4
                if length < 0:
                    return -1
                return head[0] + length if head[0] + length <= octets else 0
            line = i + 2
    return 0


cdef int transmit(int fd, const uint8_t *at, int octets) noexcept nogil:
    """Send all of it; -1 when the connection is gone."""
    cdef int sent = 0
    cdef ssize_t count
    cdef pollfd waiting
    waiting.fd, waiting.events = fd, POLLOUT
    while sent < octets:
        count = send(fd, at + sent, octets - sent, MSG_NOSIGNAL | MSG_DONTWAIT)
        if count > 0:
            sent += count
        elif errno == EAGAIN or errno == EINTR:
            if hg_wait(&waiting, 1, 1000000000) <= 0:
                return -1
        else:
            return -1
    return 0


cdef int send_some(Load load, Stream stream, uint8_t *out, int64_t now) noexcept nogil:
    """Fill a connection up to its depth; -1 when it is gone."""
    cdef int count = 0, slot
    cdef int64_t may = load.wanted(now)
    while count < may and stream.flying < stream.depth and load.spares and count < BATCH:
        load.spares -= 1
        slot = load.spare[load.spares]
        memcpy(out + count * load.size, load.take(slot, now), load.size)
        stream.order[(stream.head + stream.flying) % stream.depth] = slot
        stream.flying += 1
        count += 1
    return transmit(stream.fd, out, count * load.size) if count else 0


cdef int take_answers(Load load, Stream stream, bint http, int length, int64_t now) noexcept nogil:
    """Read what has come and judge what is whole; -1 when the connection is gone or cannot be followed."""
    cdef int start = 0, octets, slot, head = 0
    cdef ssize_t count = recv(
        stream.fd, stream.buffer + stream.filled, STREAM - stream.filled, MSG_DONTWAIT)
    if count <= 0:
        return 0 if count < 0 and (errno == EAGAIN or errno == EINTR) else -1
    stream.filled += count
    while stream.filled - start >= (4 if http else 20):
        if http:
            octets = http_octets(stream.buffer + start, stream.filled - start, &head)
            if octets < 0:
                return -1
        else:
            octets = 20 + <int>(get(stream.buffer + start + 16, 4) & 0x3FFFF)
            if octets > stream.filled - start:
                octets = 0
        if not octets:
            break
        if not stream.flying:
            return -1
        slot = stream.order[stream.head] if http else load.slot_of(stream.buffer + start, octets)
        if slot < 0:
            load.stray += 1
        else:
            load.judge(slot, stream.buffer + start, octets, head, now)
            if length and octets - head != length:
                load.note_wrong(stream.buffer + start, octets)
            stream.head = (stream.head + 1) % stream.depth
            stream.flying -= 1
            load.release(slot)
        start += octets
    stream.filled -= start
    if start and stream.filled:
        memmove(stream.buffer, stream.buffer + start, stream.filled)
    return 0 if stream.filled < STREAM else -1


def stream_load(fds, Load load, *, int depth, bint http, int length):
    """Run a load on connected, non-blocking TCP sockets, `depth` requests at most under way on each.

    http: answers are HTTP's and come in order; else they are messages with request ids. length: octets of every
    HTTP body or 0 for any.
    """
    cdef list streams = [Stream(fd, depth) for fd in fds]
    cdef int total = len(streams), i, start = 0, gone = 0
    cdef Stream stream
    cdef pollfd *waiting = <pollfd *>calloc(total, sizeof(pollfd))
    cdef uint8_t *out = <uint8_t *>calloc(BATCH, load.size)
    cdef int64_t now, last, tick
    try:
        if not (waiting and out):
            raise MemoryError()
        for i in range(total):
            waiting[i].fd, waiting[i].events = fds[i], POLLIN
        load.begin()
        now = last = tick = load.started
        while gone < total:
            for i in range(total):
                if not load.spares or load.wanted(now) <= 0:
                    break
                stream = streams[(start + i) % total]
                if waiting[(start + i) % total].fd >= 0 and send_some(load, stream, out, now) < 0:
                    waiting[(start + i) % total].fd = -1
                    gone += 1
            start = (start + 1) % total
            with nogil:
                hg_wait(waiting, total, load.pause(now))
            now = hg_now()
            for i in range(total):
                if waiting[i].fd >= 0 and waiting[i].revents:
                    stream = streams[i]
                    if take_answers(load, stream, http, length, now) < 0:
                        waiting[i].fd = -1
                        gone += 1
                    else:
                        last = now
            if load.spares == load.window and (now >= load.until or load.sent == load.sent_max > 0):
                break
            if now >= load.until + load.lost_after:
                break
            if now - tick > TICK_NS:
                tick = now
                PyErr_CheckSignals()
        load.give_up(now, True)
        load.closed = gone
        load.finish(last if last > load.started else now)
    finally:
        free(waiting)
        free(out)


cdef enum:
    ECHO = 0
    HANDLE = 1
    DNS = 2
    RECORDS = 16


cdef bint digest(const uint8_t *octets, int count, uint8_t *to) noexcept with gil:
    """Write the SHA-256 of some octets."""
    cdef bytes found = sha256(octets[:count]).digest()
    memcpy(to, <const char *>found, 32)
    return True


cdef class Answers:
    """What a bare server answers: what it got, or one record for every name.

    kind: "echo", "handle" or "dns". data: the encoded value list, or the data of a TXT record. records: encoded value
    lists of the prefix records below 0.NA/, at most sixteen. expiration: Unix seconds, of Handle answers.
    """

    cdef int kind, data_octets, records
    cdef const uint8_t *data
    cdef const uint8_t *names[RECORDS]
    cdef const uint8_t *values[RECORDS]
    cdef int name_octets[RECORDS]
    cdef int value_octets[RECORDS]
    cdef uint32_t expiration
    cdef object kept

    def __cinit__(self, str kind, bytes data=b"", records=(), uint32_t expiration=0):
        self.kind = {"echo": ECHO, "handle": HANDLE, "dns": DNS}[kind]
        self.data, self.data_octets, self.expiration = data, len(data), expiration
        self.kept = (data, [*records])
        self.records = len(self.kept[1])
        if self.records > RECORDS or self.data_octets > 1024:
            raise ValueError("more than a bare server holds")
        for i, (name, values) in enumerate(self.kept[1]):
            self.names[i], self.name_octets[i] = <bytes>name, len(name)
            self.values[i], self.value_octets[i] = <bytes>values, len(values)

    cdef int answer(self, const uint8_t *asked, int octets, uint8_t *to) noexcept nogil:
        """Write the answer; returns its octets, 0 for none."""
        if self.kind == ECHO:
            memcpy(to, asked, octets)
            return octets
        if self.kind == HANDLE:
            return self.handle(asked, octets, to)
        return self.dns(asked, octets, to)

    cdef int handle(self, const uint8_t *asked, int octets, uint8_t *to) noexcept nogil:
        cdef int name, i, values = self.data_octets, code = 1, at = 44
        cdef const uint8_t *source = self.data
        cdef uint64_t flags
        if octets < 48 or get(asked + 44, 4) > 512:
            return 0
        name = <int>get(asked + 44, 4)
        if 48 + name > octets:
            return 0
        if name > 5 and not memcmp(asked + 48, b"0.NA/", 5):
            code = 100
            for i in range(self.records):
                if self.name_octets[i] == name and not memcmp(self.names[i], asked + 48, name):
                    source, values, code = self.values[i], self.value_octets[i], 1
        memcpy(to, asked, 44)
        flags = (get(asked + 28, 4) & <uint64_t>0x9BFFFFFF) | <uint64_t>0x80000000  # AUTH; no CERT, ENCR, CONT
        put(to + 24, 4, code)
        put(to + 28, 4, flags)
        put(to + 36, 4, self.expiration)
        if flags & 0x00800000:  # RRDG
            to[at] = 3
            i = 44 + <int>get(asked + 40, 4)
            if not 44 <= i <= octets or not digest(asked + 20, i - 20, to + at + 1):
                return 0
            at += 33
        if code == 1:
            memcpy(to + at, asked + 44, 4 + name)
            memcpy(to + at + 4 + name, source, values)
            at += 4 + name + values
        put(to + 40, 4, at - 44)
        memset(to + at, 0, 4)
        put(to + 16, 4, at + 4 - 20)
        return at + 4

    cdef int dns(self, const uint8_t *asked, int octets, uint8_t *to) noexcept nogil:
        cdef int end = 12, answers
        if octets < 17:
            return 0
        while end < octets and asked[end]:
            end += 1 + asked[end]
        end += 5
        if end > octets:
            return 0
        answers = get(asked + end - 4, 2) == 16  # TXT
        memcpy(to, asked, end)
        to[2], to[3] = 0x84 | (asked[2] & 1), 0
        put(to + 4, 8, <uint64_t>1 << 48 | <uint64_t>answers << 32)
        if answers:
            put(to + end, 8, <uint64_t>0xC00C001000010000)
            put(to + end + 8, 4, 3600 << 16 | self.data_octets)
            memcpy(to + end + 12, self.data, self.data_octets)
            end += 12 + self.data_octets
        if asked[11]:  # EDNS: so do we
            to[11] = 1
            memset(to + end, 0, 11)
            put(to + end + 2, 3, 0x2904D0)  # type 41, 1232 octets
            end += 11
        return end


def serve(int fd, int stop_fd, Answers answers):
    """Answer on a bound UDP socket until stop_fd can be read or is closed."""
    cdef mmsghdr into[BATCH]
    cdef mmsghdr out[BATCH]
    cdef iovec into_iov[BATCH]
    cdef iovec out_iov[BATCH]
    cdef uint8_t names[BATCH * 32]
    cdef uint8_t *space = <uint8_t *>calloc(2 * BATCH, PACKET)
    cdef pollfd waiting[2]
    cdef int i, count, done, ready, octets
    if not space:
        raise MemoryError()
    memset(into, 0, sizeof(into))
    memset(out, 0, sizeof(out))
    for i in range(BATCH):
        into[i].msg_hdr.msg_iov = &into_iov[i]
        into[i].msg_hdr.msg_iovlen = 1
        into[i].msg_hdr.msg_name = names + 32 * i
        into_iov[i].iov_base = space + i * PACKET
        into_iov[i].iov_len = PACKET
        out[i].msg_hdr.msg_iov = &out_iov[i]
        out[i].msg_hdr.msg_iovlen = 1
        out_iov[i].iov_base = space + (BATCH + i) * PACKET
    waiting[0].fd, waiting[0].events = fd, POLLIN
    waiting[1].fd, waiting[1].events = stop_fd, POLLIN
    try:
        with nogil:
            while True:
                for i in range(BATCH):
                    into[i].msg_hdr.msg_namelen = 32
                count = recvmmsg(fd, into, BATCH, MSG_DONTWAIT, NULL)
                if count <= 0:
                    if hg_wait(waiting, 2, 1000000000) > 0 and waiting[1].revents:
                        break
                    continue
                ready = 0
                for i in range(count):
                    octets = answers.answer(
                        space + i * PACKET, into[i].msg_len, <uint8_t *>out_iov[ready].iov_base)
                    if octets:
                        out_iov[ready].iov_len = octets
                        out[ready].msg_hdr.msg_name = into[i].msg_hdr.msg_name
                        out[ready].msg_hdr.msg_namelen = into[i].msg_hdr.msg_namelen
                        ready += 1
                done = 0
                while done < ready:
                    count = sendmmsg(fd, out + done, ready - done, MSG_DONTWAIT)
                    if count <= 0:
                        break
                    done += count
    finally:
        free(space)
