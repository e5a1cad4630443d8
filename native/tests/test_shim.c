/* The preloaded view without a supervisor, TAP: what it says of files that an owner table knows, and that its calls are
 * libc's calls else. For any machine, an emulated one too.
 *
 *   test_shim make VIEW LENT FOLDER                puts VIEW (shim.c's object) and a table of FOLDER's files into LENT
 *   LD_PRELOAD=LENT test_shim look FOLDER          (linked dynamically)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <unistd.h>

#include "tap.h"

#ifndef LOOK_ONLY /* else it needs nothing of the supervisor's */
#include "../fr_super.h"

#define SIZE_MOST (1U << 20)

static struct stat made(const char *name)
{
    struct stat st;
    int fd = open(name, O_CREAT | O_WRONLY, 0600);

    if (fd < 0 || fstat(fd, &st) < 0)
        abort();
    close(fd);
    return st;
}

static void know(struct fr_super *super, const char *name, uint32_t uid, uint32_t gid, uint16_t mode, uint32_t rdev)
{
    struct ot_entry entry = {.ino = made(name).st_ino, .uid = uid, .gid = gid, .mode = mode, .rdev = rdev};

    if (ot_put(&super->table, &entry) < 0)
        abort();
}

/* Only what is not zero: most of the table's room is not in use. */
static void copy(int from, const char *to)
{
    static const char zeros[65536];
    static char block[sizeof zeros];
    int fd = open(to, O_CREAT | O_TRUNC | O_WRONLY, 0755);
    ssize_t got;
    off_t at = 0;

    for (; (got = pread(from, block, sizeof block, at)) > 0; at += got)
        if (memcmp(block, zeros, (size_t)got) != 0 && pwrite(fd, block, (size_t)got, at) != got)
            abort();
    if (fd < 0 || got < 0 || ftruncate(fd, at) < 0)
        abort();
    close(fd);
}

static int make(const char *view, const char *lent, const char *folder)
{
    static struct fr_super super;
    static char object[SIZE_MOST];
    int fd = open(view, O_RDONLY);
    ssize_t size = read(fd, object, sizeof object);
    struct stat also;

    if (size < 0 || chdir(folder) < 0)
        abort();
    super.lender.file = super.upper_fd = -1;
    ot_init(&super.table, made("plain").st_dev);
    know(&super, "owned", 42, 4204350, 0104751, 0);
    know(&super, "null", 0, 6, 020666, ot_rdev_make(4095, 1048575));
    know(&super, "kind", 1, 1, 040755, 0);
    also = made("also");
    ot_also(&super.table, made("owned").st_ino, also.st_ino);
    fr_open_lender(&super, object, (size_t)size);
    OK(super.lender.file >= 0, "the view is an object that can be lent");
    if (super.lender.file >= 0)
        copy(super.lender.file, lent);
    fr_close_lender(&super);
    ot_free(&super.table);
    return tap_end();
}
#else
static int make(const char *view, const char *lent, const char *folder)
{
    (void)view, (void)lent, (void)folder;
    return 2;
}
#endif

static int is(const struct stat *st, uid_t uid, gid_t gid, mode_t mode)
{
    return st->st_uid == uid && st->st_gid == gid && st->st_mode == mode;
}

static void look(void)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    struct stat st;
    struct statx stx;
    int fd = open("owned", O_RDONLY);

    OK(stat("owned", &st) == 0 && is(&st, 42, 4204350, 0104751), "stat");
    OK(lstat("also", &st) == 0 && is(&st, 42, 4204350, 0104751), "lstat, by another number");
    OK(fd >= 0 && fstat(fd, &st) == 0 && is(&st, 42, 4204350, 0104751), "fstat");
    OK(fstatat(fd, "", &st, AT_EMPTY_PATH) == 0 && is(&st, 42, 4204350, 0104751), "fstatat of the file itself");
    OK(statx(AT_FDCWD, "owned", 0, STATX_MODE, &stx) == 0 && stx.stx_uid == 42 && stx.stx_gid == 4204350 &&
           stx.stx_mode == 0104751, "statx");
    OK(stat("null", &st) == 0 && is(&st, 0, 6, 020666) && major(st.st_rdev) == 4095 && minor(st.st_rdev) == 1048575 &&
           st.st_size == 0, "a device node, which is a plain file on disk");
    OK(statx(AT_FDCWD, "null", 0, STATX_ALL, &stx) == 0 && stx.stx_rdev_major == 4095 && stx.stx_rdev_minor == 1048575,
       "and by statx");
    OK(stat("plain", &st) == 0 && is(&st, uid, gid, 0100600), "a file that the table does not know");
    OK(stat("kind", &st) == 0 && is(&st, uid, gid, 0100600), "one whose number was a folder's is left to the supervisor");
    OK(stat("none", &st) == -1 && errno == ENOENT && fstat(-1, &st) == -1 && errno == EBADF, "errors");
    close(fd);
}

static void act(void)
{
    struct timeval times[2] = {{5, 6}, {7, 8}}, wrong[2] = {{0, 0}, {0, 1000000}};
    struct timespec fine[2] = {{1, 2}, {3, 4}};
    struct stat st;
    int fd = open("new", O_CREAT | O_EXCL | O_WRONLY, 0640);

    OK(fd >= 0 && write(fd, "x", 1) == 1 && fchmod(fd, 0600) == 0 && fchown(fd, (uid_t)-1, (gid_t)-1) == 0, "open");
    OK(open("new", O_CREAT | O_EXCL | O_WRONLY, 0640) == -1 && errno == EEXIST, "and not twice");
    OK(open("none/new", O_CREAT | O_WRONLY, 0640) == -1 && errno == ENOENT, "nor nowhere");
    OK(futimens(fd, fine) == 0 && fstat(fd, &st) == 0 && st.st_mtim.tv_sec == 3 && st.st_mtim.tv_nsec == 4, "futimens");
    OK(utimes("new", times) == 0 && stat("new", &st) == 0 && st.st_mtim.tv_nsec == 8000, "utimes");
    OK(utimes("new", wrong) == -1 && errno == EINVAL, "no times");
    OK(mkdir("folder", 0755) == 0 && mkdir("folder", 0755) == -1 && errno == EEXIST, "mkdir");
    OK(rename("new", "folder/moved") == 0 && rename("new", "x") == -1 && errno == ENOENT, "rename");
    OK(chmod("folder/moved", 0644) == 0 && chown("folder/moved", (uid_t)-1, (gid_t)-1) == 0 &&
           lchown("folder/moved", (uid_t)-1, (gid_t)-1) == 0 && stat("folder/moved", &st) == 0 &&
           st.st_mode == 0100644, "chmod, chown");
    OK(rmdir("folder") == -1 && errno == ENOTEMPTY && unlink("folder/moved") == 0 && rmdir("folder") == 0, "removal");
    OK(unlinkat(AT_FDCWD, "folder", AT_REMOVEDIR) == -1 && errno == ENOENT, "of what is gone");
    close(fd);
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "make") == 0)
        return make(argv[2], argv[3], argv[4]);
    if (argc != 3 || strcmp(argv[1], "look") != 0 || chdir(argv[2]) < 0)
        return 2;
    look();
    act();
    return tap_end();
}
