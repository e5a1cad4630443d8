#define _GNU_SOURCE
#include "survey.h"

#include "loader.h"

#include <stdlib.h>
#include <sys/stat.h>

static const lc_digest SEEN = {1};

static int is_known(const uint8_t *digest)
{
    for (size_t i = 0; i < sizeof(lc_digest); i++)
        if (digest[i] != 0)
            return 1;
    return 0;
}

/* Memory ──────────────────────────────────────────────────────────────────────────────────────────────────────── */

/* One entry of a memory; its path follows. Native byte order: a memory never leaves its machine. */
struct remembered {
    uint64_t dev, ino;
    int64_t size, mtime_ns, ctime_ns;
    uint32_t mode, path_length;
    uint32_t settled, unused;
    lc_digest digest;
};

struct reader {
    const uint8_t *data;
    size_t size, at;
    struct remembered entry;
    const char *path;
    int has_entry;
};

static void next_entry(struct reader *reader)
{
    size_t left = reader->size - reader->at;
    reader->has_entry = 0;
    if (left < sizeof reader->entry)
        return;
    memcpy(&reader->entry, reader->data + reader->at, sizeof reader->entry);
    if (reader->entry.path_length > left - sizeof reader->entry)
        return;
    reader->path = (const char *)reader->data + reader->at + sizeof reader->entry;
    reader->at += sizeof reader->entry + reader->entry.path_length;
    reader->has_entry = 1;
}

/* The entry for this record, when it is as it was: surveys and memories are in the same order. */
static int find_entry(struct reader *reader, const struct lc_snapshot *survey, const struct lc_record *record)
{
    while (reader->has_entry) {
        int order = lc_path_order(reader->path, reader->entry.path_length, lc_record_path(survey, record),
                                  record->path_length);
        if (order > 0)
            return 0;
        if (order == 0)
            return reader->entry.dev == record->dev && reader->entry.ino == record->ino &&
                   reader->entry.size == record->size && reader->entry.mtime_ns == record->mtime_ns &&
                   reader->entry.ctime_ns == record->ctime_ns && reader->entry.mode == record->mode;
        next_entry(reader);
    }
    return 0;
}

struct lc_unknown lc_recall(const struct lc_snapshot *survey, const uint8_t *memory, size_t size, lc_digest *digests)
{
    struct reader reader = {.data = memory, .size = size};
    struct lc_unknown unknown = {0};
    next_entry(&reader);
    for (size_t i = 0; i < survey->count; i++) {
        const struct lc_record *record = &survey->records[i];
        if (S_ISLNK(record->mode))
            memcpy(digests[i], SEEN, sizeof SEEN); /* the kernel lets no symlink have attributes of the user's */
        else if (find_entry(&reader, survey, record) && reader.entry.settled && is_known(reader.entry.digest))
            memcpy(digests[i], reader.entry.digest, sizeof(lc_digest));
        else if (!is_known(digests[i])) {
            unknown.records++;
            unknown.bytes += S_ISREG(record->mode) ? (uint64_t)record->size : 0;
        }
    }
    return unknown;
}

int lc_remember(const struct lc_snapshot *survey, const lc_digest *digests, const uint8_t *before, size_t before_size,
                int64_t quiet, struct lc_bytes *out, struct lc_error *error)
{
    struct reader reader = {.data = before, .size = before_size};
    next_entry(&reader);
    for (size_t i = 0; i < survey->count; i++) {
        const struct lc_record *record = &survey->records[i];
        if (S_ISLNK(record->mode) || !is_known(digests[i]))
            continue;
        struct remembered entry = {
            .dev = record->dev, .ino = record->ino, .size = record->size, .mtime_ns = record->mtime_ns,
            .ctime_ns = record->ctime_ns, .mode = record->mode, .path_length = record->path_length,
        };
        entry.settled = (record->ctime_ns < quiet && record->mtime_ns < quiet) || find_entry(&reader, survey, record);
        memcpy(entry.digest, digests[i], sizeof entry.digest);
        if (lc_bytes_add(out, &entry, sizeof entry) < 0 ||
            lc_bytes_add(out, lc_record_path(survey, record), record->path_length) < 0)
            return lc_fail(error, ENOMEM, NULL, NULL, 0);
    }
    return 0;
}

/* Telling ─────────────────────────────────────────────────────────────────────────────────────────────────────── */

/* Digits, most significant first → how many. */
static size_t write_digits(char *to, uint64_t value, unsigned base)
{
    char backwards[24];
    size_t count = 0;
    do
        backwards[count++] = (char)('0' + value % base);
    while ((value /= base) > 0);
    for (size_t i = 0; i < count; i++)
        to[i] = backwards[count - 1 - i];
    return count;
}

/* "fMODE:SIZE:", "dMODE:", or "d" for the folder itself: of that what it holds is taken. A NUL ends it. */
static size_t write_told(char *to, const struct lc_record *record, unsigned mode, int is_top)
{
    size_t used = 1;
    to[0] = S_ISREG(record->mode) ? 'f' : 'd';
    if (S_ISREG(record->mode) || !is_top) {
        used += write_digits(to + used, mode, 8);
        to[used++] = ':';
    }
    if (S_ISREG(record->mode)) {
        used += write_digits(to + used, (uint64_t)record->size, 10);
        to[used++] = ':';
    }
    to[used++] = '\0';
    return used;
}

static int tell_record(const struct lc_snapshot *survey, const struct lc_record *record,
                       const struct lc_telling *how, struct lc_bytes *text)
{
    char told[64];
    size_t strip = how->strip < record->path_length ? how->strip : record->path_length;
    int failed = lc_bytes_add(text, lc_record_path(survey, record) + strip, record->path_length - strip) |
                 lc_bytes_add(text, "", 1);
    if (S_ISLNK(record->mode))
        return failed | lc_bytes_add(text, "l", 1) |
               lc_bytes_add(text, survey->paths + record->target, record->target_length) | lc_bytes_add(text, "\0", 2);
    size_t length = write_told(told, record, how->modes[record->mode & 07777], record->path_length == strip);
    return failed | lc_bytes_add(text, told, length);
}

int lc_tell(const struct lc_snapshot *survey, const lc_digest *digests, const struct lc_telling *how,
            struct lc_bytes *text, struct lc_bytes *contents, struct lc_error *error)
{
    for (size_t i = how->first; i < survey->count; i++) {
        const struct lc_record *record = &survey->records[i];
        int failed = tell_record(survey, record, how, text);
        if (S_ISREG(record->mode))
            failed |= lc_bytes_add(contents, digests[i], sizeof(lc_digest));
        if (failed)
            return lc_fail(error, ENOMEM, NULL, NULL, 0);
    }
    return 0;
}

/* Looking ─────────────────────────────────────────────────────────────────────────────────────────────────────── */

static int learn_record(struct lc_opener *opener, const struct lc_record *record, uint8_t *digest, uint8_t *buffer,
                        struct lc_error *error)
{
    LC_AUTO_FD fd = lc_opener_open(opener, record, error);
    if (fd < 0)
        return -1;
    memcpy(digest, SEEN, sizeof SEEN);
    return S_ISDIR(record->mode) ? 0 : lc_hash_open_file(fd, buffer, digest, opener->path, record->path_length, error);
}

int lc_learn(int root_fd, const struct lc_snapshot *survey, lc_digest *digests, size_t *done, uint64_t budget,
             struct lc_error *error)
{
    struct lc_opener opener;
    uint64_t used = 0;
    int result = 0;
    uint8_t *buffer = malloc(LC_HASH_BUFFER);
    if (buffer == NULL)
        return lc_fail(error, ENOMEM, NULL, NULL, 0);
    lc_opener_start(&opener, root_fd, survey);
    for (; *done < survey->count && used < budget && result == 0; ++*done) {
        const struct lc_record *record = &survey->records[*done];
        if (is_known(digests[*done]))
            continue;
        if (S_ISLNK(record->mode)) {
            memcpy(digests[*done], SEEN, sizeof SEEN);
            continue;
        }
        used += (uint64_t)record->size + 4096;
        result = learn_record(&opener, record, digests[*done], buffer, error);
    }
    lc_opener_end(&opener);
    free(buffer);
    return result;
}
