. /tap.sh
check "mount" mount -t virtiofs -o dax=always share /mnt
check "dax" exercise dax /mnt/hello
echo READY >/dev/console
sleep 1
host qmp
acpid -f -c /acpi -e /dev/input/event0 >/dev/null 2>&1 &
ls /dev/input; cat /proc/interrupts
sleep 1
