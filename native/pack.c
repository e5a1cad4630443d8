#define _GNU_SOURCE
#include "survey.h"

#include "header.h"
#include "index.h"
#include "loader.h"

#include <stdlib.h>
#include <sys/stat.h>

struct lc_packer {
    struct lc_sink *sink;
    const struct lc_snapshot *survey;
    lc_digest *digests;
    const struct lc_pack_rules *rules;
    struct lc_packed *packed;
    struct lc_error *error;
    struct lc_loader *loader;
    struct lc_opener opener; /* for what the loader leaves */
    size_t next;             /* record */
    struct lc_bytes name;    /* of the record in the image */
    struct lc_bytes header;
};

static int no_memory(const struct lc_packer *pack)
{
    return lc_fail(pack->error, ENOMEM, NULL, NULL, 0);
}

static int fail(const struct lc_packer *pack, const struct lc_record *record, int err, const char *what)
{
    return lc_fail(pack->error, err, what, lc_record_path(pack->survey, record), record->path_length);
}

/* Names ───────────────────────────────────────────────────────────────────────────────────────────────────────── */

static int set_name(struct lc_packer *pack, const struct lc_record *record)
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

static int put_index(struct lc_packer *pack, const struct lc_header *header, enum lc_index_kind kind, uint64_t offset)
{
    struct lc_packed *packed = pack->packed;
    size_t length = header->name_length - (kind == LC_INDEX_DIRECTORY);
    const struct lc_index_record record = {
        .kind = kind, .mode = header->mode, .uid = header->uid, .gid = header->gid, .mtime_ns = header->mtime_ns,
        .first = kind == LC_INDEX_FILE ? header->size : 0, .second = kind == LC_INDEX_FILE ? offset : 0};
    int failed = lc_index_add(&packed->records, &record) | lc_bytes_add(&packed->paths, header->name, length) |
                 lc_bytes_add(&packed->paths, "", 1);
    if (kind == LC_INDEX_SYMLINK)
        failed |= lc_bytes_add(&packed->targets, header->target, header->target_length) |
                  lc_bytes_add(&packed->targets, "", 1);
    return failed ? no_memory(pack) : 0;
}

static int put_header(struct lc_packer *pack, const struct lc_record *record)
{
    static const char TYPES[] = {[LC_INDEX_FILE] = '0', [LC_INDEX_DIRECTORY] = '5', [LC_INDEX_SYMLINK] = '2'};
    const struct lc_pack_rules *rules = pack->rules;
    enum lc_index_kind kind = S_ISDIR(record->mode) ? LC_INDEX_DIRECTORY
                              : S_ISLNK(record->mode) ? LC_INDEX_SYMLINK : LC_INDEX_FILE;
    struct lc_header header = {.type = TYPES[kind], .uid = rules->uid, .gid = rules->gid};
    if (set_name(pack, record))
        return no_memory(pack);
    header.name = (const char *)pack->name.data;
    header.name_length = pack->name.used;
    header.mode = record->mode & 07777;
    if (rules->modes != NULL && kind != LC_INDEX_SYMLINK)
        header.mode = rules->modes[(kind == LC_INDEX_DIRECTORY ? 4096 : 0) + header.mode];
    header.mtime_ns = record->mtime_ns < rules->latest ? record->mtime_ns : rules->latest;
    header.size = kind == LC_INDEX_FILE ? (uint64_t)record->size : 0;
    if (kind == LC_INDEX_SYMLINK) {
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

static const lc_digest SEEN = {1};

/* The record just put. */
static int put_hinted(struct lc_packer *pack)
{
    uint8_t number[4];
    lc_little(number, pack->packed->records.used / LC_INDEX_RECORD - 1, sizeof number);
    return lc_bytes_add(&pack->packed->hinted, number, sizeof number) < 0 ? no_memory(pack) : 0;
}

/* As the loader read it. */
static int put_loaded(struct lc_packer *pack, const struct lc_record *record, const struct lc_loaded *loaded)
{
    uint64_t size = (uint64_t)record->size;
    if (loaded->err != 0)
        return fail(pack, record, loaded->err, loaded->what);
    memcpy(pack->digests[pack->next], S_ISREG(record->mode) ? loaded->digest : SEEN, sizeof(lc_digest));
    if (put_header(pack, record) < 0)
        return -1;
    if (S_ISREG(record->mode) && (lc_sink_put(pack->sink, loaded->data, (size_t)size, pack->error) < 0 ||
                                  lc_sink_pad(pack->sink, size, pack->error) < 0))
        return -1;
    return loaded->has_hint ? put_hinted(pack) : 0;
}

static int put_file(struct lc_packer *pack, const struct lc_record *record)
{
    struct lc_onlooker onlooker = {.hints = pack->rules->hints};
    LC_AUTO_FD fd = lc_opener_open(&pack->opener, record, pack->error);
    if (fd < 0 || put_header(pack, record) < 0)
        return -1;
    lc_sha256_start(&onlooker.hash, pack->sink->hash.kernel);
    if (lc_sink_copy_watched(pack->sink, fd, (uint64_t)record->size, &onlooker, pack->opener.path,
                             record->path_length, pack->error) < 0)
        return -1;
    lc_sha256_finish(&onlooker.hash, pack->digests[pack->next]);
    return onlooker.has_hint ? put_hinted(pack) : 0;
}

static int put_folder(struct lc_packer *pack, const struct lc_record *record)
{
    LC_AUTO_FD fd = lc_opener_open(&pack->opener, record, pack->error);
    if (fd < 0)
        return -1;
    memcpy(pack->digests[pack->next], SEEN, sizeof SEEN);
    return put_header(pack, record);
}

static int put_record(struct lc_packer *pack)
{
    const struct lc_record *record = &pack->survey->records[pack->next];
    const struct lc_loaded *loaded = pack->loader == NULL ? NULL : lc_loader_next(pack->loader);
    if (record->path_length < pack->rules->strip)
        return lc_fail(pack->error, EINVAL, "a path is shorter than what is taken off it", NULL, 0);
    if (loaded != NULL && loaded->done)
        return put_loaded(pack, record, loaded);
    if (S_ISREG(record->mode))
        return put_file(pack, record);
    if (S_ISDIR(record->mode))
        return put_folder(pack, record);
    if (!S_ISLNK(record->mode))
        return fail(pack, record, ENOTSUP, NULL);
    memcpy(pack->digests[pack->next], SEEN, sizeof SEEN);
    return put_header(pack, record);
}

/* ─────────────────────────────────────────────────────────────────────────────────────────────────────────────── */

struct lc_packer *lc_packer_start(struct lc_sink *sink, int root_fd, const struct lc_snapshot *survey,
                                  lc_digest *digests, const struct lc_pack_rules *rules)
{
    struct lc_packer *pack = calloc(1, sizeof *pack);
    if (pack == NULL)
        return NULL;
    pack->sink = sink;
    pack->survey = survey;
    pack->digests = digests;
    pack->rules = rules;
    pack->next = rules->first;
    lc_opener_start(&pack->opener, root_fd, survey);
    pack->loader = lc_loader_start(root_fd, survey, rules->first, rules->hints);
    return pack;
}

int lc_packer_step(struct lc_packer *pack, uint64_t budget, struct lc_packed *packed, struct lc_error *error)
{
    uint64_t start = pack->sink->length;
    pack->packed = packed;
    pack->error = error;
    for (; pack->next < pack->survey->count && pack->sink->length - start < budget; pack->next++)
        if (put_record(pack) < 0)
            return -1;
    return pack->next < pack->survey->count;
}

void lc_packer_end(struct lc_packer *pack)
{
    if (pack == NULL)
        return;
    lc_loader_end(pack->loader);
    lc_opener_end(&pack->opener);
    free(pack->name.data);
    free(pack->header.data);
    free(pack);
}
