#define _GNU_SOURCE
#include "scan.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#define MAX_PATH 65536 /* bytes; each record holds its whole path, so depth must have an end */
#define LISTING 32768

static const char MOVED[] = "folder moved while it was read";
static const int FOLDER = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

/* getdents64(2) */
struct entry64 {
    uint64_t ino;
    int64_t off;
    unsigned short length;
    unsigned char type;
    char name[];
};

/* A folder being walked: its names, sorted, and which of them is next. Its own path ends with "/" in `walk.path`. */
struct frame {
    char *names;           /* each ends with NUL */
    const char **sorted;
    size_t count, next, prefix;
    dev_t dev;
    ino_t ino;
};

struct walk {
    struct lc_snapshot *snapshot;
    const struct lc_survey *survey; /* NULL: a plain scan */
    size_t skipped;                 /* of survey->skipped: the walk is past them */
    struct lc_error *error;
    struct frame *frames;
    size_t depth, capacity;
    int folder;            /* descriptor of the innermost frame */
    char path[MAX_PATH + 1];
};

/* `old`, or where it went, with room for `more` of `size` bytes after `used` ones: it grows by half. NULL, and `old` is
 * as it was, when there is no memory. */
static void *reserve(void *old, size_t *capacity, size_t used, size_t more, size_t size)
{
    void *grown;
    size_t wanted, bytes;
    if (__builtin_add_overflow(used, more, &wanted))
        return NULL;
    if (old != NULL && wanted <= *capacity)
        return old;
    if (wanted < *capacity + *capacity / 2)
        wanted = *capacity + *capacity / 2;
    if (wanted < 64)
        wanted = 64;
    if (__builtin_mul_overflow(wanted, size, &bytes) || (grown = realloc(old, bytes)) == NULL)
        return NULL;
    *capacity = wanted;
    return grown;
}

static int out_of_memory(const struct walk *walk)
{
    return lc_fail(walk->error, ENOMEM, NULL, NULL, 0);
}

/* Order ───────────────────────────────────────────────────────────────────────────────────────────────────────── */

int lc_path_order(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t shared = a_length < b_length ? a_length : b_length;
    for (size_t i = 0; i < shared; i++)
        if (a[i] != b[i]) /* no name holds a NUL, so "/" may stand as one */
            return (a[i] == '/' ? 0 : (unsigned char)a[i]) < (b[i] == '/' ? 0 : (unsigned char)b[i]) ? -1 : 1;
    return (a_length > b_length) - (a_length < b_length);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* One folder ──────────────────────────────────────────────────────────────────────────────────────────────────── */

static int is_dots(const char *name)
{
    return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

static int read_names(struct walk *walk, struct frame *frame)
{
    _Alignas(struct entry64) char listing[LISTING];
    size_t used = 0, capacity = 0;
    for (;;) {
        long got = syscall(SYS_getdents64, walk->folder, listing, sizeof listing);
        if (got < 0)
            return lc_fail(walk->error, errno, NULL, walk->path, frame->prefix);
        if (got == 0)
            break;
        for (long at = 0; at < got;) {
            const struct entry64 *entry = (const void *)(listing + at);
            size_t length = strlen(entry->name) + 1;
            at += entry->length;
            if (is_dots(entry->name))
                continue;
            char *names = reserve(frame->names, &capacity, used, length, 1);
            if (names == NULL)
                return out_of_memory(walk);
            frame->names = names;
            memcpy(frame->names + used, entry->name, length);
            used += length;
            frame->count++;
        }
    }
    if (frame->count == 0)
        return 0;
    if ((frame->sorted = calloc(frame->count, sizeof *frame->sorted)) == NULL)
        return out_of_memory(walk);
    const char *name = frame->names;
    for (size_t i = 0; i < frame->count; i++, name += strlen(name) + 1)
        frame->sorted[i] = name;
    qsort(frame->sorted, frame->count, sizeof *frame->sorted, by_name);
    return 0;
}

/* Of the outermost folder, where a survey names what it wants. */
static int given_names(struct walk *walk, struct frame *frame)
{
    const struct lc_survey *survey = walk->survey;
    size_t used = 0;
    for (size_t i = 0; i < survey->name_count; i++)
        used += survey->names[i].length + 1;
    frame->count = survey->name_count;
    frame->names = malloc(used + 1);
    frame->sorted = calloc(frame->count + 1, sizeof *frame->sorted);
    if (frame->names == NULL || frame->sorted == NULL)
        return out_of_memory(walk);
    char *next = frame->names;
    for (size_t i = 0; i < frame->count; i++) {
        frame->sorted[i] = next;
        memcpy(next, survey->names[i].bytes, survey->names[i].length);
        next[survey->names[i].length] = '\0';
        next += survey->names[i].length + 1;
    }
    return 0;
}

static int enter(struct walk *walk, size_t prefix)
{
    struct stat info;
    struct frame *frames = reserve(walk->frames, &walk->capacity, walk->depth, 1, sizeof *frames);
    if (frames == NULL)
        return out_of_memory(walk);
    walk->frames = frames;
    struct frame *frame = &walk->frames[walk->depth++];
    memset(frame, 0, sizeof *frame);
    frame->prefix = prefix;
    if (fstat(walk->folder, &info) < 0)
        return lc_fail(walk->error, errno, NULL, walk->path, prefix);
    frame->dev = info.st_dev;
    frame->ino = info.st_ino;
    if (prefix == 0 && walk->survey != NULL && walk->survey->names != NULL)
        return given_names(walk, frame);
    return read_names(walk, frame);
}

/* Up to the folder we came from, which must still be where it was. */
static int leave(struct walk *walk)
{
    struct stat info;
    struct frame *frame = &walk->frames[--walk->depth];
    free(frame->names);
    free(frame->sorted);
    if (walk->depth == 0)
        return 0;
    frame--;
    int above = openat(walk->folder, "..", FOLDER);
    if (above < 0)
        return lc_fail(walk->error, errno, NULL, walk->path, frame->prefix);
    close(walk->folder);
    walk->folder = above;
    if (fstat(above, &info) < 0 || info.st_dev != frame->dev || info.st_ino != frame->ino)
        return lc_fail(walk->error, ESTALE, MOVED, walk->path, frame->prefix);
    return 0;
}

/* One path ────────────────────────────────────────────────────────────────────────────────────────────────────── */

/* The last nanosecond that 64 bits hold is in the year 2262: a later time becomes that, as in Python's reading of them. */
static int64_t nanoseconds(struct timespec time)
{
    int64_t whole;
    if (__builtin_mul_overflow((int64_t)time.tv_sec, 1000000000, &whole) ||
        __builtin_add_overflow(whole, time.tv_nsec, &whole))
        return time.tv_sec < 0 ? INT64_MIN : INT64_MAX;
    return whole;
}

static int record(struct walk *walk, size_t length, const struct stat *info)
{
    struct lc_snapshot *snapshot = walk->snapshot;
    struct lc_record *records = reserve(snapshot->records, &snapshot->capacity, snapshot->count, 1, sizeof *records);
    if (records == NULL)
        return out_of_memory(walk);
    snapshot->records = records;
    char *paths = reserve(snapshot->paths, &snapshot->paths_capacity, snapshot->paths_used, length, 1);
    if (paths == NULL)
        return out_of_memory(walk);
    snapshot->paths = paths;
    memcpy(snapshot->paths + snapshot->paths_used, walk->path, length);
    snapshot->records[snapshot->count++] = (struct lc_record){
        .path = snapshot->paths_used,
        .path_length = (uint32_t)length,
        .mode = info->st_mode,
        .uid = info->st_uid,
        .gid = info->st_gid,
        .size = info->st_size,
        .mtime_ns = nanoseconds(info->st_mtim),
        .ctime_ns = nanoseconds(info->st_ctim),
        .dev = info->st_dev,
        .ino = info->st_ino,
        .nlink = info->st_nlink,
        .rdev = info->st_rdev,
    };
    snapshot->paths_used += length;
    if (S_ISREG(info->st_mode)) {
        snapshot->files++;
        snapshot->bytes += (uint64_t)info->st_size;
    }
    return 0;
}

/* Survey ──────────────────────────────────────────────────────────────────────────────────────────────────────── */

static int is_skipped(struct walk *walk, size_t length)
{
    const struct lc_survey *survey = walk->survey;
    while (walk->skipped < survey->skipped_count) {
        const struct lc_text *next = &survey->skipped[walk->skipped];
        int order = lc_path_order(next->bytes, next->length, walk->path, length);
        if (order >= 0)
            return order == 0;
        walk->skipped++;
    }
    return 0;
}

/* Where the symlink just recorded leads: kept behind the paths. */
static int record_target(struct walk *walk, const char *name)
{
    struct lc_snapshot *snapshot = walk->snapshot;
    struct lc_record *record = &snapshot->records[snapshot->count - 1];
    size_t room = 4096;
    char *paths = reserve(snapshot->paths, &snapshot->paths_capacity, snapshot->paths_used, room, 1);
    if (paths == NULL)
        return out_of_memory(walk);
    snapshot->paths = paths;
    ssize_t got = readlinkat(walk->folder, name, snapshot->paths + snapshot->paths_used, room);
    if (got < 0)
        return lc_fail(walk->error, errno, NULL, walk->path, record->path_length);
    record->target = snapshot->paths_used;
    record->target_length = (uint32_t)got;
    snapshot->paths_used += (size_t)got;
    return 0;
}

static struct timespec time_of(const struct statx_timestamp *time)
{
    return (struct timespec){.tv_sec = time->tv_sec, .tv_nsec = time->tv_nsec};
}

/* lstat, asked of the server where there is one: what a client keeps of a file may be a minute old, and an entry that
 * is as it was will be believed to hold what it held. */
static int fresh_stat(int folder, const char *name, struct stat *info)
{
    struct statx found;
    if (statx(folder, name, AT_SYMLINK_NOFOLLOW | AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &found) < 0)
        return errno == ENOSYS || errno == EPERM ? fstatat(folder, name, info, AT_SYMLINK_NOFOLLOW) : -1;
    memset(info, 0, sizeof *info);
    info->st_mode = found.stx_mode;
    info->st_uid = found.stx_uid;
    info->st_gid = found.stx_gid;
    info->st_size = (off_t)found.stx_size;
    info->st_mtim = time_of(&found.stx_mtime);
    info->st_ctim = time_of(&found.stx_ctime);
    info->st_dev = makedev(found.stx_dev_major, found.stx_dev_minor);
    info->st_ino = found.stx_ino;
    info->st_nlink = found.stx_nlink;
    info->st_rdev = makedev(found.stx_rdev_major, found.stx_rdev_minor);
    return 0;
}

static int survey_entry(struct walk *walk, const char *name, const struct stat *info)
{
    int hard_link = S_ISREG(info->st_mode) && info->st_nlink > 1;
    int special = !S_ISREG(info->st_mode) && !S_ISDIR(info->st_mode) && !S_ISLNK(info->st_mode);
    if (hard_link || special || strncmp(name, ".wh.", 4) == 0)
        walk->snapshot->odd = 1;
    return S_ISLNK(info->st_mode) ? record_target(walk, name) : 0;
}

static int visit(struct walk *walk, const char *name, size_t prefix)
{
    struct stat info;
    size_t length = prefix + strlen(name);
    if (length >= MAX_PATH) {
        size_t part = MAX_PATH - prefix;
        memcpy(walk->path + prefix, name, part < 256 ? part : 256);
        return lc_fail(walk->error, ENAMETOOLONG, NULL, walk->path, 255);
    }
    memcpy(walk->path + prefix, name, length - prefix);
    if (walk->survey != NULL && is_skipped(walk, length))
        return 0;
    if ((walk->survey != NULL ? fresh_stat(walk->folder, name, &info)
                              : fstatat(walk->folder, name, &info, AT_SYMLINK_NOFOLLOW)) < 0)
        return lc_fail(walk->error, errno, NULL, walk->path, length);
    if (walk->survey != NULL && S_ISSOCK(info.st_mode))
        return 0;
    if (record(walk, length, &info) < 0 || (walk->survey != NULL && survey_entry(walk, name, &info) < 0))
        return -1;
    if (!S_ISDIR(info.st_mode))
        return 0;
    int below = openat(walk->folder, name, FOLDER);
    if (below < 0)
        return lc_fail(walk->error, errno, NULL, walk->path, length);
    close(walk->folder);
    walk->folder = below;
    walk->path[length] = '/';
    return enter(walk, length + 1);
}

static int walk_all(struct walk *walk)
{
    if (enter(walk, 0) < 0)
        return -1;
    while (walk->depth > 0) {
        struct frame *frame = &walk->frames[walk->depth - 1];
        int failed = frame->next == frame->count ? leave(walk)
                                                 : visit(walk, frame->sorted[frame->next++], frame->prefix);
        if (failed)
            return -1;
    }
    return 0;
}

int lc_scan(int root_fd, struct lc_snapshot *snapshot, struct lc_error *error)
{
    return lc_scan_survey(root_fd, NULL, snapshot, error);
}

int lc_scan_survey(int root_fd, const struct lc_survey *survey, struct lc_snapshot *snapshot, struct lc_error *error)
{
    struct walk *walk = calloc(1, sizeof *walk);
    if (walk == NULL)
        return lc_fail(error, ENOMEM, NULL, NULL, 0);
    walk->snapshot = snapshot;
    walk->survey = survey;
    walk->error = error;
    walk->folder = openat(root_fd, ".", FOLDER);
    int result = walk->folder < 0 ? lc_fail(error, errno, NULL, ".", 1) : walk_all(walk);
    while (walk->depth > 0) {
        walk->depth--;
        free(walk->frames[walk->depth].names);
        free(walk->frames[walk->depth].sorted);
    }
    lc_close_fd(&walk->folder);
    free(walk->frames);
    free(walk);
    return result;
}

void lc_snapshot_free(struct lc_snapshot *snapshot)
{
    free(snapshot->records);
    free(snapshot->paths);
    memset(snapshot, 0, sizeof *snapshot);
}

const struct lc_record *lc_snapshot_find(const struct lc_snapshot *snapshot, const char *path, size_t length)
{
    size_t low = 0, high = snapshot->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct lc_record *record = &snapshot->records[middle];
        int order = lc_path_order(lc_record_path(snapshot, record), record->path_length, path, length);
        if (order == 0)
            return record;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}
