# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled path: the answer cache as a C table, and datagrams received, looked up and answered by the batch.

It does what answer_table.py and intake.py do, for the same callers and under the same tests, with recvmmsg(2) and
sendmmsg(2). What a request costs here is two look-ups, some copying and a sixty-fourth of two system calls. All that is
no cached answer to an admitted client goes to Python as it came.

Every length is compared with what was received before it is used; the fast path reads only octets of the datagram.
While a batch is answered out of the table nothing enters it, and what leaves it stays in memory until that is sent.
"""

import hashlib
import secrets

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset


cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <arpa/inet.h>
    #include <malloc.h>
    #include <netinet/in.h>
    #include <sys/socket.h>
    #include <time.h>
    #define FLAG_CERT 0x40000000u
    #define FLAG_ENCR 0x20000000u
    #define FLAG_RRDG 0x00800000u
    #ifndef HANDLEGRID_SOURCE_DIGEST
    #define HANDLEGRID_SOURCE_DIGEST ""
    #endif
    #ifdef __SANITIZE_ADDRESS__
    #include <sanitizer/asan_interface.h>
    #define handlegrid_open(from, octets) __asan_unpoison_memory_region(from, octets)
    #define handlegrid_shut(from, octets) __asan_poison_memory_region(from, octets)
    #else
    #define handlegrid_open(from, octets) ((void)0)
    #define handlegrid_shut(from, octets) ((void)0)
    #endif
    static inline double handlegrid_clock(clockid_t which) {
        struct timespec now;
        clock_gettime(which, &now);
        return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    }
    static inline uint64_t handlegrid_load_acquire(const uint64_t *from) {
        return __atomic_load_n(from, __ATOMIC_ACQUIRE);
    }
    """
    const char *HANDLEGRID_SOURCE_DIGEST
    const uint32_t FLAG_CERT
    const uint32_t FLAG_ENCR
    const uint32_t FLAG_RRDG
    double handlegrid_clock(int which) nogil
    uint64_t handlegrid_load_acquire(const uint64_t *source) nogil
    void handlegrid_open(void *start, size_t octets) nogil
    void handlegrid_shut(void *start, size_t octets) nogil  # under AddressSanitizer it finds who reads there
    int CLOCK_MONOTONIC
    int CLOCK_REALTIME
    int AF_INET
    int AF_INET6
    int MSG_DONTWAIT
    size_t malloc_usable_size(void *block) nogil
    uint16_t ntohs(uint16_t number) nogil
    uint16_t htons(uint16_t number) nogil
    uint32_t ntohl(uint32_t number) nogil
    uint32_t htonl(uint32_t number) nogil
    const char *inet_ntop(int family, const void *source, char *target, uint32_t size) nogil
    int inet_pton(int family, const char *source, void *target) nogil

    struct in_addr:
        uint32_t s_addr

    struct in6_addr:
        uint8_t s6_addr[16]

    struct sockaddr:
        pass

    struct sockaddr_in:
        uint16_t sin_family
        uint16_t sin_port
        in_addr sin_addr

    struct sockaddr_in6:
        uint16_t sin6_family
        uint16_t sin6_port
        uint32_t sin6_flowinfo
        in6_addr sin6_addr
        uint32_t sin6_scope_id

    struct sockaddr_storage:
        uint16_t ss_family

    struct iovec:
        void *iov_base
        size_t iov_len

    struct msghdr:
        void *msg_name
        uint32_t msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
        int msg_flags

    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len

    int recvmmsg(int fd, mmsghdr *messages, unsigned int count, int flags, void *timeout) nogil
    int sendmmsg(int fd, mmsghdr *messages, unsigned int count, int flags) nogil


SOURCE_DIGEST = HANDLEGRID_SOURCE_DIGEST.decode("ascii")
"""SHA-256 of the source that this module was compiled from; empty when nobody noted it down."""

cdef enum:
    ENVELOPE = 20
    BODY = 44
    HEAD_MAX = 96  # envelope, header, and the longest digest with its algorithm
    PACKET_OCTETS = 512
    ANSWER_LIFE_S = 43200
    ENTRY_OCTETS_MAX = 65536
    ANY_ENVELOPE_FLAG = 0xE0
    GHOSTS = 65536
    NIL = 0
    PROBATION = 0
    MAIN = 1
    ASKED_MAX = 3
    PROBATIONS = 10  # the probation queue has a tenth of the octets
    PASSED_OVER_MAX = 1024
    BATCH = 64
    GRAVES_MAX = 64  # only find() removes meanwhile, one entry at most, and a batch looks up once for each datagram
    DATAGRAM_OCTETS = 65536
    STRIDE = 66624  # not a power of two: buffers at such distances would share a few sets of the processor's cache
    BATCHES_PER_WAKE = 4
    SOURCE_SETS = 4096
    SOURCE_WAYS = 4
    RESOLUTION = 1
    MISS = 0  # what the owner has to see to
    OVER_LIMIT = 1
    LONG_HIT = 2
    HOSTS_MAX = 10000  # as intake.HOSTS_MAX
    WORD_OVER = 3
    ANSWER_EVERY = 4


_DIGESTS = {1: hashlib.md5, 2: hashlib.sha1, 3: hashlib.sha256}


cdef inline uint32_t load32(const uint8_t *octets) noexcept nogil:
    return (<uint32_t>octets[0] << 24) | (<uint32_t>octets[1] << 16) | (<uint32_t>octets[2] << 8) | octets[3]


cdef inline void store32(uint8_t *octets, uint32_t number) noexcept nogil:
    octets[0] = number >> 24
    octets[1] = (number >> 16) & 0xFF
    octets[2] = (number >> 8) & 0xFF
    octets[3] = number & 0xFF


cdef inline uint64_t load64(const uint8_t *octets) noexcept nogil:
    cdef uint64_t word
    memcpy(&word, octets, 8)
    return word


cdef struct Sip:
    uint64_t v0
    uint64_t v1
    uint64_t v2
    uint64_t v3


cdef inline uint64_t rotate(uint64_t word, int bits) noexcept nogil:
    return (word << bits) | (word >> (64 - bits))


cdef inline void sip_round(Sip *state) noexcept nogil:
    state.v0 += state.v1
    state.v1 = rotate(state.v1, 13) ^ state.v0
    state.v0 = rotate(state.v0, 32)
    state.v2 += state.v3
    state.v3 = rotate(state.v3, 16) ^ state.v2
    state.v0 += state.v3
    state.v3 = rotate(state.v3, 21) ^ state.v0
    state.v2 += state.v1
    state.v1 = rotate(state.v1, 17) ^ state.v2
    state.v2 = rotate(state.v2, 32)


cdef inline void sip_word(Sip *state, uint64_t word) noexcept nogil:
    state.v3 ^= word
    sip_round(state)
    state.v0 ^= word


cdef inline void sip_start(Sip *state, uint64_t k0, uint64_t k1) noexcept nogil:
    state.v0 = k0 ^ 0x736F6D6570736575ULL
    state.v1 = k1 ^ 0x646F72616E646F6DULL
    state.v2 = k0 ^ 0x6C7967656E657261ULL
    state.v3 = k1 ^ 0x7465646279746573ULL


cdef inline uint64_t sip_end(Sip *state) noexcept nogil:
    state.v2 ^= 0xFF
    sip_round(state)
    sip_round(state)
    sip_round(state)
    return state.v0 ^ state.v1 ^ state.v2 ^ state.v3


cdef inline uint64_t hash_request(const uint8_t *octets, size_t size, uint64_t k0, uint64_t k1) noexcept nogil:
    """SipHash-1-3 of a request's key: octets 0-8, 16-32 and from 40 on. Keyed, since clients choose the octets."""
    cdef Sip state
    cdef uint64_t last = (<uint64_t>size) << 56
    cdef size_t at = 40
    sip_start(&state, k0, k1)
    sip_word(&state, load64(octets))
    sip_word(&state, load64(octets + 16))
    sip_word(&state, load64(octets + 24))
    while at + 8 <= size:
        sip_word(&state, load64(octets + at))
        at += 8
    memcpy(&last, octets + at, size - at)
    sip_word(&state, last)
    return sip_end(&state)


cdef struct Entry:
    uint64_t hash
    double expires_s
    uint64_t validated
    uint8_t *block
    uint32_t key_octets
    uint32_t stamp_octets
    uint32_t response_octets
    uint32_t weight
    uint32_t chain
    uint32_t before
    uint32_t after
    uint8_t queue
    uint8_t asked
    uint8_t digest_octets
    uint8_t digest


cdef struct Queue:
    uint32_t first
    uint32_t last
    size_t octets


@cython.no_gc  # it refers to one buffer, which refers to nothing
cdef class AnswerTable:
    """Whole responses by request octets, bounded in octets; see answer_table.AnswerTable, which does the same."""

    cdef Entry *entries
    cdef uint32_t capacity
    cdef uint32_t unused  # head of the list of free entries, through chain
    cdef uint32_t fresh  # entries beyond were never used
    cdef uint32_t *slots
    cdef uint32_t mask
    cdef uint32_t count
    cdef uint32_t entries_max
    cdef size_t octets_max
    cdef size_t total
    cdef Queue queues[2]
    cdef uint32_t *ghosts
    cdef uint64_t k0
    cdef uint64_t k1
    cdef Py_buffer generations_view
    cdef bint has_generations
    cdef const uint64_t *generations
    cdef uint32_t generation_slots
    cdef void *graves[GRAVES_MAX]
    cdef int graves_count
    cdef bint keeps_graves
    cdef readonly unsigned long long evicted
    """Entries that left to make room."""

    def __cinit__(self, *, size_t octets_max, entries_max=None, generations=None):
        self.octets_max = octets_max
        self.entries_max = 0xFFFFFFF0 if entries_max is None else entries_max
        self.k0, self.k1 = secrets.randbits(64), secrets.randbits(64)
        self.capacity = 1024
        self.entries = <Entry *>calloc(self.capacity, sizeof(Entry))
        self.mask = 1023
        self.slots = <uint32_t *>calloc(self.mask + 1, sizeof(uint32_t))
        self.ghosts = <uint32_t *>calloc(GHOSTS, sizeof(uint32_t))
        if self.entries == NULL or self.slots == NULL or self.ghosts == NULL:
            raise MemoryError
        self.fresh = 1
        if generations is not None:
            PyObject_GetBuffer(generations.memory, &self.generations_view, PyBUF_SIMPLE)
            self.has_generations = True
            self.generations = <const uint64_t *>self.generations_view.buf
            self.generation_slots = <uint32_t>(self.generations_view.len // 8)
            assert self.generation_slots >= 2  # the second is last_change

    def __dealloc__(self):
        self.bury()
        if self.entries != NULL:
            self._free_blocks()
        free(self.entries)
        free(self.slots)
        free(self.ghosts)
        if self.has_generations:
            PyBuffer_Release(&self.generations_view)

    def __len__(self):
        return self.count

    @property
    def octets(self):
        """What the entries take, keys and overhead included."""
        return self.total

    def get(self, bytes request not None, double now_s, double wall_s):
        """The response to this request, or None. now_s: monotonic; wall_s: Unix time for the expiration."""
        cdef const uint8_t *octets = <const uint8_t *>PyBytes_AS_STRING(request)
        cdef uint32_t index = self.find(octets, PyBytes_GET_SIZE(request), now_s)
        if index == NIL:
            return None
        return self.response(index, octets, wall_s)

    def put(self, bytes request not None, bytes response not None, double expires_s, bytes stamp=None):
        """Keeps a response until expires_s (monotonic) or until its stamp is old; False when it may not be kept."""
        cdef const uint8_t *octets = <const uint8_t *>PyBytes_AS_STRING(request)
        cdef const uint8_t *answer = <const uint8_t *>PyBytes_AS_STRING(response)
        cdef size_t size = PyBytes_GET_SIZE(request), length = PyBytes_GET_SIZE(response)
        cdef bytes checked = b"" if stamp is None else stamp
        cdef size_t stamp_octets = PyBytes_GET_SIZE(checked)
        cdef uint8_t *block
        cdef Entry *entry
        cdef uint32_t index, slot
        cdef uint64_t digest_of_key
        cdef size_t weight, key_octets
        cdef bint was_main
        if self.keeps_graves or not is_plain_request(octets, size) or not is_plain_response(answer, length):
            return False
        if stamp_octets % 12 or not self._knows_slots(<const uint8_t *>PyBytes_AS_STRING(checked), stamp_octets):
            return False
        key_octets = size - 16
        if key_octets + stamp_octets + length > ENTRY_OCTETS_MAX:
            return False
        digest_of_key = hash_request(octets, size, self.k0, self.k1)
        was_main = self._remove_equal(octets, size, digest_of_key)
        block = <uint8_t *>malloc(key_octets + stamp_octets + length)
        if block == NULL:
            raise MemoryError
        weight = malloc_usable_size(block) + 8 + sizeof(Entry) + 2 * sizeof(uint32_t)
        if weight > self.octets_max:
            free(block)
            return False
        while self.count and (self.total + weight > self.octets_max or self.count >= self.entries_max):
            self._evict(weight)
        try:
            index = self._take_entry()
        except MemoryError:
            free(block)
            raise
        entry = &self.entries[index]
        memcpy(block, octets, 8)
        memcpy(block + 8, octets + 16, 16)
        memcpy(block + 24, octets + 40, size - 40)
        memcpy(block + key_octets, PyBytes_AS_STRING(checked), stamp_octets)
        memcpy(block + key_octets + stamp_octets, answer, length)
        entry.hash = digest_of_key
        entry.expires_s = expires_s
        entry.validated = 0
        entry.block = block
        entry.key_octets = key_octets
        entry.stamp_octets = stamp_octets
        entry.response_octets = length
        entry.weight = weight
        entry.asked = 0
        entry.digest = answer[BODY] if load32(answer + 28) & FLAG_RRDG else 0
        entry.digest_octets = digest_octets_of(entry.digest)
        slot = <uint32_t>digest_of_key & self.mask
        entry.chain = self.slots[slot]
        self.slots[slot] = index
        self.count += 1
        self.total += weight
        self._enqueue(index, MAIN if was_main or self._is_ghost(digest_of_key) else PROBATION)
        while self.queues[PROBATION].octets * PROBATIONS > self.octets_max:
            self._promote(self.queues[PROBATION].first)  # there was room, or it would have left
        return True

    def clear(self):
        """Forgets everything."""
        assert not self.keeps_graves  # answers that wait to be sent point to blocks
        self._free_blocks()
        memset(self.slots, 0, (self.mask + 1) * sizeof(uint32_t))
        memset(&self.queues, 0, sizeof(self.queues))
        self.count = 0
        self.total = 0
        self.unused = NIL
        self.fresh = 1

    cdef uint32_t find(self, const uint8_t *octets, size_t size, double now_s) noexcept:
        """The entry of a request that is live, which counts as asked for; NIL when there is none."""
        cdef uint64_t digest_of_key
        cdef uint32_t index
        cdef Entry *entry
        if size < BODY or size > ENTRY_OCTETS_MAX:
            return NIL
        digest_of_key = hash_request(octets, size, self.k0, self.k1)
        index = self._equal(octets, size, digest_of_key)
        if index == NIL:
            return NIL
        entry = &self.entries[index]
        if entry.expires_s <= now_s or not self._is_current(entry):
            if self.graves_count < GRAVES_MAX:
                self._remove(index)
            return NIL
        if entry.asked < ASKED_MAX:
            entry.asked += 1
        return index

    cdef bytes response(self, uint32_t index, const uint8_t *octets, double wall_s):
        """The response of an entry, as this request is to be answered."""
        cdef Entry *entry = &self.entries[index]
        cdef bytes whole = PyBytes_FromStringAndSize(NULL, entry.response_octets)
        cdef uint8_t *target = <uint8_t *>PyBytes_AS_STRING(whole)
        cdef size_t head = self.fill_head(entry, target, octets, wall_s)
        memcpy(target + head, response_of(entry) + head, entry.response_octets - head)
        return whole

    cdef size_t fill_head(self, Entry *entry, uint8_t *target, const uint8_t *octets, double wall_s) except 0:
        """Writes what differs from request to request, and what stands before and between; how many octets these are."""
        cdef const uint8_t *source = response_of(entry)
        cdef size_t head = BODY
        cdef bytes digest
        memcpy(target, source, BODY)
        memcpy(target + 8, octets + 8, 4)
        store32(target + 12, 0)
        target[34] = octets[34]
        target[35] = 0
        store32(target + 36, <uint32_t>(<uint64_t>wall_s + ANSWER_LIFE_S))
        if entry.digest:
            # The body's length is part of the key, and was compared with the request's own when the entry was made.
            digest = _DIGESTS[entry.digest]((<const char *>octets)[ENVELOPE : BODY + load32(octets + 40)]).digest()
            target[BODY] = entry.digest
            memcpy(target + BODY + 1, PyBytes_AS_STRING(digest), entry.digest_octets)
            head += 1 + entry.digest_octets
        return head

    cdef uint32_t _equal(self, const uint8_t *octets, size_t size, uint64_t digest_of_key) noexcept:
        cdef uint32_t index = self.slots[<uint32_t>digest_of_key & self.mask]
        cdef Entry *entry
        while index != NIL:
            entry = &self.entries[index]
            if (
                entry.hash == digest_of_key
                and entry.key_octets == size - 16
                and memcmp(entry.block + 24, octets + 40, size - 40) == 0
                and memcmp(entry.block, octets, 8) == 0
                and memcmp(entry.block + 8, octets + 16, 16) == 0
            ):
                return index
            index = entry.chain
        return NIL

    cdef bint _is_current(self, Entry *entry) noexcept:
        """Whether nothing that the stamp covers was marked since; generations.py says why last_change is enough."""
        cdef uint64_t last_change, content
        cdef uint32_t slot
        cdef size_t at
        if not self.has_generations or not entry.stamp_octets:
            return True
        last_change = handlegrid_load_acquire(self.generations + 1)
        if entry.validated == last_change and last_change:
            return True
        for at in range(entry.key_octets, entry.key_octets + entry.stamp_octets, 12):
            memcpy(&slot, entry.block + at, 4)
            memcpy(&content, entry.block + at + 4, 8)
            if handlegrid_load_acquire(self.generations + slot) != content:
                return False
        entry.validated = last_change
        return True

    cdef bint _knows_slots(self, const uint8_t *stamp, size_t octets) noexcept:
        cdef uint32_t slot
        cdef size_t at
        if not self.has_generations:
            return True
        for at in range(0, octets, 12):
            memcpy(&slot, stamp + at, 4)
            if slot >= self.generation_slots:
                return False
        return True

    cdef bint _remove_equal(self, const uint8_t *octets, size_t size, uint64_t digest_of_key) noexcept:
        """Removes what stands under the key; whether it stood in the main queue."""
        cdef uint32_t index = self._equal(octets, size, digest_of_key)
        cdef bint was_main
        if index == NIL:
            return False
        was_main = self.entries[index].queue == MAIN
        self._remove(index)
        return was_main

    cdef uint32_t _take_entry(self) except? 0:
        cdef uint32_t index
        if self.unused != NIL:
            index = self.unused
            self.unused = self.entries[index].chain
            return index
        if self.fresh == self.capacity:
            self._grow()
        index = self.fresh
        self.fresh += 1
        return index

    cdef int _grow(self) except -1:
        cdef uint32_t capacity = self.capacity * 2
        cdef uint32_t mask = self.mask * 2 + 1
        cdef uint32_t index, slot, number
        cdef uint32_t *slots
        cdef Entry *entries = <Entry *>realloc(self.entries, capacity * sizeof(Entry))
        if entries == NULL:
            raise MemoryError
        self.entries = entries
        memset(entries + self.capacity, 0, (capacity - self.capacity) * sizeof(Entry))
        self.capacity = capacity
        slots = <uint32_t *>calloc(<size_t>mask + 1, sizeof(uint32_t))
        if slots == NULL:
            return 0  # longer chains are slower and as right
        for number in range(2):
            index = self.queues[number].first
            while index != NIL:
                slot = <uint32_t>entries[index].hash & mask
                entries[index].chain = slots[slot]
                slots[slot] = index
                index = entries[index].after
        free(self.slots)
        self.slots = slots
        self.mask = mask
        return 0

    cdef void _enqueue(self, uint32_t index, uint8_t number) noexcept:
        cdef Queue *queue = &self.queues[number]
        cdef Entry *entry = &self.entries[index]
        entry.queue = number
        entry.before = queue.last
        entry.after = NIL
        if queue.last != NIL:
            self.entries[queue.last].after = index
        else:
            queue.first = index
        queue.last = index
        queue.octets += entry.weight

    cdef void _dequeue(self, uint32_t index) noexcept:
        cdef Entry *entry = &self.entries[index]
        cdef Queue *queue = &self.queues[entry.queue]
        if entry.before != NIL:
            self.entries[entry.before].after = entry.after
        else:
            queue.first = entry.after
        if entry.after != NIL:
            self.entries[entry.after].before = entry.before
        else:
            queue.last = entry.before
        queue.octets -= entry.weight

    cdef void _remove(self, uint32_t index) noexcept:
        cdef Entry *entry = &self.entries[index]
        cdef uint32_t *link = &self.slots[<uint32_t>entry.hash & self.mask]
        while link[0] != index:
            link = &self.entries[link[0]].chain
        link[0] = entry.chain
        self._dequeue(index)
        if self.keeps_graves:
            self.graves[self.graves_count] = entry.block  # an answer that waits to be sent may still point to it
            self.graves_count += 1
        else:
            free(entry.block)
        entry.block = NULL
        self.count -= 1
        self.total -= entry.weight
        entry.chain = self.unused
        self.unused = index

    cdef void bury(self) noexcept:
        """Frees what was removed while keeps_graves was set, and lets new entries in again."""
        cdef int number
        for number in range(self.graves_count):
            free(self.graves[number])
        self.graves_count = 0
        self.keeps_graves = False

    cdef void _evict(self, size_t weight) noexcept:
        """Removes the entry that is worth least to make room; see bounded_table.py for the policy."""
        cdef uint32_t index = NIL
        cdef Entry *entry
        cdef int passed_over = 0
        while self.queues[PROBATION].first != NIL and (
            (self.queues[PROBATION].octets + weight) * PROBATIONS > self.octets_max
            or self.queues[MAIN].first == NIL
        ):
            index = self.queues[PROBATION].first
            entry = &self.entries[index]
            if not entry.asked:
                self.ghosts[entry.hash % GHOSTS] = ghost_of(entry.hash)
                break
            self._promote(index)
            index = NIL
        while index == NIL:
            index = self.queues[MAIN].first
            entry = &self.entries[index]
            if entry.asked and passed_over < PASSED_OVER_MAX:
                entry.asked -= 1
                passed_over += 1
                self._dequeue(index)
                self._enqueue(index, MAIN)
                index = NIL
        self._remove(index)
        self.evicted += 1

    cdef void _promote(self, uint32_t index) noexcept:
        self._dequeue(index)
        self._enqueue(index, MAIN)

    cdef bint _is_ghost(self, uint64_t digest_of_key) noexcept:
        return self.ghosts[digest_of_key % GHOSTS] == ghost_of(digest_of_key)

    cdef void _free_blocks(self) noexcept:
        cdef uint32_t index
        for index in range(1, self.fresh):
            free(self.entries[index].block)
            self.entries[index].block = NULL


cdef inline uint8_t *response_of(const Entry *entry) noexcept nogil:
    return entry.block + entry.key_octets + entry.stamp_octets


cdef inline uint32_t ghost_of(uint64_t digest_of_key) noexcept nogil:
    return <uint32_t>(digest_of_key >> 32) | 1


cdef inline uint8_t digest_octets_of(uint8_t algorithm) noexcept nogil:
    return 16 if algorithm == 1 else 20 if algorithm == 2 else 32 if algorithm == 3 else 0


cdef bint is_plain_request(const uint8_t *octets, size_t size) noexcept nogil:
    """The rule of answer_cache.is_cacheable_request(), which a test compares with it."""
    cdef uint64_t body_end
    if size < BODY or load32(octets + 4) or octets[2] & ANY_ENVELOPE_FLAG:
        return False
    if load32(octets + 24):
        return False
    if size != <uint64_t>ENVELOPE + load32(octets + 16) or load32(octets + 28) & (FLAG_CERT | FLAG_ENCR):
        return False
    body_end = <uint64_t>BODY + load32(octets + 40)
    if body_end == size:
        return True
    return body_end + 4 == size and load32(octets + body_end) == 0


cdef bint is_plain_response(const uint8_t *octets, size_t size) noexcept nogil:
    """The rule of answer_cache.is_cacheable_response(), which a test compares with it."""
    cdef uint8_t digest_octets
    if size < BODY or load32(octets + 4) or load32(octets + 12) or octets[2] & ANY_ENVELOPE_FLAG:
        return False
    if not load32(octets + 28) & FLAG_RRDG:
        return True
    digest_octets = digest_octets_of(octets[BODY]) if size > BODY else 0
    return digest_octets and size > <size_t>BODY + digest_octets


def may_keep(bytes request not None, bytes response not None):
    """Whether request and response may be kept; for the test that compares both paths."""
    return is_plain_request(
        <const uint8_t *>PyBytes_AS_STRING(request), PyBytes_GET_SIZE(request)
    ), is_plain_response(<const uint8_t *>PyBytes_AS_STRING(response), PyBytes_GET_SIZE(response))


cdef struct Source:
    uint8_t address[16]
    uint64_t tag
    int64_t way
    uint32_t hits
    uint8_t family
    uint8_t refused


cdef class Packets:
    """The buffers of one datagram socket, for a batch in each direction."""

    cdef object opened
    cdef int fd
    cdef mmsghdr received[BATCH]
    cdef iovec received_parts[BATCH]
    cdef sockaddr_storage froms[BATCH]
    cdef uint8_t *space
    cdef mmsghdr sent[BATCH]
    cdef iovec sent_parts[2 * BATCH]
    cdef sockaddr_storage tos[BATCH]
    cdef list waiting

    def __cinit__(self, opened, *arguments, **options):
        cdef int at
        self.opened = opened
        self.waiting = []
        self.space = <uint8_t *>malloc(BATCH * STRIDE)
        if self.space == NULL:
            raise MemoryError
        for at in range(BATCH):
            self.received_parts[at].iov_base = self.space + at * STRIDE
            self.received_parts[at].iov_len = DATAGRAM_OCTETS
            self.received[at].msg_hdr.msg_name = &self.froms[at]
            self.received[at].msg_hdr.msg_iov = &self.received_parts[at]
            self.received[at].msg_hdr.msg_iovlen = 1
            self.received[at].msg_hdr.msg_control = NULL
            self.received[at].msg_hdr.msg_controllen = 0
            self.sent[at].msg_hdr.msg_control = NULL
            self.sent[at].msg_hdr.msg_controllen = 0
            self.sent[at].msg_hdr.msg_flags = 0

    def __dealloc__(self):
        handlegrid_open(self.space, BATCH * STRIDE)
        free(self.space)

    cdef int receive(self) noexcept:
        """How many datagrams came, at most BATCH; 0 when none waits."""
        cdef int at, count
        for at in range(BATCH):
            self.received[at].msg_hdr.msg_namelen = sizeof(sockaddr_storage)
            self.received[at].msg_hdr.msg_flags = 0
        handlegrid_open(self.space, BATCH * STRIDE)
        count = recvmmsg(self.fd, self.received, BATCH, MSG_DONTWAIT, NULL)
        for at in range(count):
            handlegrid_shut(self.space + at * STRIDE + self.received[at].msg_len, STRIDE - self.received[at].msg_len)
        return count if count > 0 else 0

    cdef bytes octets_of(self, int at):
        return PyBytes_FromStringAndSize(<char *>(self.space + at * STRIDE), self.received[at].msg_len)

    cdef object address_of(self, int at):
        """Host, port and the kernel's own form, which send() takes back."""
        cdef sockaddr_storage *name = &self.froms[at]
        return (
            host_of(name),
            port_of(name),
            PyBytes_FromStringAndSize(<char *>name, self.received[at].msg_hdr.msg_namelen),
        )

    cpdef bint send(self, bytes octets, tuple address):
        """Notes a datagram down for flush(); whether the caller has to see to it that flush() is called soon.

        address: as it was given with what came from there.
        """
        cdef bytes name = address[2]
        if octets is None or name is None:
            raise TypeError("octets, not None")
        self.waiting.append((octets, name))
        return len(self.waiting) == 1

    cpdef int flush(self) except -1:
        """Sends what was noted down; how many the kernel did not take, which are lost."""
        cdef list waiting = self.waiting
        cdef Py_ssize_t total = len(waiting), start = 0
        cdef int count, at, lost = 0
        cdef size_t name_octets
        cdef bytes octets, name
        self.waiting = []
        self.fd = self.opened.fileno()  # -1 once it is closed: its number may be another socket's by now
        while start < total:
            count = <int>min(total - start, BATCH)
            for at in range(count):
                octets, name = waiting[start + at]
                name_octets = min(<size_t>PyBytes_GET_SIZE(name), sizeof(sockaddr_storage))
                memcpy(&self.tos[at], PyBytes_AS_STRING(name), name_octets)
                self.sent_parts[2 * at].iov_base = PyBytes_AS_STRING(octets)
                self.sent_parts[2 * at].iov_len = PyBytes_GET_SIZE(octets)
                self.sent[at].msg_hdr.msg_name = &self.tos[at]
                self.sent[at].msg_hdr.msg_namelen = name_octets
                self.sent[at].msg_hdr.msg_iov = &self.sent_parts[2 * at]
                self.sent[at].msg_hdr.msg_iovlen = 1
            lost += self.transmit(count)
            start += count
        return lost

    cdef int transmit(self, int count) noexcept:
        """Sends the first messages that are filled in; how many the kernel did not take."""
        cdef int done = 0, now, lost = 0
        while done < count:
            now = sendmmsg(self.fd, self.sent + done, count - done, MSG_DONTWAIT)
            if now > 0:
                done += now
            elif errno == EINTR:
                continue
            elif errno == EAGAIN:
                return lost + count - done
            else:
                done += 1  # this one cannot be sent, such as to a network without a route
        return lost


cdef inline bint is_sendable(const sockaddr_storage *name) noexcept nogil:
    return port_of(name) != 0


cdef inline int port_of(const sockaddr_storage *name) noexcept nogil:
    if name.ss_family == AF_INET:
        return ntohs((<const sockaddr_in *>name).sin_port)
    return ntohs((<const sockaddr_in6 *>name).sin6_port)


cdef str host_of(const sockaddr_storage *name):
    cdef char text[64]
    if name.ss_family == AF_INET:
        inet_ntop(AF_INET, &(<const sockaddr_in *>name).sin_addr, text, 64)
    else:
        inet_ntop(AF_INET6, &(<const sockaddr_in6 *>name).sin6_addr, text, 64)
    return text.decode("ascii")


@cython.no_gc_clear  # its buffer must be released, not forgotten; its owner is what a cycle is broken at
cdef class Intake(Packets):
    """Datagrams in, cached answers out, everything else to its owner; see intake.Intake, which does the same."""

    cdef AnswerTable cache
    cdef object owner
    cdef object source
    cdef Source *sources
    cdef uint64_t k0
    cdef uint64_t k1
    cdef Py_buffer buckets_view
    cdef uint64_t *words
    cdef double *times
    cdef double token_s
    cdef double tolerance_s
    cdef dict counts
    cdef uint8_t heads[BATCH * HEAD_MAX]
    cdef uint32_t others[BATCH]
    cdef uint8_t kinds[BATCH]
    cdef uint64_t codes[BATCH]
    cdef uint32_t code_counts[BATCH]
    cdef int codes_count
    # Of the batch that is worked on
    cdef bint is_sorting
    cdef int at
    cdef int answers_count
    cdef int others_count
    cdef int refused
    cdef int limited
    cdef int lost
    cdef int resolutions
    cdef int last  # resolution among them

    def __cinit__(self, opened, *, source, cache, owner):
        self.source = source
        self.cache = cache
        self.owner = owner
        self.counts = {}
        self.k0, self.k1 = secrets.randbits(64), secrets.randbits(64)
        self.token_s, self.tolerance_s = source.token_s, source.tolerance_s
        PyObject_GetBuffer(source.buckets.memory, &self.buckets_view, PyBUF_WRITABLE)
        self.words = <uint64_t *>self.buckets_view.buf
        self.times = <double *>self.buckets_view.buf
        self.sources = <Source *>calloc(SOURCE_SETS * SOURCE_WAYS, sizeof(Source))
        if self.sources == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.sources)
        if self.words != NULL:
            PyBuffer_Release(&self.buckets_view)

    def drain(self):
        """Takes what waits in the socket, a few batches at most, then others have their turn."""
        cdef int turn, count
        if self.is_sorting:
            return  # called by the source check, of all things
        self.fd = self.opened.fileno()
        for turn in range(BATCHES_PER_WAKE):
            count = self.receive()
            if count:
                self._work(count)
            if count < BATCH:
                return

    def take_sources(self):
        """How many hits came from which addresses since the last call."""
        cdef int at
        cdef Source *known
        for at in range(SOURCE_SETS * SOURCE_WAYS):
            known = &self.sources[at]
            if known.hits:
                self._note(known)
        counts, self.counts = self.counts, {}
        return counts

    cdef int _work(self, int count) except -1:
        """Answers what it can at once, then tells the owner and hands over the rest.

        An exception of the owner or of the source check costs the one call that it was raised in. The last one is raised
        in the end.
        """
        cdef double now_s = handlegrid_clock(CLOCK_MONOTONIC), wall_s = handlegrid_clock(CLOCK_REALTIME)
        cdef list handed
        self.answers_count = self.others_count = self.codes_count = self.resolutions = 0
        self.refused = self.limited = self.lost = 0
        if self.cache is not None:
            self.cache.keeps_graves = True
        self.is_sorting = True
        try:
            failure = self._sort_all(count, now_s, wall_s)
        finally:
            self.is_sorting = False
            if self.answers_count:
                self.lost = self.transmit(self.answers_count)
            if self.cache is not None:
                self.cache.bury()
        handed = self._others()
        failure = self._tell(now_s, wall_s) or failure
        failure = self._pass_on(handed, now_s, wall_s) or failure
        if failure is not None:
            raise failure
        return 0

    cdef object _sort_all(self, int count, double now_s, double wall_s):
        """Fills in the answers, and notes down everything else; the last exception, or None."""
        failure = None
        self.at = 0
        while self.at < count:
            try:
                self._sort(count, now_s, wall_s)
            except Exception as error:
                failure = error
                self.at += 1
        return failure

    cdef int _sort(self, int count, double now_s, double wall_s) except -1:
        cdef int at, verdict
        cdef uint32_t index
        cdef const uint8_t *octets
        cdef Source *known
        cdef Entry *entry
        cdef uint8_t *response
        cdef size_t head
        while self.at < count:
            at = self.at
            known = self._known(&self.froms[at], now_s)
            verdict = 0 if known.refused else self._check(known, now_s)
            if known.refused:
                self.refused += 1
            elif verdict:
                self.limited += 1
                if verdict == 1:
                    self._leave(at, OVER_LIMIT)
            else:
                octets = self.space + at * STRIDE
                index = NIL if self.cache is None else self.cache.find(octets, self.received[at].msg_len, now_s)
                entry = NULL if index == NIL else &self.cache.entries[index]
                if entry == NULL:
                    self._leave(at, MISS)
                elif entry.response_octets > PACKET_OCTETS or not is_sendable(&self.froms[at]):
                    self._leave(at, LONG_HIT)
                else:
                    response = response_of(entry)
                    head = self.cache.fill_head(
                        entry, self.heads + self.answers_count * HEAD_MAX, octets, wall_s
                    )
                    self._answer(at, response, entry.response_octets, head)
                    if load32(response + ENVELOPE) == RESOLUTION:
                        known.hits += 1
                        self.resolutions += 1
                        self.last = at
            self.at += 1
        return 0

    cdef void _leave(self, int at, uint8_t kind) noexcept:
        """Notes down that the owner has to see to a datagram."""
        self.others[self.others_count] = at
        self.kinds[self.others_count] = kind
        self.others_count += 1

    cdef object _tell(self, double now_s, double wall_s):
        """Tells the owner what became of the batch; the last exception, or None."""
        cdef list calls = []
        if self.answers_count:
            elapsed_s = handlegrid_clock(CLOCK_MONOTONIC) - now_s
            calls.append((self.owner.hits, (self._take_codes(), elapsed_s)))
        if self.lost:
            calls.append((self.owner.limited, ("send_buffer", self.lost)))
        if self.refused:
            calls.append((self.owner.limited, ("source_refused", self.refused)))
        if self.limited:
            calls.append((self.owner.limited, ("source_rate", self.limited)))
        failure = None
        for call, arguments in calls:
            try:
                call(*arguments)
            except Exception as error:
                failure = error
        try:
            self._sample(now_s, wall_s)
        except Exception as error:
            failure = error
        return failure

    cdef void _answer(self, int at, uint8_t *response, size_t octets, size_t head) noexcept:
        """Fills in the message that answers datagram `at`; the octets behind the head are sent from the table."""
        cdef int number = self.answers_count
        cdef mmsghdr *message = &self.sent[number]
        cdef uint64_t codes
        cdef int kind
        self.answers_count += 1
        message.msg_hdr.msg_name = &self.froms[at]
        message.msg_hdr.msg_namelen = self.received[at].msg_hdr.msg_namelen
        message.msg_hdr.msg_iov = &self.sent_parts[2 * number]
        message.msg_hdr.msg_iovlen = 2
        self.sent_parts[2 * number].iov_base = self.heads + number * HEAD_MAX
        self.sent_parts[2 * number].iov_len = head
        self.sent_parts[2 * number + 1].iov_base = response + head
        self.sent_parts[2 * number + 1].iov_len = octets - head
        codes = load64(response + ENVELOPE)
        for kind in range(self.codes_count):
            if self.codes[kind] == codes:
                self.code_counts[kind] += 1
                return
        self.codes[self.codes_count] = codes
        self.code_counts[self.codes_count] = 1
        self.codes_count += 1

    cdef dict _take_codes(self):
        cdef int kind
        return {
            PyBytes_FromStringAndSize(<char *>&self.codes[kind], 8): self.code_counts[kind]
            for kind in range(self.codes_count)
        }

    cdef int _sample(self, double now_s, double wall_s) except -1:
        """Gives the owner the last resolution of the batch when a sample is due."""
        if not self.resolutions or not self.owner.is_sample_due(self.resolutions):
            return 0
        request = self.octets_of(self.last)
        response = self.cache.get(request, now_s, wall_s)
        if response is not None:
            self.owner.sampled(request, response, host_of(&self.froms[self.last]))
        return 0

    cdef list _others(self):
        """What is no short cached answer; copied, since the owner may receive and send meanwhile."""
        cdef int number, at
        cdef list handed = []
        for number in range(self.others_count):
            at = self.others[number]
            handed.append((self.kinds[number], self.octets_of(at), self.address_of(at)))
        return handed

    cdef object _pass_on(self, list handed, double now_s, double wall_s):
        """Gives the owner what it has to see to; the last exception that it raised, or None."""
        failure = None
        for kind, octets, address in handed:
            try:
                response = self.cache.get(octets, now_s, wall_s) if kind == LONG_HIT else None
                if kind == OVER_LIMIT:
                    self.owner.over_limit(octets, address, now_s)
                elif response is not None:
                    self.owner.long_hit(octets, response, address, now_s)
                else:
                    self.owner.miss(octets, address, now_s)
            except Exception as error:
                failure = error
        return failure

    cdef Source *_known(self, const sockaddr_storage *name, double now_s) except NULL:
        """What is known of the sender; a stranger is asked for at the source check."""
        cdef uint8_t address[16]
        cdef Sip state
        cdef uint64_t digest
        cdef Source *known
        cdef Source *chosen
        cdef int way
        memset(address, 0, 16)
        if name.ss_family == AF_INET:
            memcpy(address, &(<const sockaddr_in *>name).sin_addr, 4)
        else:
            memcpy(address, &(<const sockaddr_in6 *>name).sin6_addr, 16)
        sip_start(&state, self.k0, self.k1)
        sip_word(&state, load64(address))
        sip_word(&state, load64(address + 8))
        digest = sip_end(&state)
        chosen = &self.sources[(digest % SOURCE_SETS) * SOURCE_WAYS]
        for way in range(SOURCE_WAYS):
            known = &self.sources[(digest % SOURCE_SETS) * SOURCE_WAYS + way]
            if known.family == <uint8_t>name.ss_family and memcmp(known.address, address, 16) == 0:
                if known.way >= 0 and self.words[known.way] != known.tag:
                    self._learn(known, name, now_s)
                return known
            if not known.family:
                chosen = known
                break
        else:
            chosen = &self.sources[(digest % SOURCE_SETS) * SOURCE_WAYS + (digest >> 60) % SOURCE_WAYS]
        if chosen.hits:
            self._note(chosen)
        chosen.family = 0  # nobody's, until the source check has spoken
        self._learn(chosen, name, now_s)
        memcpy(chosen.address, address, 16)
        chosen.family = <uint8_t>name.ss_family
        return chosen

    cdef int _learn(self, Source *known, const sockaddr_storage *name, double now_s) except -1:
        refused, way, tag = self.source.place(host_of(name), now_s)
        known.refused = refused
        known.way = way
        known.tag = tag
        return 0

    cdef int _note(self, Source *known) except -1:
        """Moves the hits of a source to the counts by address."""
        cdef char text[64]
        inet_ntop(known.family, known.address, text, 64)
        host = text.decode("ascii") if len(self.counts) < HOSTS_MAX else ""
        self.counts[host] = self.counts.get(host, 0) + known.hits
        known.hits = 0
        return 0

    cdef int _check(self, Source *known, double now_s) noexcept:
        """Takes a token: 0 when there was one, 1 when the sender is told that there is none, 2 for silence."""
        cdef double full_s
        if known.way < 0:
            return 0
        full_s = self.times[known.way + 1]
        if full_s < now_s:
            full_s = now_s
        if full_s - now_s <= self.tolerance_s:
            self.times[known.way + 1] = full_s + self.token_s
            return 0
        self.words[known.way + WORD_OVER] = (self.words[known.way + WORD_OVER] + 1) % ANSWER_EVERY
        return 2 if self.words[known.way + WORD_OVER] else 1
