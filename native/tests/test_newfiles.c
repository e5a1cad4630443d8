/* Files made from a stretch of a tar, without Python: under the sanitizers, from buffers of exact size. */
#define _GNU_SOURCE
#include "tap.h"

#include "index.h"
#include "newfiles.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

static uint8_t wanted[16 * LC_NEWFILE];
static size_t used;

static void want(uint64_t start, uint64_t size, int64_t mtime_ns, uint32_t mode)
{
    uint8_t *row = wanted + used;
    lc_little(row, start, 8);
    lc_little(row + 8, size, 8);
    lc_little(row + 16, (uint64_t)mtime_ns, 8);
    lc_little(row + 24, mode, 4);
    lc_little(row + 28, LC_NEWFILE_KEEP, 4);
    lc_little(row + 32, LC_NEWFILE_KEEP, 4);
    used += LC_NEWFILE;
}

static void *exactly(const void *data, size_t size)
{
    return size == 0 ? NULL : memcpy(malloc(size), data, size);
}

/* → 0 or an errno; the rows are gone afterwards. */
static int make(int folder, const char *data, size_t size, const char *names, size_t length, struct lc_bytes *made)
{
    struct lc_error error = {0};
    char *some = exactly(data, size), *texts = exactly(names, length), *rows = exactly(wanted, used);
    const struct lc_newfiles files = {{some, size}, {rows, used}, {texts, length}};
    int result = lc_make_files(folder, &files, made, &error);
    free(some);
    free(texts);
    free(rows);
    used = 0;
    return result < 0 ? error.err : 0;
}

static void test_made(int folder)
{
    struct lc_bytes made = {0};
    struct stat status;
    want(0, 4, 1700000000000000001, 04755);
    want(4, 0, -1, 0);
    OK(make(folder, "data", 4, "a\0b\0", 4, &made) == 0 && made.used == 2 * LC_NEWFILE_MADE, "two files");
    OK(fstatat(folder, "a", &status, AT_SYMLINK_NOFOLLOW) == 0 && status.st_size == 4 && status.st_mtim.tv_nsec == 1 &&
       lc_from_little(made.data, 8) == status.st_ino && lc_from_little(made.data + 8, 4) == (S_IFREG | 04755), "the first");
    OK(fstatat(folder, "b", &status, AT_SYMLINK_NOFOLLOW) == 0 && status.st_size == 0 && status.st_mtim.tv_sec == -1 &&
       status.st_mtim.tv_nsec == 999999999 && status.st_mode == S_IFREG, "the second");
    free(made.data);
}

static void test_refused(int folder)
{
    struct lc_bytes made = {0};
    want(0, 1, 0, 0644);
    OK(make(folder, "d", 1, "a\0", 2, &made) == EEXIST, "a name that is taken");
    want(UINT64_MAX, 2, 0, 0644);
    OK(make(folder, "d", 1, "c\0", 2, &made) == EINVAL, "a start far beyond");
    want(1, UINT64_MAX, 0, 0644);
    OK(make(folder, "d", 1, "c\0", 2, &made) == EINVAL, "a size that wraps around");
    want(0, 0, 0, 0644);
    OK(make(folder, "", 0, "c", 1, &made) == EINVAL, "a name without an end");
    want(0, 0, 0, 0644);
    OK(make(folder, "", 0, "", 0, &made) == EINVAL, "no name");
    want(0, 0, 0, 0644);
    OK(make(folder, "", 0, "../c\0", 5, &made) == EINVAL, "a path");
    used = 1;
    OK(make(folder, "", 0, "c\0", 2, &made) == EINVAL, "a row cut off");
    OK(made.used == 0 && faccessat(folder, "c", F_OK, 0) < 0, "nothing was made");
    free(made.data);
}

int main(void)
{
    char place[] = "/tmp/newfiles-XXXXXX";
    if (mkdtemp(place) == NULL)
        return 1;
    int folder = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    test_made(folder);
    test_refused(folder);
    unlinkat(folder, "a", 0);
    unlinkat(folder, "b", 0);
    close(folder);
    rmdir(place);
    return tap_end();
}
