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

# A client of KMS. It has the display until it ends.
mkfifo /tmp/steps /tmp/answers
kms /tmp/shown /tmp/cursor </tmp/steps >/tmp/answers &
exec 3>/tmp/steps 4</tmp/answers

# step NAME STEP...: a test that the client has taken the step, and that the window shows what it then has drawn.
step() {
        name=$1
        shift
        echo "$*" >&3
        read -r answer <&4
        [ "$answer" != done ] || host picture "$(sum /tmp/shown)"
        check "the window shows $name" expect yes "$answer"
}

expect() {
        echo "$2"
        [ "$2" = "$1" ]
}

step "a mode that is set" mode 1024 640 0 0
step "the page that is flipped to" flip
step "the first page again, drawn anew" flip
step "a part that is changed and marked" change 100 50 333 201
step "one pixel that is changed, the first" change 0 0 1 1
step "one pixel that is changed, the last" change 1023 639 1 1
step "another part of the buffer" mode 1024 640 37 21
step "what is changed of that part" change 0 0 60 700
step "the same part of the other page" flip
step "it with a cursor" cursor 600 300 5 9
host cursor 600 300 5 9 "$(sum /tmp/cursor)"
check "which the window is given" [ "$answer" = yes ]
step "it with the cursor elsewhere" move 20 10
host cursor 20 10 5 9 "$(sum /tmp/cursor)"
check "of which the window is told" [ "$answer" = yes ]
step "it with another cursor" cursor 1000 630 63 0
host cursor 1000 630 63 0 "$(sum /tmp/cursor)"
check "which the window is given too" [ "$answer" = yes ]
step "a smaller mode" mode 640 480 123 45
step "another page in that mode" flip
step "what is changed in that mode" change 200 100 50 60
step "the first mode again" mode 1024 640 0 0
exec 3>&-
wait
host picture "$(sum /tmp/picture)"
check "at its end the window shows the frame buffer again" [ "$answer" = yes ]
host cursor hidden
check "and no cursor" [ "$answer" = yes ]
