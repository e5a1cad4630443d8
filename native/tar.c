#define _GNU_SOURCE
#include "tar.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define BLOCK 512
#define BUFFER LC_BUFFER
#define WORTH_A_THREAD 8 /* buffers */
#define LONG_FILE ((uint64_t)1 << 20) /* worth telling the kernel that all of it will be read */

static const char CHANGED[] = "file changed while it was read";
static const char NOT_REGULAR[] = "not a regular file";
static const int OPEN_FILE = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
static const int OPEN_FOLDER = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

/* A regular file that can be made longer by leaving a hole: no content is at or after its position. */
static int is_at_end_of_file(int fd)
{
    struct stat info;
    int flags = fcntl(fd, F_GETFL);
    return fd >= 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && lseek(fd, 0, SEEK_CUR) >= info.st_size &&
           flags >= 0 && (flags & O_APPEND) == 0;
}

int lc_sink_open(struct lc_sink *sink, int out_fd, const struct lc_sha256_kernel *kernel)
{
    memset(sink, 0, sizeof *sink);
    sink->out_fd = out_fd;
    sink->leaves_holes = is_at_end_of_file(out_fd);
    lc_sha256_start(&sink->hash, kernel);
    sink->buffer = sink->own = malloc(BUFFER);
    return sink->buffer == NULL ? -1 : 0;
}

void lc_sink_close(struct lc_sink *sink)
{
    if (sink->writer != NULL)
        lc_writer_end(sink->writer);
    free(sink->own);
    sink->writer = NULL;
    sink->buffer = sink->own = NULL;
}

static void hash_waiting(struct lc_sink *sink)
{
    lc_sha256_update(&sink->hash, sink->buffer + sink->hashed, sink->waiting - sink->hashed);
    sink->hashed = sink->waiting;
}

/* To the digest and the file: once it turns out to be a long one, by a thread. */
static int flush(struct lc_sink *sink, struct lc_error *error)
{
    size_t size = sink->waiting;
    int err = 0;
    hash_waiting(sink);
    sink->hashed = sink->waiting = 0;
    if (sink->out_fd < 0)
        return 0;
    if (++sink->flushed == WORTH_A_THREAD)
        sink->writer = lc_writer_start(sink->out_fd, sink->leaves_holes);
    if (sink->writer == NULL) {
        err = lc_write_out(sink->out_fd, sink->leaves_holes, sink->buffer, size);
    } else {
        uint8_t *next = lc_writer_swap(sink->writer, sink->buffer, size, &err);
        if (next != NULL)
            sink->buffer = next;
    }
    return err == 0 ? 0 : lc_fail(error, err, NULL, NULL, 0);
}

/* All that was flushed is in the file. */
static int settle(struct lc_sink *sink, struct lc_error *error)
{
    int err = sink->writer == NULL ? 0 : lc_writer_end(sink->writer);
    sink->writer = NULL;
    sink->buffer = sink->own;
    return err == 0 ? 0 : lc_fail(error, err, NULL, NULL, 0);
}

static int counted(struct lc_sink *sink, uint64_t size, struct lc_error *error)
{
    if (__builtin_add_overflow(sink->length, size, &sink->length))
        return lc_fail(error, EFBIG, NULL, NULL, 0);
    return 0;
}

int lc_sink_put(struct lc_sink *sink, const void *data, size_t size, struct lc_error *error)
{
    const uint8_t *bytes = data;
    if (counted(sink, size, error) < 0)
        return -1;
    while (size > 0) {
        size_t part = BUFFER - sink->waiting < size ? BUFFER - sink->waiting : size;
        memcpy(sink->buffer + sink->waiting, bytes, part);
        sink->waiting += part;
        bytes += part;
        size -= part;
        if (sink->waiting == BUFFER && flush(sink, error) < 0)
            return -1;
    }
    return 0;
}

int lc_sink_pad(struct lc_sink *sink, uint64_t size, struct lc_error *error)
{
    static const uint8_t ZEROS[BLOCK];
    return lc_sink_put(sink, ZEROS, (size_t)(-size % BLOCK), error);
}

int lc_sink_copy(struct lc_sink *sink, int fd, uint64_t offset, uint64_t size, const char *path, size_t path_length,
                 struct lc_error *error)
{
    uint64_t left = size;
    if (counted(sink, size, error) < 0)
        return -1;
    if (offset > INT64_MAX || size > INT64_MAX - offset)
        return lc_fail(error, EOVERFLOW, NULL, path, path_length);
    while (left > 0) {
        size_t room = BUFFER - sink->waiting;
        size_t wanted = left < room ? (size_t)left : room;
        ssize_t got = pread(fd, sink->buffer + sink->waiting, wanted, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return lc_fail(error, errno, NULL, path, path_length);
        if (got == 0)
            return lc_fail(error, ESTALE, CHANGED, path, path_length);
        sink->waiting += (size_t)got;
        offset += (uint64_t)got;
        left -= (uint64_t)got;
        if (sink->waiting == BUFFER && flush(sink, error) < 0)
            return -1;
    }
    return lc_sink_pad(sink, size, error);
}

/* Into the buffer, one byte more than there should be where it has room → bytes read, or -1. */
static ssize_t read_piece(const struct lc_sink *sink, int fd, uint64_t left)
{
    size_t room = BUFFER - sink->waiting;
    ssize_t got;
    do
        got = read(fd, sink->buffer + sink->waiting, left < room ? (size_t)left + 1 : room);
    while (got < 0 && errno == EINTR);
    return got;
}

static void look(struct lc_onlooker *onlooker, const uint8_t *data, size_t got, uint64_t size)
{
    const struct lc_hints *hints = onlooker->hints;
    if (hints != NULL && onlooker->hash.length == got && size < hints->largest && lc_hints_is_text(data, got))
        onlooker->has_hint = got < size || lc_hints_found(hints, data, got);
}

int lc_sink_copy_watched(struct lc_sink *sink, int fd, uint64_t size, struct lc_onlooker *onlooker, const char *path,
                         size_t path_length, struct lc_error *error)
{
    uint64_t left = size;
    if (counted(sink, size, error) < 0)
        return -1;
    if (size >= LONG_FILE)
        posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    hash_waiting(sink);
    for (;;) {
        ssize_t got = read_piece(sink, fd, left);
        if (got < 0)
            return lc_fail(error, errno, NULL, path, path_length);
        if (got == 0 && left == 0)
            return lc_sink_pad(sink, size, error);
        if (got == 0 || (uint64_t)got > left)
            return lc_fail(error, ESTALE, CHANGED, path, path_length);
        lc_sha256_update_both(&sink->hash, &onlooker->hash, sink->buffer + sink->waiting, (size_t)got);
        look(onlooker, sink->buffer + sink->waiting, (size_t)got, size);
        sink->waiting += (size_t)got;
        sink->hashed = sink->waiting;
        left -= (uint64_t)got;
        if (left == 0 && sink->waiting < BUFFER)
            return lc_sink_pad(sink, size, error); /* there was room for one byte more, and none came */
        if (sink->waiting == BUFFER && flush(sink, error) < 0)
            return -1;
    }
}

static int add_file(struct lc_sink *sink, int dir_fd, const struct lc_entry *entry, struct lc_error *error)
{
    struct stat info;
    char more;
    LC_AUTO_FD fd = lc_open_beneath(dir_fd, entry->path, entry->path_length, error);
    if (fd < 0)
        return -1;
    if (fstat(fd, &info) < 0)
        return lc_fail(error, errno, NULL, entry->path, entry->path_length);
    if ((uint64_t)info.st_size != entry->size)
        return lc_fail(error, ESTALE, CHANGED, entry->path, entry->path_length);
    if (lc_sink_put(sink, entry->header, entry->header_size, error) < 0 ||
        lc_sink_copy(sink, fd, 0, entry->size, entry->path, entry->path_length, error) < 0)
        return -1;
    if (pread(fd, &more, 1, (off_t)entry->size) != 0)
        return lc_fail(error, ESTALE, CHANGED, entry->path, entry->path_length);
    return 0;
}

int lc_sink_add(struct lc_sink *sink, int dir_fd, const struct lc_entry *entries, size_t count,
                struct lc_error *error)
{
    for (size_t i = 0; i < count; i++) {
        const struct lc_entry *entry = &entries[i];
        int failed = entry->path == NULL ? lc_sink_put(sink, entry->header, entry->header_size, error)
                                         : add_file(sink, dir_fd, entry, error);
        if (failed)
            return -1;
    }
    return 0;
}

int lc_sink_finish(struct lc_sink *sink, uint8_t digest[LC_SHA256_SIZE], struct lc_error *error)
{
    static const uint8_t END[2 * BLOCK];
    if (lc_sink_put(sink, END, sizeof END, error) < 0 || flush(sink, error) < 0 || settle(sink, error) < 0)
        return -1;
    if (sink->leaves_holes && ftruncate(sink->out_fd, lseek(sink->out_fd, 0, SEEK_CUR)) < 0) /* it may end in one */
        return lc_fail(error, errno, NULL, NULL, 0);
    lc_sha256_finish(&sink->hash, digest);
    return 0;
}

/* Opening ─────────────────────────────────────────────────────────────────────────────────────────────────────── */

static int leads_out(const char *path)
{
    if (path[0] == '/')
        return 1;
    for (const char *part = path; part != NULL; part = strchr(part, '/')) {
        part += *part == '/';
        if (part[0] == '.' && part[1] == '.' && (part[2] == '/' || part[2] == '\0'))
            return 1;
    }
    return 0;
}

/* openat2(2) of Linux 5.6, spelt out: the headers we are built with may be older than the kernel we run on. */
#define OPENAT2 437
#define BELOW_ONLY 0x08
#define NO_SYMLINKS 0x04

struct open_how_v0 {
    uint64_t flags, mode, resolve;
};

/* Folder by folder, for kernels and seccomp filters without openat2(2). */
static int open_by_steps(int dir_fd, const char *path, int flags)
{
    LC_AUTO_FD held = -1;
    const char *slash;
    int here = dir_fd;
    while ((slash = strchr(path, '/')) != NULL) {
        char name[256];
        struct stat info;
        size_t length = (size_t)(slash - path);
        if (length >= sizeof name) {
            errno = ENAMETOOLONG;
            return -1;
        }
        memcpy(name, path, length);
        name[length] = '\0';
        int below = openat(here, name, OPEN_FOLDER);
        if (below < 0) {
            int err = errno;
            if (err == ENOTDIR && fstatat(here, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(info.st_mode))
                err = ELOOP; /* as openat2 has it */
            errno = err;
            return -1;
        }
        lc_close_fd(&held);
        here = held = below;
        path = slash + 1;
    }
    return openat(here, path, flags);
}

static int open_path(int dir_fd, const char *path, int flags)
{
    struct open_how_v0 how = {.flags = (uint64_t)flags, .resolve = BELOW_ONLY | NO_SYMLINKS};
    if (strchr(path, '/') != NULL) {
        long fd = syscall(OPENAT2, dir_fd, path, &how, sizeof how);
        if (fd >= 0 || (errno != ENOSYS && errno != EPERM && errno != EAGAIN))
            return (int)fd;
    }
    return open_by_steps(dir_fd, path, flags);
}

int lc_open_folder_beneath(int dir_fd, const char *path)
{
    if (leads_out(path)) {
        errno = EXDEV;
        return -1;
    }
    return open_path(dir_fd, path, OPEN_FOLDER);
}

int lc_open_beneath(int dir_fd, const char *path, size_t path_length, struct lc_error *error)
{
    struct stat info;
    if (leads_out(path))
        return lc_fail(error, EXDEV, NULL, path, path_length);
    int fd = open_path(dir_fd, path, OPEN_FILE);
    if (fd < 0)
        return lc_fail(error, errno, NULL, path, path_length);
    if (fstat(fd, &info) < 0 || !S_ISREG(info.st_mode)) {
        close(fd);
        return lc_fail(error, EINVAL, NOT_REGULAR, path, path_length);
    }
    return fd;
}

/* Hashing ─────────────────────────────────────────────────────────────────────────────────────────────────────── */

static int hash_rest(int fd, uint8_t *buffer, struct lc_sha256 *hash, const char *path, size_t path_length,
                     struct lc_error *error)
{
    ssize_t got;
    lc_sha256_start(hash, lc_sha256_choose(NULL));
    while ((got = read(fd, buffer, LC_HASH_BUFFER)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return lc_fail(error, errno, NULL, path, path_length);
        lc_sha256_update(hash, buffer, (size_t)got);
    }
    return 0;
}

int lc_hash_open_file(int fd, uint8_t *buffer, uint8_t digest[LC_SHA256_SIZE], const char *path, size_t path_length,
                      struct lc_error *error)
{
    struct lc_sha256 hash;
    if (hash_rest(fd, buffer, &hash, path, path_length, error) < 0)
        return -1;
    lc_sha256_finish(&hash, digest);
    return 0;
}

static int hash_file(int dir_fd, const struct lc_entry *file, uint8_t *buffer, uint64_t *size,
                     uint8_t digest[LC_SHA256_SIZE], struct lc_error *error)
{
    struct lc_sha256 hash;
    LC_AUTO_FD fd = lc_open_beneath(dir_fd, file->path, file->path_length, error);
    if (fd < 0 || hash_rest(fd, buffer, &hash, file->path, file->path_length, error) < 0)
        return -1;
    *size = hash.length;
    lc_sha256_finish(&hash, digest);
    return 0;
}

int lc_hash_files(int dir_fd, const struct lc_entry *files, size_t count, size_t *done, uint64_t budget,
                  uint8_t (*digests)[LC_SHA256_SIZE], struct lc_error *error)
{
    uint8_t *buffer = malloc(LC_HASH_BUFFER);
    uint64_t size, used = 0;
    int result = 0;
    if (buffer == NULL)
        return lc_fail(error, ENOMEM, NULL, NULL, 0);
    for (; *done < count && used < budget; used += size, ++*done) {
        result = hash_file(dir_fd, &files[*done], buffer, &size, digests[*done], error);
        if (result < 0)
            break;
    }
    free(buffer);
    return result;
}
