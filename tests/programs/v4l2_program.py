# SPDX-License-Identifier: BSD-2-Clause
"""A program that uses a V4L2 device, and knows nothing of where it comes from: v4l2_program.py WHAT. test_v4l2.py runs it;
a failure is an exception."""
import ctypes
import errno
import fcntl
import itertools
import mmap
import os
import queue
import resource
import select
import signal
import struct
import sys
import threading
import time

DEVICE = os.environ["V4L2_DEVICE"]
CAPTURE, MMAP = 1, 1
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
BUFFER = struct.Struct("<5I4x2q16x2IQ3I4x")


def code(direction, number, size):
    return direction << 30 | size << 16 | ord("V") << 8 | number


REQBUFS, QUERYBUF, QBUF = code(3, 8, 20), code(3, 9, 88), code(3, 15, 88)
DQBUF, STREAMON, STREAMOFF = code(3, 17, 88), code(1, 18, 4), code(1, 19, 4)
EXPBUF, S_CTRL, DQEVENT, SUBSCRIBE = code(3, 16, 64), code(3, 28, 8), code(2, 89, 136), code(1, 90, 32)
BRIGHTNESS, EVENT_CTRL = 0x980900, 3
TYPE = struct.pack("<I", CAPTURE)


def map_buffer(fd, length, offset):
    """mmap.mmap would keep a duplicate of the descriptor."""
    address = LIBC.mmap(None, length, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, offset)
    if address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "mmap")
    return (ctypes.c_ubyte * length).from_address(address)


def unmap(memory):
    assert LIBC.munmap(ctypes.addressof(memory), len(memory)) == 0


def ioctl(fd, request, argument):
    """The C library's: fcntl.ioctl() of Python 3.14 begins anew after a signal, and does not give back what an error has left."""
    if isinstance(argument, bytearray):
        argument = (ctypes.c_char * len(argument)).from_buffer(argument)
    else:
        argument = ctypes.c_ulong(argument)
    if LIBC.ioctl(fd, ctypes.c_ulong(request), argument) < 0:
        raise OSError(ctypes.get_errno(), "ioctl")


class Node:
    def __init__(self, flags=0):
        self.fd = os.open(DEVICE, os.O_RDWR | flags)
        self.memory = []

    def ioctl(self, request, data):
        data = bytearray(data)
        ioctl(self.fd, request, data)
        return data

    def buffer(self, request, index=0):
        fields = BUFFER.unpack(self.ioctl(request, BUFFER.pack(index, CAPTURE, *[0] * 6, MMAP, *[0] * 4)))
        return {"index": fields[0], "used": fields[2], "sequence": fields[7], "offset": fields[9] & 0xffffffff,
                "length": fields[10]}

    def start(self, count=4):
        count, = struct.unpack_from("<I", self.ioctl(REQBUFS, struct.pack("<3I8x", count, CAPTURE, MMAP)))
        for i in range(count):
            found = self.buffer(QUERYBUF, i)
            self.memory.append(map_buffer(self.fd, found["length"], found["offset"]))
            self.buffer(QBUF, i)
        self.ioctl(STREAMON, TYPE)

    def frame(self):
        """The next one's number and bytes."""
        done = self.buffer(DQBUF)
        data = bytes(self.memory[done["index"]])[:done["used"]]
        self.buffer(QBUF, done["index"])
        return done["sequence"], data

    def subscribe(self):
        self.ioctl(SUBSCRIBE, struct.pack("<3I20x", EVENT_CTRL, BRIGHTNESS, 0))


def fails(error, function, *args):
    try:
        function(*args)
    except OSError as e:
        assert e.errno == error, e
    else:
        raise AssertionError("it worked")


def ready(fd, seconds=0):
    """What poll(), select() and epoll say, which is the same."""
    poll, epoll = select.poll(), select.epoll()
    poll.register(fd, select.POLLIN | select.POLLPRI)
    epoll.register(fd, select.EPOLLIN | select.EPOLLPRI)
    told = dict(poll.poll(seconds * 1000)).get(fd, 0)
    sets = select.select([fd], [], [fd], 0)
    assert bool(sets[0]) == bool(told & (select.POLLIN | select.POLLERR)) and bool(sets[2]) == bool(told & select.POLLPRI), (told, sets)
    events = 0
    for _, event in epoll.poll(0):
        events |= event
    assert events == told, (events, told)
    epoll.close()
    return told


def told_together(node, other):
    """For epoll the node is one descriptor: who takes one event at a time learns of V4L2_EVENT_EOS with the buffer after it."""
    both, epolls = select.EPOLLIN | select.EPOLLPRI, [select.epoll(), select.epoll()]
    for epoll in epolls:
        epoll.register(node.fd, both)
        # Now it is first in epoll's list, and what becomes ready after it would be second.
        assert epoll.poll(10, 1) == [(node.fd, select.EPOLLIN)]
    other.ioctl(S_CTRL, struct.pack("<2I", BRIGHTNESS, 78))
    poll = select.poll()
    poll.register(node.fd, select.POLLPRI)
    assert poll.poll(10000) == [(node.fd, select.POLLPRI)]
    for epoll in epolls:
        assert epoll.poll(0, 1) == epoll.poll(0) == [(node.fd, both)]
    # Once means once for all of it, until it is asked for again.
    for _ in range(2):
        epolls[0].modify(node.fd, both | select.EPOLLONESHOT)
        assert epolls[0].poll(0) == [(node.fd, both)] and epolls[0].poll(0) == []
    # What a child closes stays in its parent's instance.
    child = os.fork()
    if child == 0:
        os.close(node.fd)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert epolls[1].poll(0) == [(node.fd, both)]
    node.ioctl(DQEVENT, bytes(136))
    assert epolls[1].poll(0) == [(node.fd, select.EPOLLIN)]
    epolls[1].unregister(node.fd)
    assert epolls[1].poll(0) == []
    fails(errno.ENOENT, epolls[1].unregister, node.fd)
    for epoll in epolls:
        epoll.close()


def closed_while_awaited():
    """By another thread: nothing is left of the old file for the next one, which gets its number."""
    epoll, seen, end = select.epoll(), set(), threading.Event()

    def wait():
        while not end.is_set():
            seen.update(event for _, event in epoll.poll(0.01))

    threads = [threading.Thread(target=wait, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(200):
        node, poll = Node(), select.poll()
        poll.register(node.fd, select.POLLIN)
        assert poll.poll(0) == [(node.fd, select.POLLERR)]
        node.start(1)
        epoll.register(node.fd, select.EPOLLIN)
        assert poll.poll(10000) == [(node.fd, select.POLLIN)]
        for memory in node.memory:
            unmap(memory)
        os.close(node.fd)
    end.set()
    for thread in threads:
        thread.join()
    assert len(os.listdir("/proc/self/fd")) == before
    assert select.EPOLLIN in seen, seen


def watched():
    closed_while_awaited()
    node, other = Node(os.O_NONBLOCK), Node(os.O_NONBLOCK)
    node.start()
    node.subscribe()
    told_together(node, other)


def check_gone(fd):
    poll, epoll = select.poll(), select.epoll()
    poll.register(fd, select.POLLIN)
    epoll.register(fd, select.EPOLLIN)
    assert poll.poll(10000) == [(fd, select.POLLERR | select.POLLHUP)]
    assert epoll.poll(10)[0][1] & select.EPOLLHUP
    assert select.select([fd], [], [], 10)[0]


def waiting():
    node, other = Node(os.O_NONBLOCK), Node(os.O_NONBLOCK)
    assert ready(node.fd) == select.POLLERR
    fails(errno.EINVAL, node.buffer, DQBUF)
    node.start()
    for _ in range(5):
        assert ready(node.fd, 10) == select.POLLIN
        node.frame()
    # Another number of the same file, which select() can't take.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3000), hard))
    high, poll = fcntl.fcntl(node.fd, fcntl.F_DUPFD_CLOEXEC, 2500), select.poll()
    poll.register(high, select.POLLIN)
    assert poll.poll(10000) == [(high, select.POLLIN)]
    os.close(high)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    node.ioctl(STREAMOFF, TYPE)
    assert ready(node.fd) == select.POLLERR
    # Who is told of a control is who did not set it.
    node.subscribe()
    fails(errno.EAGAIN, node.ioctl, DQEVENT, bytes(136))
    other.ioctl(S_CTRL, struct.pack("<2I", BRIGHTNESS, 77))
    priority = select.poll()
    priority.register(node.fd, select.POLLPRI)
    assert priority.poll(10000) == [(node.fd, select.POLLPRI)]
    assert ready(node.fd) == select.POLLPRI | select.POLLERR
    event = node.ioctl(DQEVENT, bytes(136))
    assert struct.unpack_from("<I", event)[0] == EVENT_CTRL
    assert ready(node.fd) == ready(other.fd) == select.POLLERR
    assert priority.poll(0) == []
    # Many times, as each is made ready by hand.
    for i in range(50):
        other.ioctl(S_CTRL, struct.pack("<2I", BRIGHTNESS, i))
        assert priority.poll(10000) == [(node.fd, select.POLLPRI)]
        node.ioctl(DQEVENT, bytes(136))
        assert priority.poll(0) == []


def descriptors():
    """Files of this device are the kernel's to duplicate and to close."""
    node = Node()
    assert os.fstat(node.fd).st_rdev == os.stat(DEVICE).st_rdev == os.makedev(81, int(DEVICE[len("/dev/video"):]))
    # As programs of older C libraries ask.
    assert LIBC["__xstat"](1, DEVICE.encode(), ctypes.create_string_buffer(1000)) == 0
    fails(errno.EINVAL, os.read, node.fd, 10)
    fails(errno.EINVAL, os.write, node.fd, b"x")
    fails(errno.ENOTTY, node.ioctl, EXPBUF, bytes(64))
    fails(errno.EINVAL, map_buffer, node.fd, 4096, 0)
    node.start()
    fails(errno.EINVAL, map_buffer, node.fd, 4 * len(node.memory[0]), 0)
    node.frame()
    copy = os.dup(node.fd)
    os.close(node.fd)
    node.fd = copy
    assert ready(node.fd, 10) == select.POLLIN
    first, _ = node.frame()
    child = os.fork()
    if child == 0:
        sequence, _ = node.frame()
        os._exit(sequence <= first)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert node.frame()[0] >= first + 2
    # A mapping is there until it is unmapped.
    node.ioctl(STREAMOFF, TYPE)
    seen = bytes(node.memory[0])
    os.close(node.fd)
    time.sleep(0.2)
    assert bytes(node.memory[0]) == seen and set(seen) != {0}
    for memory in node.memory:
        unmap(memory)
    other = Node()
    other.start()
    os.set_inheritable(other.fd, True)
    other.frame()
    os.execv(sys.executable, [sys.executable, __file__, "inherited", str(other.fd)])


def inherited():
    fd = int(sys.argv[2])
    assert ready(fd, 10) == select.POLLIN
    ioctl(fd, DQBUF, bytearray(BUFFER.pack(0, CAPTURE, *[0] * 6, MMAP, *[0] * 4)))


def signals():
    """A signal ends a wait, and takes no frame with it."""
    node = Node()
    node.start()
    signal.signal(signal.SIGALRM, lambda *_: None)
    interrupted = 0
    for after in itertools.islice(itertools.cycle(range(2, 12)), 5000):
        if interrupted == 50:
            break
        signal.setitimer(signal.ITIMER_REAL, after / 1000)
        try:
            done = node.buffer(DQBUF)
        except InterruptedError:
            interrupted += 1
            continue
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        node.buffer(QBUF, done["index"])
    assert interrupted == 50
    # One that was lost would not be in the queue again.
    seen = set()
    for _ in range(100):
        done = node.buffer(DQBUF)
        node.buffer(QBUF, done["index"])
        seen.add(done["index"])
    assert seen == set(range(len(node.memory))), seen


def threads():
    """One takes frames and another gives buffers back; the stream's end ends the wait of the one."""
    node, taken = Node(), queue.Queue()
    node.start()

    def take():
        try:
            while True:
                taken.put(node.buffer(DQBUF)["index"])
        except OSError as e:
            taken.put(e.errno)

    taker = threading.Thread(target=take)
    taker.start()
    for _ in range(100):
        node.buffer(QBUF, taken.get())
    for _ in node.memory:
        taken.get()
    time.sleep(0.1)
    node.ioctl(STREAMOFF, TYPE)
    assert taken.get() == errno.EINVAL
    taker.join()


def closes():
    """A wait goes on when its file is closed, and ends with a frame; then the device is another's to stream from."""
    node, taken = Node(), queue.Queue()
    node.start(2)
    for _ in range(2):
        node.buffer(DQBUF)
    taker = threading.Thread(target=lambda: taken.put(node.buffer(DQBUF)))
    taker.start()
    time.sleep(0.1)
    copy = os.dup(node.fd)
    os.close(node.fd)
    time.sleep(0.1)
    assert taken.empty()
    ioctl(copy, QBUF, bytearray(BUFFER.pack(1, CAPTURE, *[0] * 6, MMAP, *[0] * 4)))
    os.close(copy)
    assert taken.get(timeout=120)["index"] == 1
    taker.join()
    other = Node()
    for _ in range(1000):
        try:
            other.start()
            break
        except OSError as e:
            assert e.errno == errno.EBUSY, e
            time.sleep(0.01)
    other.frame()


def exhausted():
    """Others' descriptors are used up: that is one error, whatever needs them, which passes, and no end."""
    node, server = Node(), os.getppid()
    limits = resource.prlimit(server, resource.RLIMIT_NOFILE)
    node.ioctl(REQBUFS, struct.pack("<3I8x", 2, CAPTURE, MMAP))
    found = node.buffer(QUERYBUF)

    def leave(free):
        """As many as the server may still open. What it closes after they were listed is free too."""
        used = {int(name) for name in os.listdir(f"/proc/{server}/fd")}
        first = sorted(set(range(len(used) + free + 1)) - used)[free]
        resource.prlimit(server, resource.RLIMIT_NOFILE, (first, limits[1]))

    def opened():
        os.close(Node().fd)

    def mapped():
        unmap(map_buffer(node.fd, found["length"], found["offset"]))

    def asked():
        node.ioctl(QUERYCAP, bytes(104))

    for function in opened, mapped, asked:
        refused = 0
        for free in range(20):
            for _ in range(100):
                leave(free)
                try:
                    function()
                except OSError as e:
                    assert e.errno == errno.ENFILE, (function, free, e)
                    refused += 1
                    break
                time.sleep(0.01)
            else:
                # That many are enough.
                break
        resource.prlimit(server, resource.RLIMIT_NOFILE, limits)
        assert refused > 0, function
        function()


def ends():
    """A wait ends with the session, whoever has closed the file by then: media-backend ends one that unsubscribes."""
    for close in False, True:
        node, taken = Node(), queue.Queue()

        def wait(fd=node.fd):
            try:
                ioctl(fd, DQEVENT, bytearray(136))
            except OSError as e:
                taken.put(e.errno)

        waiter = threading.Thread(target=wait)
        waiter.start()
        time.sleep(0.1)
        copy = os.dup(node.fd)
        if close:
            os.close(node.fd)
        ioctl(copy, UNSUBSCRIBE, bytearray(struct.pack("<3I20x", 5, 0, 0)))
        assert taken.get(timeout=120) == errno.ENODEV
        waiter.join()


def opens():
    """More mappings than there may be at once, which are given back."""
    for _ in range(150):
        nodes = [Node() for _ in range(3)]
        nodes[0].start()
        ready(nodes[0].fd, 10)
        for node in nodes:
            os.close(node.fd)
        for memory in nodes[0].memory:
            unmap(memory)
    print("closed", flush=True)
    time.sleep(1000)


def hang():
    """Stream until the device is gone."""
    node, idle = Node(), Node()
    node.start()
    print(node.frame()[0], flush=True)
    try:
        while True:
            node.frame()
    except OSError as e:
        assert e.errno == errno.ENODEV, e
    check_gone(node.fd)
    check_gone(idle.fd)
    fails(errno.ENODEV, Node)


# ---- what media-backend does, and no camera ----

OUTPUT_MPLANE, CAPTURE_MPLANE, USERPTR = 10, 9, 2
S_EXT_CTRLS, UNSUBSCRIBE, QUERYCAP = code(3, 72, 32), code(1, 91, 32), code(2, 0, 104)


def address(memory):
    return ctypes.addressof((ctypes.c_char * len(memory)).from_buffer(memory))


def queue_planes(node, request, kind, index, planes):
    """Queue, or dequeue into, memory of the program's. The buffer's fields, and the planes."""
    array = bytearray().join(struct.pack("<2IQ48x", 0, len(plane), address(plane)) for plane in planes)
    buffer = BUFFER.pack(index, kind, *[0] * 6, USERPTR, address(array), len(planes), 0, 0)
    fields = BUFFER.unpack(node.ioctl(request, buffer))
    assert fields[9] == address(array)
    return fields, [struct.unpack_from("<2IQ", array, 64 * i) for i in range(len(planes))]


def planes():
    node = Node(os.O_NONBLOCK)
    for kind in OUTPUT_MPLANE, CAPTURE_MPLANE:
        node.ioctl(REQBUFS, struct.pack("<3I8x", 8, kind, USERPTR))
        node.ioctl(STREAMON, struct.pack("<I", kind))
    poll = select.poll()
    poll.register(node.fd, select.POLLIN | select.POLLOUT)
    epoll = select.epoll()
    epoll.register(node.fd, select.EPOLLOUT | select.EPOLLIN)
    # From memory to memory a buffer that is the program's is no room for output.
    assert poll.poll(0) == [] and epoll.poll(0) == []

    data = [bytearray(os.urandom(100000)), bytearray(os.urandom(5000))]
    for index in range(3):
        _, told = queue_planes(node, QBUF, OUTPUT_MPLANE, index, data)
        assert [plane[2] for plane in told] == [address(plane) for plane in data], told
        assert poll.poll(1000) == [(node.fd, select.POLLOUT)] and epoll.poll(0) == [(node.fd, select.EPOLLOUT)]
        sets = select.select([node.fd], [node.fd], [], 0)
        assert sets == ([], [node.fd], []), sets
        fields, told = queue_planes(node, DQBUF, OUTPUT_MPLANE, 0, [bytearray(1)] * 2)
        assert fields[0] == index and fields[7] == sum(data[0]) + sum(data[1])
        assert [plane[2] for plane in told] == [address(plane) for plane in data], told
    for index in 3, 5, 7:
        data = [bytearray(100000), bytearray(5000)]
        queue_planes(node, QBUF, CAPTURE_MPLANE, index, data)
        assert dict(poll.poll(1000))[node.fd] & select.POLLIN and dict(epoll.poll(0))[node.fd]
        fails(errno.EINVAL, queue_planes, node, DQBUF, CAPTURE_MPLANE, 0, [bytearray(1)])
        queue_planes(node, DQBUF, CAPTURE_MPLANE, 0, [bytearray(1)] * 2)
        assert [set(plane) for plane in data] == [{index}] * 2
    # That was the last, which is there to be read, and nothing more comes.
    assert dict(poll.poll(0))[node.fd] & select.POLLIN
    fails(errno.EPIPE, queue_planes, node, DQBUF, CAPTURE_MPLANE, 0, [bytearray(1)] * 2)
    fails(errno.EINVAL, queue_planes, node, QBUF, CAPTURE_MPLANE, 0, [bytearray(1)] * 9)
    fails(errno.EINVAL, queue_planes, node, QBUF, 1000, 0, [])
    fails(errno.EFAULT, node.ioctl, QBUF, BUFFER.pack(0, CAPTURE_MPLANE, *[0] * 6, USERPTR, 4096, 2, 0, 0))
    fails(errno.EFAULT, ioctl, node.fd, QBUF, 4096)


def controls():
    node = Node()
    card = node.ioctl(QUERYCAP, bytes(104))[16:48]
    assert card == b"what fills the field to its end\0", card
    memory = [bytearray(os.urandom(size)) for size in (1, 100000, 20)]
    before = [bytes(data) for data in memory]
    array = bytearray().join([struct.pack("<3IQ", 1, 0, 0, 41)] +
                             [struct.pack("<3IQ", 2, len(data), 0, address(data)) for data in memory])
    one = struct.pack("<5I4xQ", 0, 4, 77, 0, 0, address(array))
    assert node.ioctl(S_EXT_CTRLS, one) == one
    assert struct.unpack_from("<3IQ", array)[3] == 42
    assert [struct.unpack_from("<3IQ", array, 20 * i)[3] for i in (1, 2, 3)] == [address(data) for data in memory]
    assert [bytes(255 - byte for byte in data) for data in memory] == before
    # Which one it was comes with the error.
    array = bytearray(struct.pack("<3IQ", 1, 0, 0, 1) + struct.pack("<3IQ", 13, 0, 0, 1))
    one = bytearray(struct.pack("<5I4xQ", 0, 2, 77, 0, 0, address(array)))
    fails(errno.EINVAL, ioctl, node.fd, S_EXT_CTRLS, one)
    assert struct.unpack_from("<3I", one)[2] == 1
    for count, where, error in (1, 4096, errno.EFAULT), (1025, address(array), errno.EINVAL), (0xffffffff, 0, errno.EINVAL):
        fails(error, node.ioctl, S_EXT_CTRLS, struct.pack("<5I4xQ", 0, count, 0, 0, 0, where))
    array = bytearray(struct.pack("<3IQ", 1, 0xffffffff, 0, address(array)))
    fails(errno.ENOMEM, node.ioctl, S_EXT_CTRLS, struct.pack("<5I4xQ", 0, 1, 0, 0, 0, address(array)))
    fails(errno.ENOTTY, node.ioctl, code(3, 254, 4), bytes(4))


def events():
    """The oldest give way; at the session's end its file is at an end, and others are not."""
    node, other = Node(os.O_NONBLOCK), Node()
    for i in range(70):
        node.ioctl(SUBSCRIBE, struct.pack("<3I20x", 5, i, 0))
    for i in range(6, 70):
        event = node.ioctl(DQEVENT, bytes(136))
        assert struct.unpack_from("<I", event)[0] == 5
        assert (struct.unpack_from("<I", event, 72)[0], struct.unpack_from("<I", event, 96)[0]) == (69 - i, i)
    fails(errno.EAGAIN, node.ioctl, DQEVENT, bytes(136))
    node.ioctl(UNSUBSCRIBE, struct.pack("<3I20x", 5, 0, 0))
    check_gone(node.fd)
    fails(errno.ENODEV, node.ioctl, DQEVENT, bytes(136))
    other.ioctl(QUERYCAP, bytes(104))
    Node().ioctl(QUERYCAP, bytes(104))


if __name__ == "__main__":
    globals()[sys.argv[1]]()
