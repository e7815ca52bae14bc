# SPDX-License-Identifier: BSD-2-Clause
# oriel-media as a proxy of vivid's nodes, which are cameras and outputs, with one plane and with several: what v4l-utils
# find by "oriel v4l2" is what they find at the node itself. Without no_error_inj a control unplugs the device, which
# v4l2-compliance presses where it does not know the driver's name. With compliance=on that is run, too.
. /tap.sh
export TMPDIR=/tmp
insmod /vivid.ko n_devs=2 node_types=0x101,0x101 num_inputs=1,1 input_types=0,0 multiplanar=1,2 no_error_inj=1

# by COMMAND...: it sees the proxy as /dev/video9.
by() {
        timeout 300 oriel v4l2 --connect /tmp/socket --device /dev/video9 -- "$@"
}

# What the node gives, by the kernel's trace: one line for each buffer, with index, sequence and timestamp, and one for each
# end of a stream.
mount -t tracefs tracefs /sys/kernel/tracing
(
        cd /sys/kernel/tracing
        echo 8192 >buffer_size_kb
        # One for all CPUs.
        echo mono >trace_clock
        echo 1 >events/v4l2/v4l2_dqbuf/enable
        # VIDIOC_STREAMOFF, VIDIOC_REQBUFS.
        echo 'cmd == 0x40045613 || cmd == 0xc0145608' >events/syscalls/sys_enter_ioctl/filter
        echo 1 >events/syscalls/sys_enter_ioctl/enable
)
given() {
        sed -nE -e 's/.* v4l2_dqbuf: .* index = ([0-9]+), .* timestamp = ([0-9]+)[0-9]{3}, .* sequence = ([0-9]+).*/\1 \3 \2/p' \
                -e 's/.* sys_ioctl\(.*/end/p' /sys/kernel/tracing/trace
}

# got FILE: which buffers a program says that it has got, in the same words.
got() {
        sed -nE -e 's/.* Buffer: ([0-9]+) Sequence: ([0-9]+) .* Timestamp: ([0-9]+)\.([0-9]+)s.*/\1 \2 \3\4/p' \
                -e 's/.*dqbuf: *([0-9]+) seq: *([0-9]+) .* ts: ([0-9]+)\.([0-9]+) .*/\1 \2 \3\4/p' "$1"
}

# as_given FILE: it has got them as the node gave them, in order, each once, none with another number, and none is missing
# but at the end of a stream: those the program did not wait for.
as_given() {
        got "$1" >/tmp/got
        given >/tmp/given
        awk 'BEGIN { i = n = 0 }
             NR == FNR { got[n++] = $0; next }
             $0 == "end" { missed = ""; next }
             i < n && $0 == got[i] {
                     if (missed) { print "not got:" missed; wrong = 1 }
                     missed = ""
                     i++
                     next
             }
             { missed = missed " (" $0 ")" }
             END {
                     print i " of " n " as they were given"
                     if (i < n) print "not given: " got[i]
                     exit wrong || n == 0 || i < n
             }' /tmp/got /tmp/given
}

# wrong FILE: what v4l2-compliance has found wrong, but for sequence numbers that the node itself gives so, which as_given
# has looked at. vivid counts by the clock: it leaves numbers out where it has no buffer, or no time, and gives one twice
# where drawing took it into the next jiffy, as it waits too short a time then. v4l2-compliance passes over both if the
# driver's name is vivid, for that reason, which it is at the node only. The second one is a failure of three lines.
wrong() {
        grep -E 'fail: |warn: ' "$1" | sed 's/^.*\(fail: \|warn: \)/\1/' | awk '
                /^warn: .*: got sequence number/ { next }
                /^fail: .*: \(int\)g_sequence\(\) < seq\.last_seq \+ 1$/ { follows = 2; next }
                follows == 2 && /: buf\.check\(q, last_seq\)$/ { follows = 1; next }
                follows == 1 && /: captureBufs\(/ { follows = 0; next }
                { follows = 0; print }'
}

stream() {
        by v4l2-ctl -d /dev/video9 "$@" --stream-count=20 --verbose >/tmp/proxied 2>&1 || { cat /tmp/proxied; return 1; }
}

compare() {
        timeout 300 v4l2-compliance -d /dev/video$node -s10 >/tmp/itself 2>&1
        echo >/sys/kernel/tracing/trace
        by v4l2-compliance -v -d /dev/video9 -s10 >/tmp/proxied 2>&1
        grep -h '^Total' /tmp/itself /tmp/proxied | sed 's/^/# /'
        # An empty list of patterns would be every pattern.
        { echo none; wrong /tmp/itself; } >/tmp/known
        wrong /tmp/proxied | grep -vxFf /tmp/known >/tmp/more
        check "video$node: v4l2-compliance comes to its end" grep -q '^Total' /tmp/proxied
        check "video$node: and gets buffers as the node gives them" as_given /tmp/proxied
        check "video$node: and finds nothing wrong that is right at the node itself" sh -c 'cat /tmp/more; [ ! -s /tmp/more ]'
}

for node in 0 1 2 3; do
        oriel-media --log-level=info --socket-path /tmp/socket --device /dev/video$node >/tmp/proxy.log 2>&1 &
        proxy=$!
        while [ ! -S /tmp/socket ]; do sleep 0.1; done
        kind=
        [ $((node % 2)) = 0 ] || kind=-out
        echo >/sys/kernel/tracing/trace
        check "video$node: buffers of the device" stream --stream$kind-mmap
        check "video$node: as the node gives them" as_given /tmp/proxied
        check "video$node: none of which is copied" sh -c '! grep copied /tmp/proxy.log'
        check "video$node: memory of the program" stream --stream$kind-user
        [ "$compliance" != on ] || compare
        kill $proxy
        wait $proxy
        rm -f /tmp/socket
done

# A camera with one plane.
v4l2-ctl -d /dev/video0 -p 30 >/tmp/said 2>&1
check "oriel bench media: the node and the proxy" sh -c \
        'oriel bench media --device /dev/video0 --quick >/tmp/bench && [ "$(grep -cE "^(node|proxy) " /tmp/bench)" = 2 ]'
sed 's/^/# /' /tmp/bench
