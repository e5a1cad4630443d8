#define _GNU_SOURCE
#include "arrange.h"

#include "index.h"
#include "scan.h"

#include <stdlib.h>

#define NOWHERE UINT32_MAX

struct row {
    struct lc_text path, target;
    struct lc_index_record record;
    uint32_t source; /* the row that a hard link leads to; for any other its own number */
    uint32_t place;  /* of a file in the index, NOWHERE before it is there */
};

struct sorter {
    const struct lc_arrangement *given;
    struct row *rows;
    uint32_t *order; /* numbers of rows, canonical */
    uint32_t count;
    uint32_t *attributes; /* new numbers by old ones, 0: none yet */
};

/* Rows ────────────────────────────────────────────────────────────────────────────────────────────────────────────── */

/* The next of the texts, which all end with NUL. → 0, or -1: there is none. */
static int next_text(struct lc_text *left, struct lc_text *text)
{
    const char *end = left->length == 0 ? NULL : memchr(left->bytes, '\0', left->length);
    if (end == NULL)
        return -1;
    *text = (struct lc_text){left->bytes, (size_t)(end - left->bytes)};
    left->length -= text->length + 1;
    left->bytes = end + 1;
    return 0;
}

static int has_target(const struct lc_index_record *record)
{
    return record->kind == LC_INDEX_LINK || record->kind == LC_INDEX_SYMLINK;
}

static int read_rows(struct sorter *sorter)
{
    struct lc_text paths = sorter->given->paths, targets = sorter->given->targets;
    for (uint32_t i = 0; i < sorter->count; i++) {
        struct row *row = &sorter->rows[i];
        row->record = lc_index_get((const uint8_t *)sorter->given->records.bytes + (size_t)i * LC_INDEX_RECORD);
        row->source = i;
        row->place = NOWHERE;
        sorter->order[i] = i;
        if (next_text(&paths, &row->path) < 0 || row->record.kind > LC_INDEX_DEVICE ||
            row->record.attributes > sorter->given->attributes ||
            (has_target(&row->record) && next_text(&targets, &row->target) < 0))
            return -1;
    }
    return paths.length == 0 && targets.length == 0 ? 0 : -1;
}

/* Order ───────────────────────────────────────────────────────────────────────────────────────────────────────────── */

static int is_put(const struct row *row)
{
    return row->record.kind != LC_INDEX_REMOVE && row->record.kind != LC_INDEX_OPAQUE;
}

/* At one path Remove, then Opaque, then Put. */
static int rank(const struct row *row)
{
    return is_put(row) ? 2 : row->record.kind == LC_INDEX_OPAQUE;
}

static int compare(const struct row *a, const struct row *b)
{
    int order = lc_path_order(a->path.bytes, a->path.length, b->path.bytes, b->path.length);
    return order != 0 ? order : rank(a) - rank(b);
}

static int by_order(const void *a, const void *b, void *rows)
{
    return compare((const struct row *)rows + *(const uint32_t *)a, (const struct row *)rows + *(const uint32_t *)b);
}

static const struct row *at(const struct sorter *sorter, uint32_t place)
{
    return &sorter->rows[sorter->order[place]];
}

/* Most tars are in order as they are. */
static void sort(struct sorter *sorter)
{
    for (uint32_t i = 1; i < sorter->count; i++)
        if (compare(at(sorter, i - 1), at(sorter, i)) > 0) {
            qsort_r(sorter->order, sorter->count, sizeof *sorter->order, by_order, sorter->rows);
            return;
        }
}

/* Is `path` at or below `above`? */
static int is_within(const struct lc_text *path, const struct lc_text *above)
{
    return above->length == 0 || (path->length >= above->length && memcmp(path->bytes, above->bytes, above->length) == 0 &&
                                  (path->length == above->length || path->bytes[above->length] == '/'));
}

/* Folders above `path` that `before`, the path in front of it, is not in either: nobody else says that they are there. */
static uint64_t implied(const struct lc_text *path, const struct lc_text *before)
{
    uint64_t count = 0;
    for (size_t i = 0; i < path->length; i++) {
        const struct lc_text above = {path->bytes, i};
        count += path->bytes[i] == '/' && (before == NULL || !is_within(before, &above));
    }
    return count;
}

/* Does each path stand for itself? */
static int is_plain(const struct sorter *sorter, uint64_t most)
{
    uint64_t count = 2 * (uint64_t)sorter->count; /* a folder may have been implied before it was put */
    for (uint32_t i = 0; i < sorter->count; i++) {
        const struct row *row = at(sorter, i), *before = i > 0 ? at(sorter, i - 1) : NULL;
        int is_folder = row->record.kind == LC_INDEX_DIRECTORY;
        count += implied(&row->path, before == NULL ? NULL : &before->path);
        if (row->record.kind == LC_INDEX_SPARSE || (row->path.length == 0 && is_put(row) && !is_folder))
            return 0;
        if (before == NULL)
            continue;
        int same = row->path.length == before->path.length && is_within(&row->path, &before->path);
        if (same && (rank(row) == rank(before) || (is_put(row) && !is_folder && rank(before) == 1)))
            return 0;
        if (is_put(before) && before->record.kind != LC_INDEX_DIRECTORY && is_within(&row->path, &before->path))
            return 0;
    }
    return count <= most;
}

/* Hard links ──────────────────────────────────────────────────────────────────────────────────────────────────────── */

static const struct row *find(const struct sorter *sorter, const struct lc_text *path)
{
    const struct row wanted = {.path = *path, .record.kind = LC_INDEX_FILE};
    uint32_t low = 0, high = sorter->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = compare(at(sorter, middle), &wanted);
        if (order == 0)
            return at(sorter, middle);
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* In the order of the tar, so that a link to a link is known already. */
static int resolve(struct sorter *sorter)
{
    for (uint32_t i = 0; i < sorter->count; i++) {
        struct row *row = &sorter->rows[i];
        if (row->record.kind != LC_INDEX_LINK)
            continue;
        const struct row *target = find(sorter, &row->target);
        if (target == NULL || target >= row || target->record.kind == LC_INDEX_DIRECTORY)
            return 0;
        row->source = target->source;
    }
    return 1;
}

/* The index ───────────────────────────────────────────────────────────────────────────────────────────────────────── */

static int renumber(struct sorter *sorter, struct lc_index_record *record, struct lc_arranged *out)
{
    uint32_t *number = &sorter->attributes[record->attributes];
    uint8_t old[4];
    if (record->attributes == 0)
        return 0;
    if (*number == 0) {
        lc_little(old, record->attributes, 4);
        if (lc_bytes_add(&out->order, old, sizeof old) < 0)
            return -1;
        *number = (uint32_t)(out->order.used / sizeof old);
    }
    record->attributes = *number;
    return 0;
}

static int write_row(struct sorter *sorter, uint32_t place, struct lc_arranged *out)
{
    const struct row *row = at(sorter, place);
    struct row *source = &sorter->rows[row->source];
    struct lc_index_record record = source->record;
    int failed = renumber(sorter, &record, out);
    if (record.kind == LC_INDEX_FILE && source->place != NOWHERE) {
        record.kind = LC_INDEX_LINK;
        record.first = source->place;
        record.second = 0;
    } else if (record.kind == LC_INDEX_FILE) {
        source->place = place;
    }
    failed |= lc_index_add(&out->records, &record) | lc_bytes_add(&out->paths, row->path.bytes, row->path.length) |
              lc_bytes_add(&out->paths, "", 1);
    if (record.kind == LC_INDEX_SYMLINK)
        failed |= lc_bytes_add(&out->targets, source->target.bytes, source->target.length) |
                  lc_bytes_add(&out->targets, "", 1);
    return failed;
}

static int arrange(struct sorter *sorter, uint64_t most, struct lc_arranged *out, struct lc_error *error)
{
    if (read_rows(sorter) < 0)
        return lc_fail(error, EINVAL, "records and texts do not fit each other", NULL, 0);
    sort(sorter);
    if (!is_plain(sorter, most) || !resolve(sorter))
        return 0;
    for (uint32_t place = 0; place < sorter->count; place++)
        if (write_row(sorter, place, out))
            return lc_fail(error, ENOMEM, NULL, NULL, 0);
    return 1;
}

int lc_arrange(const struct lc_arrangement *rows, uint64_t most, struct lc_arranged *out, struct lc_error *error)
{
    size_t count = rows->records.length / LC_INDEX_RECORD;
    if (rows->records.length % LC_INDEX_RECORD != 0)
        return lc_fail(error, EINVAL, "not whole records", NULL, 0);
    if (count >= NOWHERE)
        return 0;
    struct sorter sorter = {
        .given = rows, .count = (uint32_t)count, .rows = calloc(count + 1, sizeof *sorter.rows),
        .order = calloc(count + 1, sizeof *sorter.order),
        .attributes = calloc((size_t)rows->attributes + 1, sizeof *sorter.attributes)};
    int result = sorter.rows == NULL || sorter.order == NULL || sorter.attributes == NULL
                     ? lc_fail(error, ENOMEM, NULL, NULL, 0) : arrange(&sorter, most, out, error);
    free(sorter.rows);
    free(sorter.order);
    free(sorter.attributes);
    return result;
}
