# SPDX-License-Identifier: BSD-2-Clause
# What runs a machine within the outer machine, and is the host to it: sourced by /test.sh there.
. /tap.sh
# Without it, nothing of ours has run: see tools/check-vm.
echo "# the outer machine runs"
mkdir -p /lib64 /dev/pts /dev/shm /run
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mkfifo /tmp/from-vmm
exec 4<>/tmp/from-vmm
carriage_return=$(printf '\r')
cmdline="console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off"
while IFS= read -r line; do
        echo "$line" >>/tmp/vmm.log
        echo "# vmm: $line"
done <&4 &

# run OPTION...: the inner machine, by "oriel run". Its exit status is $status, and what it says on stderr is in
# /tmp/vmm.log.
run() {
        machine oriel run --kernel "${kernel-/inner/vmlinux}" --initrd /inner/initrd --cmdline "$cmdline $append" "$@"
}

# run_qemu OPTION...: the same by QEMU, on the smallest of its machines, or on another, $qemu_machine, with $qemu_memory MiB.
run_qemu() {
        prepare_qemu
        machine chroot /qemu /usr/bin/qemu-system-x86_64 \
                -M "${qemu_machine-microvm,acpi=off,pit=off,pic=off,rtc=on},accel=kvm,memory-backend=ram" \
                -object memory-backend-memfd,id=ram,size=${qemu_memory-256}M,share=on -m "${qemu_memory-256}" \
                -cpu host -nodefaults -display none -serial stdio -no-reboot \
                -kernel /inner/vmlinux -initrd /inner/initrd -append "$cmdline reboot=t $append" "$@"
}

# What QEMU is to find in its root; sockets for it are in /qemu/tmp.
prepare_qemu() {
        [ ! -e /qemu/inner ] || return 0
        mkdir /qemu/inner
        mount --bind /inner /qemu/inner
        mount --bind /dev /qemu/dev
        mount -t proc proc /qemu/proc
        mount -t tmpfs tmpfs /qemu/tmp
}

machine() {
        # A new one: in the last there may be an answer that its guest did not wait for.
        rm -f /tmp/to-guest
        mkfifo /tmp/to-guest
        exec 3<>/tmp/to-guest
        begun=$(now)
        : >/tmp/heard
        watch &
        watcher=$!
        {
                "$@" <&3 2>&4 3>&- 4>&- &
                echo $! >/tmp/vmm.pid
                wait $!
                echo "# status $?"
        } | relay
        kill $watcher
        # What it said last may still be on its way.
        sleep 0.2
        status=$(cat /tmp/status)
        # Ended by a signal other than ours: the kernel may say why.
        [ "$status" -lt 128 ] || [ "$status" = 137 ] || dmesg | grep -v kvm: | tail -n 3 | sed 's/^/# kernel: /'
}

# kvm_count NAME...: the sum of KVM's statistics of these names.
kvm_count() {
        sum=0
        for name in "$@"; do
                sum=$((sum + $(cat "/sys/kernel/debug/kvm/$name" 2>/dev/null || echo 0)))
        done
        echo $sum
}

# A guest that says nothing for two minutes hangs: say once what its machine and the back-ends do. It changes nothing else.
#
# QEMU's interpreted SVM now and then makes a vcpu spin: it leaves guest mode ten thousands of times per second, each time
# with an event to be injected anew (req_event), and for no page, port, interrupt, halt or signal. Whatever a device or a
# VMM does wrong, a vcpu would wait (halt) or meet a page, a port or a register; so this is said in words of its own.
watch() {
        until [ -n "$(find /tmp/heard -mmin +1)" ]; do
                sleep 10
        done
        mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
        echo "# nothing was heard for two minutes"
        exits=$(kvm_count exits) events=$(kvm_count req_event) reasons=$(kvm_count $KVM_REASONS)
        for task in $(for pid in $(pidof oriel oriel-fs); do echo "/proc/$pid/task/"*; done); do
                echo "# ${task#/proc/} $(cut -d ' ' -f 2,3,14,15 "$task/stat") $(cat "$task/syscall")"
                sed 's/^/#     /' "$task/stack"
        done
        sleep 5
        exits=$(($(kvm_count exits) - exits)) events=$(($(kvm_count req_event) - events))
        reasons=$(($(kvm_count $KVM_REASONS) - reasons))
        echo "# in 5 s: $exits exits, $events events, $reasons for a reason"
        if [ $exits -gt 10000 ] && [ $events -gt $((exits / 10 * 9)) ] && [ $reasons -lt $((exits / 100)) ]; then
                echo "# the interpreted machine spins"
        fi
        for round in 1 2; do
                grep -r -v '^0$' /sys/kernel/debug/kvm --include='[a-z]*' --exclude='*hist*' 2>/dev/null |
                        sed 's,^/sys/kernel/debug/kvm/,# ,'
                sleep 1
        done
}
KVM_REASONS="pf_taken io_exits mmio_exits halt_exits irq_exits irq_window_exits nmi_window_exits signal_exits insn_emulation hypercalls"

# Show what the guest prints, and do what it asks for.
relay() {
        echo none >/tmp/status
        while IFS= read -r line; do
                line=${line%"$carriage_return"}
                : >/tmp/heard
                case $line in
                "host: "*)
                        set -- ${line#host: }
                        echo "# asked: $*"
                        action=host_$(echo "$1" | tr - _)
                        shift
                        answer=$($action "$@")
                        echo "${answer:-done}" >&3
                        ;;
                "# status "*) echo "${line#* status }" >/tmp/status ;;
                "# end") echo "# the guest has come to its end" ;;
                *) echo "$line" ;;
                esac
        done
}

# Hundredths of a second.
now() {
        read -r up rest </proc/uptime
        echo "${up%.*}${up#*.}"
}

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
        tries=$(($1 * 20))
        shift
        until "$@"; do
                tries=$((tries - 1))
                [ $tries -gt 0 ] || return 1
                sleep 0.05
        done
}

# ---- what a guest may ask for; names are relative to /share ----

at() {
        case $1 in
        /*) echo "$1" ;;
        *) echo "/share/$1" ;;
        esac
}

host_tree() {
        tree "$(at "$1")"
}

host_sum() {
        sum "$(at "$1")"
}

host_size() {
        stat -c %s "$(at "$1")"
}

host_bytes() {
        tail -c +$(($2 + 1)) "$(at "$1")" | head -c "$3"
}

host_put() {
        printf %s "$3" | dd of="$(at "$1")" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

host_truncate() {
        truncate -s "$2" "$(at "$1")"
}

# Does the host see what the guest has stored, without being told of it?
host_soon() {
        if wait_for 4 holds "$@"; then echo yes; else echo no; fi
}

holds() {
        [ "$(host_bytes "$1" "$2" ${#3})" = "$3" ]
}

host_append() {
        printf %s "$2" >>"$(at "$1")"
}

host_facts() {
        facts "$(at "$1")"
}

host_tar() {
        tar -cf "$(at "$2")" -C "$(at "$1")" .
}

host_untar() {
        mkdir "$(at "$2")"
        tar -xpf "$(at "$1")" -C "$(at "$2")"
}

host_xattr() {
        share xattr "$(at "$1")" "$2"
}

# Without waiting; it is kept until it is released.
host_lock() {
        rm -f /tmp/held
        share hold "$(at "$2")" "$1" >/tmp/held &
        echo $! >/tmp/holder
        wait_for 5 grep -q held /tmp/held
}

host_refused() {
        if share lock "$(at "$2")" "$1" >/dev/null; then echo no; else echo yes; fi
}

# Some time later.
host_release() {
        { sleep 0.5; rm /tmp/held; kill "$(cat /tmp/holder)"; } >/dev/null &
}

host_released() {
        if [ -e /tmp/held ]; then echo no; else echo yes; fi
}

# The back-end whose arguments have a word, or all of them.
back_ends() {
        for pid in $(pidof oriel-fs oriel-pmem); do
                ! tr '\0' '\n' <"/proc/$pid/cmdline" | grep -q -- "${1-}" || echo "$pid"
        done
}

host_kill() {
        kill -9 $(back_ends "${1-}")
}

host_boots() {
        boots=$(($(cat /tmp/boots 2>/dev/null || echo 0) + 1))
        echo $boots | tee /tmp/boots
}

# The guest's first process runs: how long that took.
host_init() {
        echo $(($(now) - begun)) >/tmp/took
}

host_end() {
        kill -9 "$(cat /tmp/vmm.pid)"
}

# How much memory the VMM, all its processes, has besides the guest's, which is a memfd, and its back-ends, in KiB: resident, and of that
# without the files of kernel and initramfs. Where processes share a page, each has a part of it.
host_memory() {
        memory_of $(pidof oriel || cat /tmp/vmm.pid) >/tmp/memory
        memory_of $(pidof oriel-fs) >/tmp/memory-of-back-ends
}

memory_of() {
        for pid in "$@"; do
                cat "/proc/$pid/smaps"
        done | awk '/^[0-9a-f]+-[0-9a-f]+ / { ram = /memfd:(oriel-memory|memory-backend-memfd)/; file = / \/(qemu\/)?inner\// }
                !ram && /^Pss:/ { all += $2 }
                !ram && !file && /^Pss:/ { own += $2 }
                END { print all + 0, own + 0 }'
}
