# SPDX-License-Identifier: BSD-2-Clause
# A share all of whose files are mapped.
. /tap.sh
. /files.sh
check "mount" mount -t virtiofs -o dax=always share /mnt
posix_cases dax /mnt
random_operations /mnt "" 1000
while_mapped /mnt ""
through_a_window /mnt ""
mkdir /mnt/code
check "60 files take turns in 32 ranges" share loads /mnt/code 60
rm -r /mnt/code
stress /mnt 3 access chdir chmod dentry dir dirdeep filename getdent link mknod rename symlink touch xattr
stress /mnt 3 aio copy-file fallocate fpunch hdd iomix mmap seek sendfile sync-file
stress /mnt 3 fcntl flock locka lockf lockofd open
clone /mnt ""
check "unmount" umount /mnt
