/* SPDX-License-Identifier: BSD-2-Clause */

/* How a FUSE request is made of the fuzzer's input. */

#include "fuzz/fs-request.h"

#include "base/cleanup.h"
#include "fuzz/fs-host.h"

enum number { NODE, FILE_NUMBER, USUAL };

/* Where a request's struct has a number that was given out, or one that is mostly a small multiple of something. */
static const struct field {
        uint32_t opcode;
        uint8_t offset, size;
        enum number number;
        uint16_t unit, n;
} fields[] = {
#define FIELD(NAME, type, member, number, ...)                                                                   \
        {                                                                                                        \
                FUSE_##NAME, offsetof(struct fuse_##type, member), sizeof(((struct fuse_##type *)NULL)->member), \
                        number, __VA_ARGS__                                                                      \
        }
        FIELD(GETATTR, getattr_in, fh, FILE_NUMBER),
        FIELD(SETATTR, setattr_in, fh, FILE_NUMBER),
        FIELD(SETATTR, setattr_in, size, USUAL, 100, 200),
        FIELD(STATX, statx_in, fh, FILE_NUMBER),
        FIELD(READ, read_in, fh, FILE_NUMBER),
        FIELD(READ, read_in, offset, USUAL, 50, 100),
        FIELD(READ, read_in, size, USUAL, 50, 100),
        FIELD(WRITE, write_in, fh, FILE_NUMBER),
        FIELD(WRITE, write_in, offset, USUAL, 50, 200),
        FIELD(WRITE, write_in, size, USUAL, 1, 100),
        FIELD(RELEASE, release_in, fh, FILE_NUMBER),
        FIELD(RELEASE, release_in, lock_owner, USUAL, 1, 3),
        FIELD(RELEASEDIR, release_in, fh, FILE_NUMBER),
        FIELD(FSYNC, fsync_in, fh, FILE_NUMBER),
        FIELD(FSYNCDIR, fsync_in, fh, FILE_NUMBER),
        FIELD(FLUSH, flush_in, fh, FILE_NUMBER),
        FIELD(FLUSH, flush_in, lock_owner, USUAL, 1, 3),
        FIELD(READDIR, read_in, fh, FILE_NUMBER),
        FIELD(READDIR, read_in, size, USUAL, 50, 100),
        FIELD(READDIRPLUS, read_in, fh, FILE_NUMBER),
        FIELD(READDIRPLUS, read_in, size, USUAL, 50, 100),
        FIELD(LSEEK, lseek_in, fh, FILE_NUMBER),
        FIELD(LSEEK, lseek_in, offset, USUAL, 100, 100),
        FIELD(LSEEK, lseek_in, whence, USUAL, 1, 6),
        FIELD(FALLOCATE, fallocate_in, fh, FILE_NUMBER),
        FIELD(FALLOCATE, fallocate_in, offset, USUAL, 512, 20),
        FIELD(FALLOCATE, fallocate_in, length, USUAL, 512, 20),
        FIELD(FALLOCATE, fallocate_in, mode, USUAL, 1, 20),
        FIELD(GETLK, lk_in, fh, FILE_NUMBER),
        FIELD(GETLK, lk_in, owner, USUAL, 1, 3),
        FIELD(GETLK, lk_in, lk.start, USUAL, 1, 10),
        FIELD(GETLK, lk_in, lk.end, USUAL, 2, 10),
        FIELD(GETLK, lk_in, lk.type, USUAL, 1, 3),
        FIELD(SETLK, lk_in, fh, FILE_NUMBER),
        FIELD(SETLK, lk_in, owner, USUAL, 1, 3),
        FIELD(SETLK, lk_in, lk.start, USUAL, 1, 10),
        FIELD(SETLK, lk_in, lk.end, USUAL, 2, 10),
        FIELD(SETLK, lk_in, lk.type, USUAL, 1, 3),
        FIELD(SETLKW, lk_in, fh, FILE_NUMBER),
        FIELD(SETLKW, lk_in, owner, USUAL, 1, 3),
        FIELD(SETLKW, lk_in, lk.start, USUAL, 1, 10),
        FIELD(SETLKW, lk_in, lk.end, USUAL, 2, 10),
        FIELD(SETLKW, lk_in, lk.type, USUAL, 1, 3),
        FIELD(SETLKW, lk_in, lk_flags, USUAL, 1, 2),
        FIELD(SETUPMAPPING, setupmapping_in, fh, FILE_NUMBER),
        FIELD(SETUPMAPPING, setupmapping_in, foffset, USUAL, HOST_PAGE, 4),
        FIELD(SETUPMAPPING, setupmapping_in, len, USUAL, HOST_PAGE, 5),
        FIELD(SETUPMAPPING, setupmapping_in, moffset, USUAL, HOST_PAGE, 15),
        FIELD(SETUPMAPPING, setupmapping_in, flags, USUAL, 1, 4),
        FIELD(INTERRUPT, interrupt_in, unique, USUAL, 1, 100),
        FIELD(COPY_FILE_RANGE, copy_file_range_in, fh_in, FILE_NUMBER),
        FIELD(COPY_FILE_RANGE, copy_file_range_in, nodeid_out, NODE),
        FIELD(COPY_FILE_RANGE, copy_file_range_in, fh_out, FILE_NUMBER),
        FIELD(COPY_FILE_RANGE, copy_file_range_in, len, USUAL, 100, 20),
        FIELD(COPY_FILE_RANGE_64, copy_file_range_in, fh_in, FILE_NUMBER),
        FIELD(COPY_FILE_RANGE_64, copy_file_range_in, nodeid_out, NODE),
        FIELD(COPY_FILE_RANGE_64, copy_file_range_in, fh_out, FILE_NUMBER),
        FIELD(COPY_FILE_RANGE_64, copy_file_range_in, len, USUAL, 100, 20),
        FIELD(LINK, link_in, oldnodeid, NODE),
        FIELD(RENAME, rename_in, newdir, NODE),
        FIELD(RENAME2, rename2_in, newdir, NODE),
        FIELD(RENAME2, rename2_in, flags, USUAL, 1, 5),
};

static uint64_t known(struct input *input, const struct numbers *numbers, enum number number)
{
        unsigned choice = take_choice(input, NUMBERS_KNOWN + 2),
                 n = number == NODE ? numbers->n_nodes : numbers->n_files;
        const uint64_t *from = number == NODE ? numbers->nodes : numbers->files;

        if (choice == NUMBERS_KNOWN)
                return number == NODE ? FUSE_ROOT_ID : UINT64_MAX;
        if (choice > NUMBERS_KNOWN || n == 0)
                return number == NODE ? FUSE_ROOT_ID : take_number(input);
        return from[choice % (n < NUMBERS_KNOWN ? n : NUMBERS_KNOWN)];
}

static void learn(struct numbers *numbers, enum number number, const uint8_t *from)
{
        uint64_t value;

        memcpy(&value, from, sizeof(value));
        if (number == NODE)
                numbers->nodes[numbers->n_nodes++ % NUMBERS_KNOWN] = value;
        else
                numbers->files[numbers->n_files++ % NUMBERS_KNOWN] = value;
}

static size_t put(uint8_t *to, size_t at, const void *from, size_t size)
{
        size = size < REQUEST_MOST - at ? size : REQUEST_MOST - at;
        memcpy(to + at, from, size);
        return at + size;
}

static void put_field(struct input *input, const struct numbers *numbers, const struct field *field, uint8_t *to)
{
        uint64_t value;

        if (field->number != USUAL)
                value = known(input, numbers, field->number);
        else if (take_byte(input) % 8 == 7)
                return;
        else
                value = (uint64_t)field->unit * take_choice(input, field->n);
        memcpy(to + field->offset, &value, field->size);
}

/* Words of four bytes, about half of them zero, and the fields that are known. */
static size_t put_struct(struct input *input, const struct numbers *numbers, uint32_t opcode,
                         const struct operation *operation, uint8_t *to, size_t at)
{
        size_t size = take_byte(input) % 4 == 1 ? operation->in_min : operation->in_max;
        uint32_t which = 0;

        take(input, &which, 3);
        for (size_t i = 0; i + 4 <= size; i += 4) {
                uint32_t word = which >> (i / 4 % 24) & 1 ? (uint32_t)take_number(input) : 0;

                memcpy(to + at + i, &word, sizeof(word));
        }
        for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
                if (fields[i].opcode == opcode && fields[i].offset + fields[i].size <= size)
                        put_field(input, numbers, &fields[i], to + at);
        return at + size;
}

static const char *pick_name(struct input *input, const struct operation *operation)
{
        static const char *const odd[] = {"", ".", "..", "a/b", "/", "mnt/a"};
        static const char *const attributes[] = {
                "user.a",           "security.capability",      "system.posix_acl_access", "trusted.b",
                "security.selinux", "system.posix_acl_default", "user.virtiofs",           ""};

        if (operation->free_name && !operation->extended)
                return attributes[take_choice(input, ARRAY_SIZE(attributes))];
        if (take_byte(input) % 8 == 7)
                return odd[take_choice(input, ARRAY_SIZE(odd))];
        return host_name(input);
}

/* Puts the data that FORGETs, unmappings, attributes and extensions have after their struct. */
static size_t put_data(struct input *input, const struct numbers *numbers, uint32_t opcode, uint8_t *to, size_t at,
                       uint16_t *extensions)
{
        uint8_t bytes[256];

        for (unsigned n = take_choice(input, 5); n > 0 && opcode == FUSE_BATCH_FORGET; n--)
                at = put(to, at, &(struct fuse_forget_one){known(input, numbers, NODE), take_number(input)},
                         sizeof(struct fuse_forget_one));
        for (unsigned n = take_choice(input, 5); n > 0 && opcode == FUSE_REMOVEMAPPING; n--)
                at = put(to, at, &(struct fuse_removemapping_one){take_number(input), take_number(input)},
                         sizeof(struct fuse_removemapping_one));
        if (take_byte(input) % 4 == 1 && operation_find(opcode)->extended) {
                const uint32_t group[] = {16, FUSE_EXT_GROUPS, take_choice(input, 2), 1000};
                const uint32_t label[] = {32, 1, 3, 0};

                *extensions = (uint16_t)take_choice(input, 8);
                if (*extensions & 1)
                        at = put(to, at, group, sizeof(group));
                if (*extensions & 2) {
                        at = put(to, at, label, sizeof(label));
                        at = put(to, at, "security.x\0abc\0", 16);
                }
                *extensions = (uint16_t)(*extensions & 1 ? 2 : 0) + (uint16_t)(*extensions & 2 ? 4 : 0);
        }
        if (operation_find(opcode)->data || take_byte(input) % 16 == 15)
                at = put(to, at, bytes, take(input, bytes, take_choice(input, sizeof(bytes))));
        return at;
}

void request_make(struct input *input, struct numbers *numbers, uint32_t opcode, struct exchange *exchange)
{
        const struct operation *operation = operation_find(opcode), none = {.in_max = 8};
        struct fuse_in_header header = {
                .opcode = opcode,
                .unique = ++numbers->unique,
                .nodeid = known(input, numbers, NODE),
                .uid = take_byte(input) & 1 ? 1000 : 0,
                .gid = take_byte(input) & 1 ? 1000 : 0,
        };
        uint8_t bytes[sizeof(header) + REQUEST_MOST];
        size_t at = put_struct(input, numbers, opcode, operation ? operation : &none, bytes, sizeof(header));

        for (unsigned i = 0; operation && i < operation->names; i++) {
                const char *name = pick_name(input, operation);

                at = put(bytes, at, name, strlen(name) + 1);
        }
        if (operation)
                at = put_data(input, numbers, opcode, bytes, at, &header.total_extlen);
        header.len = (uint32_t)at;
        /* One in sixteen is not as its row has it. */
        switch (take_byte(input) % 64) {
        case 1:
                at = take_number(input) % (at + 1);
                header.len = (uint32_t)at;
                break;
        case 2:
                header.len = (uint32_t)take_number(input);
                break;
        case 3:
                header.nodeid = take_number(input);
                header.total_extlen = (uint16_t)take_number(input);
                break;
        case 4:
                bytes[at - 1] = take_byte(input);
                break;
        default:
                break;
        }
        memcpy(bytes, &header, at < sizeof(header) ? at : sizeof(header));
        exchange->size = at;
        exchange->in = malloc(at ? at : 1);
        need(exchange->in);
        memcpy(exchange->in, bytes, at);
}

void request_learn(struct numbers *numbers, uint32_t opcode, const struct exchange *exchange, size_t written)
{
        const size_t header = sizeof(struct fuse_out_header), entry = sizeof(struct fuse_entry_out);
        const struct operation *operation = operation_find(opcode);

        if (!operation || written <= header)
                return;
        if (operation->out_min >= entry && opcode != FUSE_STATX)
                learn(numbers, NODE, exchange->out + header);
        if (operation->out_min > entry)
                learn(numbers, FILE_NUMBER, exchange->out + header + entry);
        if (opcode == FUSE_OPEN || opcode == FUSE_OPENDIR)
                learn(numbers, FILE_NUMBER, exchange->out + header);
}
