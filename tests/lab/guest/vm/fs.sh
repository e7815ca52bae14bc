# SPDX-License-Identifier: BSD-2-Clause
# Three shares: one with a small window, one whose large files alone are mapped, and one without a window and with another
# file system in it.
. /tap.sh
mkdir -p /mnt /auto /plain
check "mount" mount -t virtiofs -o dax=always share /mnt
check "mount one that decides by file" mount -t virtiofs -o dax=inode auto /auto
check "mount one without DAX" mount -t virtiofs plain /plain

# ---- many times the window ----
check "a large file is mapped" exercise dax /mnt/large
same "large: the host has the same" sum large -- sum /mnt/large
# Within a range, over the end of one, over many, and over the end of the file.
piece=0
for at in 1000001 2097000 33554000 95999990; do
        piece=$((piece + 1))
        check "written at $at" dd if=/auto/large of=/mnt/large bs=50000 seek=$at oflag=seek_bytes conv=notrunc count=$piece
done
check "written in large blocks" dd if=/mnt/large of=/mnt/large bs=1M skip=3 seek=40 count=9 conv=notrunc
check "a store far behind" exercise store /mnt/large 70000000 stored-by-guest
same "it is on the host" bytes large 70000000 15 -- echo stored-by-guest
same "written: the host has the same" sum large -- sum /mnt/large

# ---- by file ----
check "a file of 200 KB is mapped" exercise dax /auto/large
refuse "one of 20 KB is not" exercise dax /auto/small
same "mapped: the host has the same" sum /auto/large -- sum /auto/large
same "not mapped: the host has the same" sum /auto/small -- sum /auto/small
check "a store into the mapped" exercise store /auto/large 100000 stored
check "a store into the other" exercise store /auto/small 10000 stored
same "mapped: it is on the host" bytes /auto/large 100000 6 -- echo stored
same "not mapped: it is on the host" bytes /auto/small 10000 6 -- echo stored

# ---- another file system below ----
ls /plain/below >/dev/null
refuse "another device number" [ "$(stat -c %d /plain/below/folder)" = "$(stat -c %d /plain)" ]
same "its files are there" sum /plain/below/folder/file -- sum /plain/below/folder/file
before=$answer
refuse "no link from one to the other" ln /plain/below/folder/file /plain/link
check "a file is moved from one to the other" mv /plain/below/folder/file /plain/moved
same "moved: the host has the same" sum /plain/moved -- echo "$before"
check "unmount what is below" umount /plain/below

# ---- what the host does to files that are in use ----
# Linux believes attributes and names for a second.
old=$(sum /mnt/removed)
exec 5</mnt/removed 6</mnt/replaced 7<>/mnt/appended
check "removed while it is mapped" exercise watch /mnt/removed 0 1 1 "remove removed"
check "the open file is what it was" [ "$(sha256sum <&5 | cut -d " " -f 1)" = "$old" ]
check "replaced while it is mapped" exercise watch /mnt/replaced 0 1 1 "move replaced-new replaced"
check "the open file is the old one" [ "$(sha256sum <&6 | cut -d " " -f 1)" = "$old" ]
check "appended to while it is mapped" exercise watch /mnt/appended 0 1 1 "append appended more"
host truncate cut 5000
sleep 1.1
refuse "the removed one's name is gone" stat /mnt/removed
check "the replaced one's name is the new one's" [ "$(cat /mnt/replaced)" = new ]
same "appended: the size is the host's" size appended -- stat -c %s /mnt/appended
check "and what was appended is there" [ "$(tail -c 4 /mnt/appended)" = more ]
same "cut: the size is the host's" size cut -- stat -c %s /mnt/cut
same "cut: the host has the same" sum cut -- sum /mnt/cut
echo written >&7
same "the open file is written" bytes appended 0 7 -- echo written
exec 8</mnt/cut
check "remove one that is open" rm /mnt/cut
check "it can still be read" [ "$(wc -c <&8)" = 5000 ]
check "renamed over one that is open" mv /mnt/cut-new /mnt/appended
same "the name is the new one's" bytes appended 0 3 -- echo new
exec 5<&- 6<&- 7<&- 8<&-

# ---- exercised ----
check "random operations with DAX" exercise-fsx --seed=1 --operations=400 --size=3000000 /mnt/fsx
check "random operations, mapped by size" exercise-fsx --seed=2 --operations=300 --size=300000 /auto/fsx
check "random operations without DAX" exercise-fsx --seed=3 --operations=300 --size=300000 /plain/fsx
check "unmount" umount /mnt /auto /plain
