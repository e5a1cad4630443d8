#define _GNU_SOURCE
#include "survey.h"

#include "header.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>

static const char CHANGED[] = "file changed while it was read";
static const char ATTRIBUTES[] = "extended attributes";

/* layer/index.py, _RECORD: "<IIIqQQI". */
#define INDEX_RECORD 40
enum index_kind { INDEX_FILE = 2, INDEX_DIRECTORY = 5, INDEX_SYMLINK = 6 };

struct pack {
    struct lc_sink *sink;
    int root_fd;
    const struct lc_snapshot *survey;
    const struct lc_pack_rules *rules;
    struct lc_packed *packed;
    struct lc_error *error;
    int folder;            /* descriptor of the folder last read from, whose path is the first of `path` */
    size_t folder_length;
    struct lc_bytes path;  /* of the record on the host, ended by NUL */
    struct lc_bytes name;  /* of the record in the image */
    struct lc_bytes header;
};

static int no_memory(const struct pack *pack)
{
    return lc_fail(pack->error, ENOMEM, NULL, NULL, 0);
}

static int fail(const struct pack *pack, int err, const char *what)
{
    return lc_fail(pack->error, err, what, (const char *)pack->path.data, pack->path.used - 1);
}

/* Names ───────────────────────────────────────────────────────────────────────────────────────────────────────── */

static int set_path(struct pack *pack, const struct lc_record *record)
{
    size_t shared = pack->folder_length;
    const char *path = lc_record_path(pack->survey, record);
    if (pack->folder >= 0 && (record->path_length <= shared || path[shared] != '/' ||
                              memcmp(path, pack->path.data, shared) != 0 ||
                              memchr(path + shared + 1, '/', record->path_length - shared - 1) != NULL)) {
        lc_close_fd(&pack->folder);
        pack->folder = -1;
    }
    pack->path.used = 0;
    return lc_bytes_add(&pack->path, path, record->path_length) | lc_bytes_add(&pack->path, "", 1);
}

static int set_name(struct pack *pack, const struct lc_record *record)
{
    const struct lc_pack_rules *rules = pack->rules;
    const char *rest = lc_record_path(pack->survey, record) + rules->strip;
    size_t length = record->path_length - rules->strip;
    pack->name.used = 0;
    if (rules->prefix_length == 0 && length > 0 && rest[0] == '/')
        rest++, length--;
    return lc_bytes_add(&pack->name, rules->prefix, rules->prefix_length) | lc_bytes_add(&pack->name, rest, length) |
           (S_ISDIR(record->mode) ? lc_bytes_add(&pack->name, "/", 1) : 0);
}

/* One entry ───────────────────────────────────────────────────────────────────────────────────────────────────── */

static void little(uint8_t *to, uint64_t value, int size)
{
    for (int i = 0; i < size; i++)
        to[i] = (uint8_t)(value >> 8 * i);
}

static int put_index(struct pack *pack, const struct lc_header *header, enum index_kind kind, uint64_t offset)
{
    uint8_t record[INDEX_RECORD];
    struct lc_packed *packed = pack->packed;
    size_t length = header->name_length - (kind == INDEX_DIRECTORY);
    little(record, (uint64_t)kind << 16 | header->mode, 4);
    little(record + 4, header->uid, 4);
    little(record + 8, header->gid, 4);
    little(record + 12, (uint64_t)header->mtime_ns, 8);
    little(record + 20, kind == INDEX_FILE ? header->size : 0, 8);
    little(record + 28, kind == INDEX_FILE ? offset : 0, 8);
    little(record + 36, 0, 4);
    int failed = lc_bytes_add(&packed->records, record, sizeof record) |
                 lc_bytes_add(&packed->paths, header->name, length) | lc_bytes_add(&packed->paths, "", 1);
    if (kind == INDEX_SYMLINK)
        failed |= lc_bytes_add(&packed->targets, header->target, header->target_length) |
                  lc_bytes_add(&packed->targets, "", 1);
    return failed ? no_memory(pack) : 0;
}

static int put_header(struct pack *pack, const struct lc_record *record)
{
    static const char TYPES[] = {[INDEX_FILE] = '0', [INDEX_DIRECTORY] = '5', [INDEX_SYMLINK] = '2'};
    const struct lc_pack_rules *rules = pack->rules;
    enum index_kind kind = S_ISDIR(record->mode) ? INDEX_DIRECTORY
                           : S_ISLNK(record->mode) ? INDEX_SYMLINK : INDEX_FILE;
    struct lc_header header = {.type = TYPES[kind], .uid = rules->uid, .gid = rules->gid};
    if (set_name(pack, record))
        return no_memory(pack);
    header.name = (const char *)pack->name.data;
    header.name_length = pack->name.used;
    header.mode = record->mode & 07777;
    if (rules->modes != NULL && kind != INDEX_SYMLINK)
        header.mode = rules->modes[(kind == INDEX_DIRECTORY ? 4096 : 0) + header.mode];
    header.mtime_ns = record->mtime_ns < rules->latest ? record->mtime_ns : rules->latest;
    header.size = kind == INDEX_FILE ? (uint64_t)record->size : 0;
    if (kind == INDEX_SYMLINK) {
        header.target = pack->survey->paths + record->target;
        header.target_length = record->target_length;
    }
    if (lc_bytes_reserve(&pack->header, lc_header_room(&header)) < 0)
        return no_memory(pack);
    size_t size = lc_header_write(&header, pack->header.data);
    if (lc_sink_put(pack->sink, pack->header.data, size, pack->error) < 0)
        return -1;
    return put_index(pack, &header, kind, pack->sink->length);
}

/* Contents ────────────────────────────────────────────────────────────────────────────────────────────────────── */

static int check_attributes(const struct pack *pack, int fd)
{
    char names[4096];
    ssize_t got = flistxattr(fd, names, sizeof names);
    if (got < 0)
        return errno == ERANGE ? fail(pack, ENOTSUP, ATTRIBUTES) : 0;
    for (const char *name = names; name < names + got; name += strlen(name) + 1)
        if (strncmp(name, "user.", 5) == 0)
            return fail(pack, ENOTSUP, ATTRIBUTES);
    return 0;
}

/* The folder stays open for the files in it: they come one after the other. */
static int open_file(struct pack *pack, const struct lc_record *record)
{
    const char *path = (const char *)pack->path.data;
    const char *slash = memrchr(path, '/', record->path_length);
    if (slash == NULL)
        return openat(pack->root_fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (pack->folder < 0) {
        pack->folder_length = (size_t)(slash - path);
        pack->path.data[pack->folder_length] = '\0';
        pack->folder = lc_open_folder_beneath(pack->root_fd, path);
        pack->path.data[pack->folder_length] = '/';
        if (pack->folder < 0)
            return -1;
    }
    return openat(pack->folder, slash + 1, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
}

/* The record just put. */
static int put_hinted(struct pack *pack)
{
    uint8_t number[4];
    little(number, pack->packed->records.used / INDEX_RECORD - 1, sizeof number);
    return lc_bytes_add(&pack->packed->hinted, number, sizeof number) < 0 ? no_memory(pack) : 0;
}

static int put_file(struct pack *pack, const struct lc_record *record, uint8_t *digest)
{
    struct lc_onlooker onlooker = {.hints = pack->rules->hints};
    LC_AUTO_FD fd = open_file(pack, record);
    if (fd < 0)
        return fail(pack, errno, NULL);
    if (check_attributes(pack, fd) < 0 || put_header(pack, record) < 0)
        return -1;
    lc_sha256_start(&onlooker.hash, pack->sink->hash.kernel);
    if (lc_sink_copy_watched(pack->sink, fd, (uint64_t)record->size, &onlooker, (const char *)pack->path.data,
                             record->path_length, pack->error) < 0)
        return -1;
    lc_sha256_finish(&onlooker.hash, digest);
    return onlooker.has_hint ? put_hinted(pack) : 0;
}

static int put_folder(struct pack *pack, const struct lc_record *record, uint8_t *digest)
{
    LC_AUTO_FD fd = openat(pack->root_fd, (const char *)pack->path.data,
                           O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return fail(pack, errno, NULL);
    memset(digest, 0, LC_SHA256_SIZE);
    digest[0] = 1;
    if (check_attributes(pack, fd) < 0)
        return -1;
    return put_header(pack, record);
}

static int put_record(struct pack *pack, const struct lc_record *record, uint8_t *digest)
{
    if (set_path(pack, record))
        return no_memory(pack);
    if (S_ISREG(record->mode))
        return put_file(pack, record, digest);
    if (S_ISDIR(record->mode))
        return put_folder(pack, record, digest);
    if (!S_ISLNK(record->mode))
        return fail(pack, ENOTSUP, CHANGED);
    memset(digest, 0, LC_SHA256_SIZE);
    digest[0] = 1;
    return put_header(pack, record);
}

int lc_pack(struct lc_sink *sink, int root_fd, const struct lc_snapshot *survey, lc_digest *digests,
            const struct lc_pack_rules *rules, size_t *done, uint64_t budget, struct lc_packed *packed,
            struct lc_error *error)
{
    struct pack pack = {.sink = sink, .root_fd = root_fd, .survey = survey, .rules = rules, .packed = packed,
                        .error = error, .folder = -1};
    uint64_t start = sink->length;
    int result = 0;
    for (; *done < survey->count && sink->length - start < budget && result == 0; ++*done) {
        const struct lc_record *record = &survey->records[*done];
        if (record->path_length < rules->strip)
            result = lc_fail(error, EINVAL, "a path is shorter than what is taken off it", NULL, 0);
        else
            result = put_record(&pack, record, digests[*done]);
    }
    lc_close_fd(&pack.folder);
    free(pack.path.data);
    free(pack.name.data);
    free(pack.header.data);
    return result;
}
