#define _GNU_SOURCE
#include "newfiles.h"

#include "index.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#define HOLE 4096 /* bytes; what is shorter is written, zeros or not */
#define SECOND 1000000000

struct wanted {
    const char *name, *content;
    size_t name_length, size;
    int64_t mtime_ns;
    uint32_t mode, uid, gid;
};

static int fail(const struct wanted *file, struct lc_error *error)
{
    return lc_fail(error, errno, NULL, file->name, file->name_length);
}

static int is_zeros(const char *data, size_t size)
{
    return data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
}

static int put_content(int fd, const struct wanted *file, struct lc_error *error)
{
    if (file->size >= HOLE && is_zeros(file->content, file->size))
        return ftruncate(fd, (off_t)file->size) < 0 ? fail(file, error) : 0;
    for (size_t done = 0; done < file->size;) {
        ssize_t wrote = write(fd, file->content + done, file->size - done);
        if (wrote < 0 && errno != EINTR)
            return fail(file, error);
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    return 0;
}

/* 1: the kernel refuses the owner. */
static int put_owner(int fd, const struct wanted *file, struct lc_error *error)
{
    if ((file->uid == LC_NEWFILE_KEEP && file->gid == LC_NEWFILE_KEEP) || fchown(fd, file->uid, file->gid) == 0)
        return 0;
    return errno == EPERM || errno == EINVAL ? 1 : fail(file, error);
}

static int put_mode_and_time(int fd, const struct wanted *file, struct stat *status, struct lc_error *error)
{
    int64_t seconds = file->mtime_ns / SECOND, rest = file->mtime_ns % SECOND;
    if (rest < 0)
        seconds--, rest += SECOND;
    const struct timespec time = {.tv_sec = seconds, .tv_nsec = rest};
    if (fstat(fd, status) < 0)
        return fail(file, error);
    if ((status->st_mode & 07777) != file->mode && (fchmod(fd, file->mode) < 0 || fstat(fd, status) < 0))
        return fail(file, error);
    return futimens(fd, (const struct timespec[]){time, time}) < 0 ? fail(file, error) : 0;
}

static int make_file(int folder_fd, const struct wanted *file, struct lc_bytes *made, struct lc_error *error)
{
    uint8_t packed[LC_NEWFILE_MADE];
    struct stat status = {0};
    LC_AUTO_FD fd = openat(folder_fd, file->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                           file->mode & 0777);
    if (fd < 0)
        return fail(file, error);
    if (put_content(fd, file, error) < 0)
        return -1;
    int refused = put_owner(fd, file, error);
    if (refused < 0 || (refused == 0 && put_mode_and_time(fd, file, &status, error) < 0))
        return -1;
    lc_little(packed, status.st_ino, 8);
    lc_little(packed + 8, status.st_mode, 4);
    return lc_bytes_add(made, packed, sizeof packed) < 0 ? lc_fail(error, ENOMEM, NULL, NULL, 0) : 0;
}

static int is_name(const char *name)
{
    return name[0] != '\0' && strchr(name, '/') == NULL && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static int read_wanted(const struct lc_newfiles *files, size_t number, struct wanted *file)
{
    const uint8_t *packed = (const uint8_t *)files->wanted.bytes + number * LC_NEWFILE;
    uint64_t start = lc_from_little(packed, 8), size = lc_from_little(packed + 8, 8);
    if (start > files->data.length || size > files->data.length - start)
        return -1;
    file->content = files->data.bytes + start;
    file->size = (size_t)size;
    file->mtime_ns = (int64_t)lc_from_little(packed + 16, 8);
    file->mode = (uint32_t)lc_from_little(packed + 24, 4) & 07777;
    file->uid = (uint32_t)lc_from_little(packed + 28, 4);
    file->gid = (uint32_t)lc_from_little(packed + 32, 4);
    return 0;
}

int lc_make_files(int folder_fd, const struct lc_newfiles *files, struct lc_bytes *made, struct lc_error *error)
{
    const char *name = files->names.bytes, *end = name + files->names.length;
    size_t count = files->wanted.length / LC_NEWFILE;
    if (files->wanted.length % LC_NEWFILE != 0 || (files->names.length > 0 && end[-1] != '\0'))
        return lc_fail(error, EINVAL, "not whole rows", NULL, 0);
    for (size_t number = 0; number < count; number++) {
        struct wanted file;
        if (name >= end || !is_name(name))
            return lc_fail(error, EINVAL, "not a name for each file", NULL, 0);
        if (read_wanted(files, number, &file) < 0)
            return lc_fail(error, EINVAL, "a file is not in its data", NULL, 0);
        file.name = name;
        file.name_length = strlen(name);
        name += file.name_length + 1;
        if (make_file(folder_fd, &file, made, error) < 0)
            return -1;
    }
    return name == end ? 0 : lc_fail(error, EINVAL, "not a name for each file", NULL, 0);
}
