# SPDX-License-Identifier: BSD-2-Clause
# What is expected of a virtio-fs mount beside exercise.sh, in parts: each is given the mount, and the host's name of the
# same folder, which is empty or ends with a slash. Sourced by the tests.

# The POSIX cases of some groups; the test's other side compares those that fail with its list (guest-posix.txt). Left out
# are half of them, which ask every call about the same ways of looking a path up, and the largest folders: a CPU that is
# interpreted takes minutes.
# posix_cases WAY MOUNT
posix_cases() {
        way=$1 folder=$2/posix
        mkdir "$folder"
        for group in access append at chmod chown copy fallocate flock large link lock mkdir mmap open owner rename. rmdir \
                        set-id sparse statvfs sticky symlink times tmpfile truncate unlink utimens write xattr; do
                exercise-posix --only=$group "$folder" >/tmp/posix
                grep -v '^ok \|^1\.\.' /tmp/posix | sed "s/^/posix $way: /"
                [ "1..$(grep -c '^ok \|^not ok ' /tmp/posix)" = "$(head -n 1 /tmp/posix)" ] || echo "posix $way: not ok 0 - $group"
        done
        check "POSIX, $way: nothing is left" rmdir "$folder"
}

# random_operations MOUNT HOST OPERATIONS
random_operations() {
        for size in 65536 6000000; do
                check "random operations, up to $size bytes" exercise-fsx --seed=$size --operations="$3" --size=$size "$1/fsx-$size"
                same "the host has the same" sum "$2fsx-$size" -- sum "$1/fsx-$size"
        done
        check "random operations without mappings" exercise-fsx --operations="$3" --size=1000000 --no-mmap "$1/fsx-calls"
        same "the host has the same" sum "$2fsx-calls" -- sum "$1/fsx-calls"
}

# Names, sizes and contents change while a file is mapped.
while_mapped() {
        check "renamed and unlinked while mapped" share moved "$1/moved" "$1/moved-2" "soon ${2}moved-2 0 first.second."
        refuse "the name is gone" stat "$1/moved-2"
        check "another renamed over it while mapped" share replaced "$1/replaced" "$1/replaced-2" \
                "soon ${2}replaced 0 second.fourth."
        check "that one unlinked" rm "$1/replaced"
        check "truncated and extended while mapped" exercise shrink "$1/shrunk-2"
        same "shrunk: the host has the same" sum "${2}shrunk-2" -- sum "$1/shrunk-2"
        check "a file that grows under its readers" exercise grow "$1/grown-2"
        same "grown: the host has the same" sum "${2}grown-2" -- sum "$1/grown-2"
        printf xxxxx >"$1/growing"
        check "the host makes it longer while mapped" share grown "$1/growing" 10 end-1 "append ${2}growing end-1"
        check "and once more" share grown "$1/growing" 15 end-2 "append ${2}growing end-2"
}

# What the host writes shows in a mapping, where there is a window.
through_a_window() {
        head -c 8192 /dev/zero | tr '\0' x >"$1/changing"
        check "the host writes to it while mapped" exercise watch "$1/changing" 0 xxxxx hosts "put ${2}changing 0 hosts"
        same "both have that" sum "${2}changing" -- sum "$1/changing"
}

# Both sides pack and unpack.
archives() {
        (cd "$1/tree" && ln -s 0 link && ln 0/0 hard-link && mkfifo fifo && chmod 4751 1/1 && chmod 2750 1 &&
                chown 7:8 2/2 && touch -h -d '2001-02-03 04:05:06' 3/3 fifo && mkdir empty)
        same "what a tree is made of" facts "${2}tree" -- facts "$1/tree"
        check "tar packs" tar -cf "$1/by-guest.tar" -C "$1/tree" .
        host untar "${2}by-guest.tar" "${2}by-host"
        same "what the host has unpacked" facts "${2}by-host" -- facts "$1/tree"
        same "its contents" tree "${2}by-host" -- tree "$1/tree"
        host tar "${2}tree" "${2}by-host.tar"
        mkdir "$1/by-guest"
        check "tar unpacks" tar -xpf "$1/by-host.tar" -C "$1/by-guest"
        same "what the guest has unpacked" facts "${2}by-guest" -- facts "$1/tree"
        same "its contents" tree "${2}by-guest" -- tree "$1/tree"
        check "all is removed" rm -r "$1/by-host" "$1/by-guest" "$1/by-host.tar" "$1/by-guest.tar"
}

# Needs --xattr.
attributes() {
        echo text >"$1/attributes"
        check "an extended attribute" share set-xattr "$1/attributes" user.lab some-value
        same "is on the host" xattr "${2}attributes" user.lab -- share xattr "$1/attributes" user.lab
}

# Needs --posix-acl.
access_lists() {
        mkdir "$1/lists"
        echo text >"$1/lists/file"
        chmod 600 "$1/lists/file"
        refuse "without an access list a user may not read" share may 1000 "$1/lists/file"
        check "an access list" share set-acl "$1/lists/file" access 1000 4
        check "the user may read" share may 1000 "$1/lists/file"
        refuse "another may not" share may 1001 "$1/lists/file"
        same "it is on the host" xattr "${2}lists/file" system.posix_acl_access -- \
                share xattr "$1/lists/file" system.posix_acl_access
        check "a default list" share set-acl "$1/lists" default 1000 6
        (umask 077 && echo text >"$1/lists/new" && mkdir "$1/lists/folder")
        same "a new file has it" xattr "${2}lists/new" system.posix_acl_access -- \
                share xattr "$1/lists/new" system.posix_acl_access
        same "a new folder, too" xattr "${2}lists/folder" system.posix_acl_default -- \
                share xattr "$1/lists/folder" system.posix_acl_default
        check "the group's bits are the list's mask" [ "$(stat -c %a "$1/lists/new")" = 660 ]
}

# Needs --posix-lock and --flock.
locks() {
        touch "$1/lock"
        for kind in posix flock; do
                check "$kind: what the guest has the host can't have" share holding "$1/lock" $kind "refused $kind ${2}lock"
                check "$kind: it was given back" share lock "$1/lock" $kind
                host lock $kind "${2}lock"
                refuse "$kind: what the host has the guest can't have" share lock "$1/lock" $kind
                check "$kind: it is waited for" share await "$1/lock" $kind "release $kind"
        done
        mkdir "$1/locks"
        check "whose a lock is" exercise-posix --only=lock.get "$1/locks"
        check "a deadlock is found out" exercise-posix --only=lock.deadlock "$1/locks"
        check "nothing is left of that" rmdir "$1/locks"
}

# A file system of the host's is mounted at "below", with a "file" in it.
submount() {
        check "what is mounted below has a device number of its own" [ "$(stat -c %d "$1/below/.")" != "$(stat -c %d "$1")" ]
        same "its contents" sum "${2}below/file" -- sum "$1/below/file"
        echo written >"$1/below/new"
        same "what is written there" sum "${2}below/new" -- sum "$1/below/new"
        refuse "a link from one to the other" ln "$1/below/file" "$1/linked"
        check "it is a mount" grep -q " $1/below virtiofs " /proc/mounts
        check "which can be unmounted" umount "$1/below"
        check "and comes back" [ "$(cat "$1/below/new")" = written ]
        check "unmount it again" umount "$1/below"
}

# A file "large", that is larger than the window, is read, copied, and written over in place.
larger_than_the_window() {
        same "a file larger than the window" sum "${2}large" -- sum "$1/large"
        check "is copied" dd if="$1/large" of="$1/large-2" bs=64k
        same "the copy" sum "${2}large-2" -- sum "$1/large-2"
        check "is written over" sh -c "tr '\000-\377' '\001-\377\000' <$1/large | dd of=$1/large-2 bs=64k conv=notrunc,fsync"
        same "what was written" sum "${2}large-2" -- sum "$1/large-2"
        refuse "which is something else" cmp -s "$1/large" "$1/large-2"
        rm "$1/large" "$1/large-2"
}

# git from memory, for the same reason as stress-ng below, and its clone of "repository" in the mount.
# clone MOUNT HOST
clone() {
        tree=/tmp/git
        cp -a "$1/git" $tree
        cp /bin/busybox $tree/bin/sh
        mount --bind "$1" $tree/data
        mount -t devtmpfs dev $tree/dev
        check "git clones" chroot $tree /usr/bin/git clone -q /data/repository /data/clone
        chroot $tree /usr/bin/git -C /data/clone status --porcelain >/tmp/status 2>&1
        check "nothing is changed in it" [ ! -s /tmp/status ]
        echo more >>"$1/clone/1/1"
        chroot $tree /usr/bin/git -C /data/clone status --porcelain >/tmp/status 2>&1
        check "git sees what is changed" [ "$(cat /tmp/status)" = " M 1/1" ]
        same "the clone on the host" tree "${2}clone" -- tree "$1/clone"
        umount $tree/dev $tree/data
        rm -r $tree "$1/clone"
}

# stress-ng from memory, on a folder of the mount; it is in a folder of its name with all that it needs. From a window that
# does not hold all of that it can't be run where QEMU interprets the machine (see "calls" in share.c).
# stress MOUNT SECONDS STRESSOR...
stress() {
        mount=$1 seconds=$2 tree=/tmp/stress-ng one_each=
        shift 2
        for name in "$@"; do
                one_each="$one_each --$name 1"
        done
        [ -d $tree ] || cp -a "$mount/stress-ng" $tree
        mkdir -p "$mount/data"
        mount --bind "$mount/data" $tree/data
        mount -t proc proc $tree/proc
        mount -t sysfs sysfs $tree/sys
        mount -t devtmpfs dev $tree/dev
        check "stress-ng: $*" chroot $tree /usr/bin/stress-ng --temp-path /data --verify --mmap-file --timeout "${seconds}s" $one_each
        umount $tree/proc $tree/sys $tree/dev $tree/data
        check "stress-ng: nothing is left" rmdir "$mount/data"
}
