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
check "rename" mv /mnt/copy/shared /mnt/copy/renamed
refuse "the old name is gone" stat /mnt/copy/shared
check "symbolic link" ln -s renamed /mnt/copy/link
same "is followed" sum copy/renamed -- sum /mnt/copy/link
check "remove the copy" rm -r /mnt/copy
