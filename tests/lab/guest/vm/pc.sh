# SPDX-License-Identifier: BSD-2-Clause
# What the machine has beside its devices: random numbers, and a clock that is right at boot and after a pause.
. /tap.sh
rtc=/sys/class/rtc/rtc0

# near SECONDS: the host's time, give or take two seconds.
near() {
        host date
        difference=$(($1 - answer))
        echo "$1 here, $answer on the host"
        [ $difference -ge -2 ] && [ $difference -le 2 ]
}

alarms() {
        awk '/rtc0/ { print $2 + $3 }' /proc/interrupts
}

alarm() {
        before=$(alarms)
        echo +2 >$rtc/wakealarm
        sleep 5
        echo "interrupts: $before, $(alarms); left: $(cat $rtc/wakealarm)"
        [ -z "$(cat $rtc/wakealarm)" ] && [ "$(alarms)" -gt "$before" ]
}

check "the time is right at boot" near "$(date +%s)"
if [ -z "$short" ]; then
        check "random numbers are the host's" grep -q '^virtio_rng' /sys/class/misc/hw_random/rng_current
        check "there are some" sh -c '[ "$(head -c 32 /dev/hwrng | wc -c)" = 32 ]'
        check "Linux has the clock" grep -q '^rtc_cmos' $rtc/name
        check "what its registers say" near "$(cat $rtc/since_epoch)"
        check "its alarm" alarm
        host pages
        # Linux looks for lock-ups where a processor is busy.
        echo 1 >/proc/sys/kernel/watchdog_thresh
        (while :; do :; done) &
        busy=$!
        (while :; do :; done) &
        busy="$busy $!"
        sleep 1
        host pause 10
        check "the time is right after a pause" near "$(date +%s)"
        check "and by the clock" near "$(cat $rtc/since_epoch)"
        sleep 4
        kill $busy
        refuse "which was no lock-up" sh -c 'dmesg | grep -i "lockup\|stall"'
fi
