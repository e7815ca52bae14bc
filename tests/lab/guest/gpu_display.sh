# SPDX-License-Identifier: BSD-2-Clause
# What Linux draws on a display of a vhost-user back-end, and the front-end's window then shows.
. /tap.sh
fb=/sys/class/graphics/fb0
check "the display has a frame buffer" [ -e /dev/fb0 ]
check "of the window's size" [ "$(cat $fb/modes)" = "U:1024x640p-0" ]
check "with the EDID that the window has" grep -q "QEMU Monitor" /sys/class/drm/card*-Virtual-1/edid
# No text in between.
for console in /sys/class/vtconsole/*; do
        grep -q "frame buffer" "$console/name" && echo 0 >"$console/bind"
done
for text in "a vhost-user display" "another picture"; do
        # Of four bytes for each pixel, the last is of no colour.
        yes "$text" | tr -d '\n' | fold -w 3 | tr '\n' '\0' | head -c "$(($(cat $fb/stride) * 640))" >/tmp/picture
        cat /tmp/picture >/dev/fb0
        host picture "$(sum /tmp/picture)"
        check "the window shows $text" [ "$answer" = yes ]
done
dd if=/dev/zero of=/dev/fb0 bs=4096 seek=100 count=20 2>/dev/null
dd if=/dev/zero of=/tmp/picture bs=4096 seek=100 count=20 conv=notrunc 2>/dev/null
host picture "$(sum /tmp/picture)"
check "and a part of it that changes" [ "$answer" = yes ]
