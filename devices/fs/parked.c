/* SPDX-License-Identifier: BSD-2-Clause */
#include "devices/fs/parked.h"

#include "base/fd.h"
#include "devices/fs/inode.h"
#include "devices/fs/state.h"

/* With the lock: what is at @place, which is empty then; -1 if that is not @nodeid's. */
static int take_from(struct fs *fs, unsigned place, uint64_t nodeid)
{
        if (fs->parked.places[place].nodeid != nodeid)
                return -1;
        fs->parked.places[place].nodeid = 0;
        fs->held_fds--;
        return fs->parked.places[place].fd;
}

/* With the lock. Where it has been last, if that is empty: a file that is opened again and again drives out none. */
static unsigned choose_place(struct parked *parked, const struct inode *inode)
{
        unsigned place = parked->places[inode->parked].nodeid ? parked->next : inode->parked;

        if (place == parked->next)
                parked->next = (place + 1) % PARKED_MAX;
        return place;
}

void parked_add(struct fs *fs, uint64_t nodeid, int fd)
{
        int gone = fd;

        pthread_mutex_lock(&fs->lock);

        struct inode *inode = ids_find(&fs->inodes, nodeid);

        /* One that is there already does as well. */
        if (inode && fs_has_room(fs) && fs->parked.places[inode->parked].nodeid != nodeid) {
                unsigned place = choose_place(&fs->parked, inode);

                gone = fs->parked.places[place].nodeid ? take_from(fs, place, fs->parked.places[place].nodeid) : -1;
                fs->parked.places[place].nodeid = nodeid;
                fs->parked.places[place].fd = fd;
                fs->held_fds++;
                inode->parked = place;
        }
        pthread_mutex_unlock(&fs->lock);
        fd_close(gone);
}

int parked_take(struct fs *fs, struct inode *inode)
{
        pthread_mutex_lock(&fs->lock);

        int fd = take_from(fs, inode->parked, inode->nodeid);

        pthread_mutex_unlock(&fs->lock);
        return fd;
}

bool parked_clear(struct fs *fs)
{
        bool some = false;

        for (unsigned i = 0; i < PARKED_MAX; i++) {
                pthread_mutex_lock(&fs->lock);

                uint64_t nodeid = fs->parked.places[i].nodeid;
                int fd = nodeid ? take_from(fs, i, nodeid) : -1;

                pthread_mutex_unlock(&fs->lock);
                some |= fd >= 0;
                fd_close(fd);
        }
        return some;
}
