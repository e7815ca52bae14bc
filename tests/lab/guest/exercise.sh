# SPDX-License-Identifier: BSD-2-Clause
# What a virtio-fs mount at /mnt must do, with or without DAX: sourced by the tests.
same "checksums of a tree" tree tree -- tree /mnt/tree
mkdir /mnt/copy
check "copy a tree" cp -a /mnt/tree/. /mnt/copy
same "the copy on the host" tree copy -- tree /mnt/tree
for seed in 1 2 3 4; do
        check "random operations, seed $seed" exercise random /mnt/random-$seed $seed 400 $((seed * seed * 100000))
        same "random $seed: the host has the same" sum random-$seed -- sum /mnt/random-$seed
done
check "8 writers at once" exercise writers /mnt/copy 8
same "the writers' files on the host" sum copy/shared -- sum /mnt/copy/shared
check "a file that grows under its readers" exercise grow /mnt/grown
same "grown: the host has the same" sum grown -- sum /mnt/grown
cp /bin/exercise /mnt/program
check "a program that is run from the mount" /mnt/program random /mnt/by-program 9 100 100000
if [ -d /mnt/fio ]; then
        check "fio, written and verified" chroot /mnt/fio /usr/bin/fio --name=verify --directory=/data --rw=randrw --size=2M \
                --bsrange=1k-64k --numjobs=4 --thread --ioengine=psync --verify=crc32c --verify_fatal=1 --do_verify=1 --fsync=32
        same "fio's files on the host" tree fio/data -- tree /mnt/fio/data
fi
check "rename" mv /mnt/copy/shared /mnt/copy/renamed
refuse "the old name is gone" stat /mnt/copy/shared
check "symbolic link" ln -s renamed /mnt/copy/link
same "is followed" sum copy/renamed -- sum /mnt/copy/link
check "remove the copy" rm -r /mnt/copy
