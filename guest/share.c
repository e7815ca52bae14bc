/* SPDX-License-Identifier: BSD-2-Clause */
#include "share.h"

#include <linux/fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_ids.h>

enum { MOST_SHARES = 8 };

static bool has_tag(const struct virtio *device, const char *tag)
{
        const size_t size = sizeof(((struct virtio_fs_config *)NULL)->tag), length = strlen(tag);

        if (device->config.size < sizeof(struct virtio_fs_config))
                return false;
        for (size_t i = 0; i < size; i++)
                if (read8(device->config.address + i) != (i < length ? (uint8_t)tag[i] : 0))
                        return false;
        return true;
}

static bool find(struct share *share, const char *tag)
{
        for (unsigned i = 0; i < MOST_SHARES && virtio_find(&share->device, VIRTIO_ID_FS, i); i++)
                if (has_tag(&share->device, tag))
                        return true;
        return false;
}

static void find_window(struct share *share)
{
        share->window = (struct area){0};
        for (unsigned i = 0; i < share->device.n_regions; i++)
                if (share->device.regions[i].shmid == VIRTIO_FS_SHMCAP_ID_CACHE)
                        share->window = share->device.regions[i].area;
}

uint64_t share_features(void)
{
        uint64_t bits = UINT64_C(1) << VIRTIO_F_VERSION_1;

        return cmdline_value("packed") ? bits | UINT64_C(1) << VIRTIO_F_RING_PACKED : bits;
}

bool share_begin(struct share *share)
{
        return virtio_start(&share->device, share_features()) &&
               fuse_init(&share->fuse, &share->device, &share->init) >= 0;
}

void share_start(struct share *share, const char *tag)
{
        need(find(share, tag), "there is a virtio-fs device with the tag \"%s\"", tag);
        find_window(share);
        need((virtio_features(&share->device) & share_features()) == share_features(),
             "it offers the features that are needed");
        need(share_begin(share), "it answers to FUSE_INIT");
}

uint64_t share_lookup(struct share *share, const char *name, uint64_t *size)
{
        struct fuse_entry_out entry;
        int r = fuse_lookup(&share->fuse, name, &entry);

        if (r < 0)
                need(false, "%s is found: error %d", name, -r);
        if (size)
                *size = entry.attr.size;
        return entry.nodeid;
}

int share_map(struct share *share, uint64_t node, uint64_t file_offset, uint64_t window_offset, uint64_t size,
              bool writable)
{
        const struct fuse_setupmapping_in in = {
                .fh = UINT64_MAX, /* Linux names none either */
                .foffset = file_offset,
                .len = size,
                .flags = FUSE_SETUPMAPPING_FLAG_READ | (writable ? FUSE_SETUPMAPPING_FLAG_WRITE : 0),
                .moffset = window_offset,
        };

        return fuse_setup(&share->fuse, &in, node);
}

int share_unmap(struct share *share, uint64_t window_offset, uint64_t size)
{
        return fuse_remove(&share->fuse, window_offset, size);
}

unsigned share_count_boot(struct share *share)
{
        static char digit;
        uint64_t handle, node = share_lookup(share, "boots", NULL);
        unsigned boots;

        need(fuse_open(&share->fuse, node, O_RDWR, &handle) >= 0 &&
                     fuse_read(&share->fuse, node, handle, 0, (uint64_t)&digit, 1) == 1,
             "the count of boots can be read");
        boots = (unsigned)(digit++ - '0');
        need(fuse_write(&share->fuse, node, handle, 0, (uint64_t)&digit, 1) == 1, "and written");
        print("# boot %u\n", boots);
        return boots;
}

/* ---- contents ---- */

uint64_t content_matches(uint64_t address, uint32_t seed, uint64_t offset, uint64_t size)
{
        uint64_t i = 0;

        if (address % 4 == 0 && offset % 4 == 0)
                while (i + 4 <= size && read32(address + i) == content_word(seed, (offset + i) / 4))
                        i += 4;
        while (i < size && read8(address + i) == content_byte(seed, offset + i))
                i++;
        return i;
}

bool content_is_zero(uint64_t address, uint64_t size)
{
        uint64_t i = 0;

        while (i < size && read8(address + i) == 0)
                i++;
        return i == size;
}

void content_fill(uint64_t address, uint32_t seed, uint64_t offset, uint64_t size)
{
        for (uint64_t i = 0; i < size; i++)
                write8(address + i, content_byte(seed, offset + i));
}
