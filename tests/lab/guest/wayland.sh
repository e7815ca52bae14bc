# SPDX-License-Identifier: BSD-2-Clause
# A program for a compositor on the host, by Linux's own driver for virtio-gpu.
. /tap.sh
check "a node to render by" [ -c /dev/dri/renderD128 ]
mkfifo /tmp/end
wayland-client /dev/dri/renderD128 </tmp/end >/tmp/lines 2>&1 &
exec 3>/tmp/end
# The last thing that it gets, or its end.
wait_for_clipboard() {
        for i in $(seq 600); do
                grep -q ^clipboard /tmp/lines && return
                kill -0 $! 2>/dev/null || break
                sleep 0.1
        done
        cat /tmp/lines
        return 1
}
has() {
        grep -q "$@" /tmp/lines || { cat /tmp/lines; return 1; }
}
check "the clipboard has come back" wait_for_clipboard
check "as it was copied" has -x "clipboard: what was copied"
check "a window is shown" has -x "shown 640 x 480"
check "the keyboard's map is a file that was received" has "^keymap of [1-9][0-9]*: xkb_keymap {$"
host pattern
check "the compositor shows what was drawn through the window" [ "$answer" = yes ]
exec 3>&-
check "it ends" wait $!
host empty
check "and its window with it" [ "$answer" = yes ]
