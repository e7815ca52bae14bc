/* SPDX-License-Identifier: BSD-2-Clause */
#include "posix.h"

#include <linux/fs.h>
#include <stdio.h>

/* glibc has it under this name; a file system that knows no flags says EINVAL. */
static int rename_with(const char *from, const char *to, unsigned flags)
{
        int r = renameat2(AT_FDCWD, from, AT_FDCWD, to, flags);

        if (r < 0 && (errno == ENOSYS || errno == EOPNOTSUPP))
                posix_skip("renameat2: %s", strerrorname_np(errno));
        return r;
}

CASE("rename.file", "the file keeps its inode, contents and mode under the new name")
{
        put("old", "text");
        OK(chmod("old", 0640));

        ino_t inode = inode_of("old");

        OK(rename("old", "new"));
        CHECK(!exists("old"));
        EQUAL(inode_of("new"), inode);
        EQUAL(mode_of("new"), 0640);
        expect_text("new", "text");
}

CASE("rename.directory", "a directory takes along what is in it")
{
        OK(mkdir("old", 0755));
        put("old/file", "text");
        OK(rename("old", "new"));
        CHECK(!exists("old"));
        expect_text("new/file", "text");
}

CASE("rename.onto-file", "a file that is there under the new name is replaced")
{
        put("old", "old");
        put("new", "new");
        OK(link("new", "other"));
        OK(rename("old", "new"));
        CHECK(!exists("old"));
        expect_text("new", "old");
        expect_text("other", "new");
        EQUAL(links_of("other"), 1);
}

CASE("rename.onto-open-file", "whoever has the replaced file open keeps it")
{
        struct stat st;

        put("old", "old");
        put("new", "new");

        int fd = OK(open("new", O_RDWR));

        OK(rename("old", "new"));
        expect_bytes(fd, 0, "new", 3);
        EQUAL(pwrite(fd, "N", 1, 0), 1);
        OK(fstat(fd, &st));
        EQUAL(st.st_nlink, 0);
        expect_text("new", "old");
}

CASE("rename.open-file", "whoever has the renamed file open keeps it")
{
        put("old", "text");

        int fd = OK(open("old", O_RDWR));

        OK(rename("old", "new"));
        EQUAL(pwrite(fd, "T", 1, 0), 1);
        expect_text("new", "Text");
}

CASE("rename.onto-empty-directory", "an empty directory is replaced by a directory")
{
        OK(mkdir("old", 0755));
        put("old/file", "text");
        OK(mkdir("new", 0755));
        OK(rename("old", "new"));
        CHECK(!exists("old"));
        expect_text("new/file", "text");
}

CASE("rename.onto-nonempty-directory", "EEXIST or ENOTEMPTY where the directory to replace has something in it")
{
        OK(mkdir("old", 0755));
        OK(mkdir("new", 0755));
        put("new/file", "text");
        FAILS(rename("old", "new"), ENOTEMPTY, EEXIST);
        CHECK(exists("old"));
        expect_text("new/file", "text");
}

CASE("rename.file-onto-directory", "EISDIR for a file onto a directory")
{
        put("file", "text");
        OK(mkdir("dir", 0755));
        FAILS(rename("file", "dir"), EISDIR);
        OK(symlink("file", "link"));
        FAILS(rename("link", "dir"), EISDIR);
}

CASE("rename.directory-onto-file", "ENOTDIR for a directory onto anything else")
{
        put("file", "text");
        OK(mkdir("dir", 0755));
        OK(symlink("dir", "link"));
        FAILS(rename("dir", "file"), ENOTDIR);
        FAILS(rename("dir", "link"), ENOTDIR);
}

CASE("rename.onto-itself", "nothing happens where both names are the same")
{
        put("file", "text");
        OK(mkdir("dir", 0755));
        put("dir/file", "text");
        OK(rename("file", "file"));
        OK(rename("dir", "dir"));
        expect_text("file", "text");
        expect_text("dir/file", "text");
}

CASE("rename.onto-own-link", "nothing happens where both names are links to one file")
{
        put("file", "text");
        OK(link("file", "link"));
        OK(rename("file", "link"));
        CHECK(exists("file") && exists("link"));
        EQUAL(links_of("file"), 2);
}

CASE("rename.into-itself", "EINVAL for a directory into one below it")
{
        OK(mkdir("dir", 0755));
        OK(mkdir("dir/sub", 0755));
        FAILS(rename("dir", "dir/new"), EINVAL);
        FAILS(rename("dir", "dir/sub/new"), EINVAL);
        FAILS(rename("dir", "dir/sub"), EINVAL, ENOTEMPTY, EEXIST);
        CHECK(exists("dir/sub"));
}

CASE("rename.onto-parent", "a directory is not moved onto one that holds it")
{
        OK(mkdir("dir", 0755));
        OK(mkdir("dir/sub", 0755));
        put("dir/sub/file", "text");
        FAILS(rename("dir/sub", "dir"), ENOTEMPTY, EEXIST, EINVAL);
        FAILS(rename("dir/sub/file", "dir"), EISDIR, ENOTEMPTY, EEXIST);
}

CASE("rename.across-directories", "from one directory to another, and back")
{
        OK(mkdir("a", 0755));
        OK(mkdir("b", 0755));
        OK(mkdir("a/sub", 0755));
        put("a/sub/file", "text");
        put("a/file", "text");
        OK(rename("a/file", "b/file"));
        OK(rename("a/sub", "b/sub"));
        expect_text("b/sub/file", "text");
        OK(rename("b/sub", "a/again"));
        expect_text("a/again/file", "text");
        FAILS(rmdir("b"), ENOTEMPTY, EEXIST);
        OK(rename("b/file", "a/file"));
        OK(rmdir("b"));
}

CASE("rename.link", "a link is renamed itself, and still names what it named")
{
        char target[16];

        put("file", "text");
        OK(symlink("file", "old"));
        OK(rename("old", "new"));
        EQUAL(readlink("new", target, sizeof(target)), 4);
        expect_text("new", "text");
}

CASE("rename.onto-link", "a link is replaced, not what it names")
{
        put("file", "file");
        put("other", "other");
        OK(symlink("file", "link"));
        OK(rename("other", "link"));
        CHECK(is_kind("link", S_IFREG));
        expect_text("link", "other");
        expect_text("file", "file");
}

CASE("rename.special", "fifos and sockets' names are renamed like files")
{
        OK(mkfifo("fifo", 0644));
        OK(rename("fifo", "new"));
        CHECK(is_kind("new", S_IFIFO));
}

CASE("rename.cycle", "names can be passed around in a circle")
{
        put("a", "a");
        put("b", "b");
        for (int i = 0; i < 51; i++) {
                OK(rename("a", "spare"));
                OK(rename("b", "a"));
                OK(rename("spare", "b"));
        }
        expect_text("a", "b");
        expect_text("b", "a");
}

CASE("rename.always-there", "while a file is replaced again and again, its name is always there")
{
        put("file", "0");

        pid_t pid = posix_fork();

        if (pid == 0) {
                for (int i = 0; i < 300; i++) {
                        put("new", "1");
                        OK(rename("new", "file"));
                }
                _exit(0);
        }
        for (int i = 0; i < 500; i++)
                OK(close(OK(open("file", O_RDONLY))));
        posix_join(pid);
}

CASE("rename.old-name-is-free", "the old name can be used again at once")
{
        put("name", "first");
        OK(rename("name", "moved"));
        put("name", "second");
        expect_text("moved", "first");
        OK(unlink("name"));
        OK(mkdir("name", 0755));
        CHECK(is_kind("name", S_IFDIR));
}

CASE("rename.directory-in-use", "what is below a directory that was moved is the same as before")
{
        OK(mkdir("a", 0755));
        OK(mkdir("a/sub", 0755));
        put("a/sub/file", "text");

        int fd = OK(open("a/sub/file", O_RDWR));
        ino_t inode = inode_of("a/sub/file");

        OK(chdir("a/sub"));
        OK(rename("../../a", "../../b"));
        expect_text("file", "text");
        EQUAL(inode_of("../../b/sub/file"), inode);
        EQUAL(pwrite(fd, "T", 1, 0), 1);
        expect_text("../../b/sub/file", "Text");
}

CASE("rename.needs-write-on-both", "EACCES unless both directories may be written")
{
        make_dir_of(&ALICE, "open", 0777);
        make_dir_of(&ALICE, "closed", 0755);
        make_file_of(&BOB, "open/file", 0644);
        make_file_of(&BOB, "closed/file", 0644);
        become(&BOB);
        FAILS(rename("open/file", "closed/new"), EACCES);
        FAILS(rename("closed/file", "open/new"), EACCES);
        FAILS(rename("open/file", "closed/file"), EACCES);
        OK(rename("open/file", "open/new"));
}

CASE("rename.needs-write-on-directory", "EACCES for moving a directory, whose .. changes, without write on it")
{
        make_dir_of(&BOB, "a", 0755);
        make_dir_of(&BOB, "b", 0755);
        make_dir_of(&ALICE, "a/sub", 0755);
        become(&BOB);
        FAILS(rename("a/sub", "b/sub"), EACCES);
        OK(rename("a/sub", "a/new"));
}

CASE("rename.other-file-system", "EXDEV for renaming or linking from one file system to another")
{
        put("file", "text");
        FAILS(rename("file", "/proc/oriel-exercise"), EXDEV);
        FAILS(rename("/proc/self/status", "new"), EXDEV);
        FAILS(link("/proc/self/status", "new"), EXDEV);
        expect_text("file", "text");
}

/* ---- with flags ---- */

CASE("rename.no-replace", "RENAME_NOREPLACE: EEXIST where the new name is there")
{
        make_some();
        put("old", "old");
        FAILS(rename_with("old", "file", RENAME_NOREPLACE), EEXIST);
        FAILS(rename_with("old", "dir", RENAME_NOREPLACE), EEXIST);
        FAILS(rename_with("old", "dangling", RENAME_NOREPLACE), EEXIST);
        FAILS(rename_with("old", "old", RENAME_NOREPLACE), EEXIST);
        OK(rename_with("old", "new", RENAME_NOREPLACE));
        expect_text("new", "old");
}

CASE("rename.exchange", "RENAME_EXCHANGE: each gets the other's name")
{
        put("a", "a");
        put("b", "b");

        ino_t a = inode_of("a");

        OK(rename_with("a", "b", RENAME_EXCHANGE));
        EQUAL(inode_of("b"), a);
        expect_text("a", "b");
        expect_text("b", "a");
}

CASE("rename.exchange-kinds", "also where one is a directory and not empty, and the other a file or a link")
{
        put("file", "text");
        OK(mkdir("dir", 0755));
        put("dir/file", "below");
        OK(rename_with("file", "dir", RENAME_EXCHANGE));
        expect_text("dir", "text");
        expect_text("file/file", "below");
        OK(symlink("nowhere", "link"));
        OK(rename_with("link", "file", RENAME_EXCHANGE));
        CHECK(is_kind("file", S_IFLNK));
        expect_text("link/file", "below");
}

CASE("rename.exchange-across", "and across directories, whose links follow")
{
        OK(mkdir("a", 0755));
        OK(mkdir("b", 0755));
        OK(mkdir("a/sub", 0755));
        put("b/file", "text");

        long counts = links_of("a") == 1 ? 0 : 1;

        OK(rename_with("a/sub", "b/file", RENAME_EXCHANGE));
        expect_text("a/sub", "text");
        CHECK(is_kind("b/file", S_IFDIR));
        EQUAL(links_of("a"), 1 + counts);
        EQUAL(links_of("b"), 1 + 2 * counts);
}

CASE("rename.exchange-missing", "ENOENT where either is not there")
{
        put("file", "text");
        FAILS(rename_with("file", "missing", RENAME_EXCHANGE), ENOENT);
        FAILS(rename_with("missing", "file", RENAME_EXCHANGE), ENOENT);
}

CASE("rename.exchange-into-itself", "EINVAL for a directory with one above or below it")
{
        OK(mkdir("dir", 0755));
        OK(mkdir("dir/sub", 0755));
        FAILS(rename_with("dir", "dir/sub", RENAME_EXCHANGE), EINVAL);
        FAILS(rename_with("dir/sub", "dir", RENAME_EXCHANGE), EINVAL, ENOTEMPTY);
}

CASE("rename.flags-together", "EINVAL for flags that exclude each other, or that nobody knows")
{
        put("file", "text");
        FAILS(rename_with("file", "new", RENAME_EXCHANGE | RENAME_NOREPLACE), EINVAL);
        FAILS(rename_with("file", "new", 1u << 20), EINVAL);
}
