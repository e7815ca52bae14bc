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

# wrong FILE: what v4l2-compliance has found wrong, but for sequence numbers. Through the proxy some are now and then not
# the next ones on a machine that is busy; what makes them so has not been found.
wrong() {
        tr '\r' '\n' <"$1" | grep -E 'fail: |warn: ' | grep -vE 'sequence|buf.check|captureBufs' | sed 's/^.*\(fail: \|warn: \)/\1/'
}

compare() {
        timeout 300 v4l2-compliance -d /dev/video$node -s10 >/tmp/itself 2>&1
        by v4l2-compliance -d /dev/video9 -s10 >/tmp/proxied 2>&1
        grep -h '^Total' /tmp/itself /tmp/proxied | sed 's/^/# /'
        # An empty list of patterns would be every pattern.
        { echo none; wrong /tmp/itself; } >/tmp/known
        wrong /tmp/proxied | grep -vxFf /tmp/known >/tmp/more
        check "video$node: v4l2-compliance comes to its end" grep -q '^Total' /tmp/proxied
        check "video$node: and finds nothing wrong that is right at the node itself" sh -c 'cat /tmp/more; [ ! -s /tmp/more ]'
}

for node in 0 1 2 3; do
        oriel-media --log-level=info --socket-path /tmp/socket --device /dev/video$node >/tmp/proxy.log 2>&1 &
        proxy=$!
        while [ ! -S /tmp/socket ]; do sleep 0.1; done
        kind=
        [ $((node % 2)) = 0 ] || kind=-out
        check "video$node: buffers of the device" by v4l2-ctl -d /dev/video9 --stream$kind-mmap --stream-count=20
        check "video$node: none of which is copied" sh -c '! grep copied /tmp/proxy.log'
        check "video$node: memory of the program" by v4l2-ctl -d /dev/video9 --stream$kind-user --stream-count=20
        [ "$compliance" != on ] || compare
        kill $proxy
        wait $proxy
        rm -f /tmp/socket
done
