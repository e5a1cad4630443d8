/* Reading headers and putting rows in order, without Python: under the sanitizers, in buffers of exact size. */
#define _GNU_SOURCE
#include "tap.h"

#include "arrange.h"
#include "header.h"
#include "index.h"
#include "tarread.h"

#include <stdlib.h>

#define BLOCK 512
#define LIMIT ((uint64_t)1 << 40)

static uint8_t tar[1 << 16];
static size_t used;

static void add(struct lc_header header)
{
    header.name_length = strlen(header.name);
    header.target_length = header.target == NULL ? 0 : strlen(header.target);
    used += lc_header_write(&header, tar + used);
    used += (header.size + BLOCK - 1) / BLOCK * BLOCK;
}

static void put_sum(uint8_t *block)
{
    unsigned sum = 0;
    memset(block + 148, ' ', 8);
    for (int i = 0; i < BLOCK; i++)
        sum += block[i];
    sprintf((char *)block + 148, "%06o", sum);
}

/* The first `size` bytes of the tar, read from a copy that ends where they do. */
static struct lc_tar_rows read_part(size_t size, uint64_t limit)
{
    struct lc_tar_rows rows = {0};
    uint8_t *exact = malloc(size + 1);
    memcpy(exact, tar, size);
    const struct lc_tar_part part = {exact, size, 0, limit};
    if (lc_tar_read(&part, &rows) < 0)
        abort();
    free(exact);
    return rows;
}

static void let_go(struct lc_tar_rows *rows)
{
    free(rows->records.data);
    free(rows->paths.data);
    free(rows->targets.data);
}

static size_t count_of(const struct lc_tar_rows *rows)
{
    return rows->records.used / LC_INDEX_RECORD;
}

static void make_sample(void)
{
    static char deep[400];
    for (size_t i = 0; i + 1 < sizeof deep; i++)
        deep[i] = i % 20 == 19 ? '/' : 'd';
    used = 0;
    memset(tar, 0, sizeof tar);
    add((struct lc_header){.name = "d/", .type = '5', .mode = 0755});
    add((struct lc_header){.name = "d/f", .type = '0', .mode = 04755, .uid = 3000000, .size = 700, .mtime_ns = -1500000000});
    add((struct lc_header){.name = deep, .type = '2', .target = deep, .mode = 0777});
    add((struct lc_header){.name = "big", .type = '0', .size = 9000, .mtime_ns = 1234567890123456789});
}

static void test_sample(void)
{
    struct lc_tar_rows rows = read_part(used - 9216 + 100, LIMIT);
    struct lc_index_record file = lc_index_get(rows.records.data + LC_INDEX_RECORD);
    struct lc_index_record big = lc_index_get(rows.records.data + 3 * LC_INDEX_RECORD);
    OK(count_of(&rows) == 4 && rows.end == used && rows.spare == 216 && rows.files == 9700,
       "all four, the last one's content beyond the buffer: %zu, %llu", count_of(&rows), (unsigned long long)rows.end);
    OK(file.kind == LC_INDEX_FILE && file.mode == 04755 && file.uid == 3000000 && file.first == 700 &&
       file.mtime_ns == -1500000000, "what a pax header says");
    OK(file.second % BLOCK == 0 && big.mtime_ns == 1234567890123456789, "places and nanoseconds");
    OK(strcmp((char *)rows.paths.data, "d") == 0 && strcmp((char *)rows.paths.data + 2, "d/f") == 0, "clean paths");
    let_go(&rows);
}

static void test_every_length(void)
{
    size_t most = 0;
    for (size_t size = 0; size <= used; size += 1 + size % 7) {
        struct lc_tar_rows rows = read_part(size, LIMIT);
        most = count_of(&rows) > most ? count_of(&rows) : most;
        let_go(&rows);
    }
    OK(most == 4, "a tar cut anywhere is read as far as its headers are whole");
}

/* Every byte of the tar in turn with every odd value, its checksums right: nothing but the sanitizer may object. */
static void test_damage(void)
{
    static const uint8_t ODD[] = {0, 1, '/', '.', '7', '9', ' ', '=', 0x80, 0xff};
    static uint8_t kept[sizeof tar];
    int good = 1;
    memcpy(kept, tar, used);
    for (size_t i = 0; i < used - 9216; i++)
        for (size_t n = 0; n < sizeof ODD; n++) {
            struct lc_tar_rows rows = {0};
            struct lc_arranged out = {0};
            struct lc_error error;
            tar[i] = ODD[n];
            put_sum(tar + i / BLOCK * BLOCK);
            const struct lc_tar_part part = {tar, used - 9216, 0, LIMIT};
            good &= lc_tar_read(&part, &rows) == 0;
            const struct lc_arrangement given = {{(char *)rows.records.data, rows.records.used},
                                                 {(char *)rows.paths.data, rows.paths.used},
                                                 {(char *)rows.targets.data, rows.targets.used}, 0};
            good &= lc_arrange(&given, 100, &out, &error) >= 0;
            memcpy(tar + i / BLOCK * BLOCK, kept + i / BLOCK * BLOCK, BLOCK);
            let_go(&rows);
            free(out.records.data);
            free(out.paths.data);
            free(out.targets.data);
            free(out.order.data);
        }
    OK(good, "damage is read as something else, or left");
}

static void test_limits(void)
{
    struct lc_tar_rows rows = read_part(used, 9699);
    OK(count_of(&rows) == 3, "a file over the limit is left: %zu", count_of(&rows));
    let_go(&rows);
    memset(tar + 124, '7', 11); /* the size of a folder means nothing */
    put_sum(tar);
    rows = read_part(used, LIMIT);
    OK(count_of(&rows) == 4, "a folder of 8 GB");
    let_go(&rows);
    memset(tar + 124, 0x80, 1);
    memset(tar + 125, 0xff, 11);
    put_sum(tar);
    rows = read_part(used, LIMIT);
    OK(count_of(&rows) == 0, "a number of 88 bits is left");
    let_go(&rows);
}

/* Order ───────────────────────────────────────────────────────────────────────────────────────────────────────────── */

struct sample {
    enum lc_index_kind kind;
    const char *path, *target;
};

static int arranged(const struct sample *samples, size_t count, uint64_t most, struct lc_arranged *out)
{
    struct lc_bytes records = {0}, paths = {0}, targets = {0};
    struct lc_error error;
    for (size_t i = 0; i < count; i++) {
        const struct lc_index_record record = {.kind = samples[i].kind, .uid = (uint32_t)i, .attributes = i == 0 ? 2 : 0};
        lc_index_add(&records, &record);
        lc_bytes_add(&paths, samples[i].path, strlen(samples[i].path) + 1);
        if (samples[i].target != NULL)
            lc_bytes_add(&targets, samples[i].target, strlen(samples[i].target) + 1);
    }
    const struct lc_arrangement given = {{(char *)records.data, records.used}, {(char *)paths.data, paths.used},
                                         {(char *)targets.data, targets.used}, 2};
    int result = lc_arrange(&given, most, out, &error);
    free(records.data);
    free(paths.data);
    free(targets.data);
    return result;
}

static void let_go_of(struct lc_arranged *out)
{
    free(out->records.data);
    free(out->paths.data);
    free(out->targets.data);
    free(out->order.data);
    memset(out, 0, sizeof *out);
}

static void test_order(void)
{
    static const struct sample SAMPLES[] = {
        {LC_INDEX_FILE, "z", NULL}, {LC_INDEX_LINK, "b", "z"}, {LC_INDEX_LINK, "a/x", "b"},
        {LC_INDEX_DIRECTORY, "a", NULL}, {LC_INDEX_REMOVE, "a", NULL}, {LC_INDEX_SYMLINK, "a.b", "t"}};
    struct lc_arranged out = {0};
    OK(arranged(SAMPLES, 6, 100, &out) == 1, "it is put in order");
    OK(memcmp(out.paths.data, "a\0a\0a/x\0a.b\0b\0z", 16) == 0 && memcmp(out.targets.data, "t", 2) == 0, "canonical");
    struct lc_index_record first = lc_index_get(out.records.data + 2 * LC_INDEX_RECORD);
    struct lc_index_record last = lc_index_get(out.records.data + 5 * LC_INDEX_RECORD);
    OK(first.kind == LC_INDEX_FILE && last.kind == LC_INDEX_LINK && last.first == 2, "the first of the links has the file");
    OK(first.attributes == 1 && last.attributes == 1 && out.order.used == 4 && out.order.data[0] == 2, "attributes");
    let_go_of(&out);
}

static void test_left(void)
{
    static const struct {
        const char *what;
        struct sample samples[2];
    } LEFT[] = {
        {"a path twice", {{LC_INDEX_FILE, "a", NULL}, {LC_INDEX_DIRECTORY, "a", NULL}}},
        {"below a file", {{LC_INDEX_FILE, "a", NULL}, {LC_INDEX_FILE, "a/b", NULL}}},
        {"a deletion below a symlink", {{LC_INDEX_SYMLINK, "a", "t"}, {LC_INDEX_REMOVE, "a/b/c", NULL}}},
        {"an opaque file", {{LC_INDEX_OPAQUE, "a", NULL}, {LC_INDEX_FILE, "a", NULL}}},
        {"a link to nothing", {{LC_INDEX_LINK, "a", "b"}, {LC_INDEX_FILE, "c", NULL}}},
        {"a link to what comes later", {{LC_INDEX_LINK, "a", "b"}, {LC_INDEX_FILE, "b", NULL}}},
        {"a link to a folder", {{LC_INDEX_DIRECTORY, "a", NULL}, {LC_INDEX_LINK, "b", "a"}}},
        {"a link to itself", {{LC_INDEX_LINK, "a", "a"}, {LC_INDEX_FILE, "b", NULL}}},
        {"a sparse file", {{LC_INDEX_SPARSE, "a", NULL}, {LC_INDEX_FILE, "b", NULL}}},
        {"a root that is a file", {{LC_INDEX_FILE, "", NULL}, {LC_INDEX_FILE, "b", NULL}}},
        {"perhaps too many", {{LC_INDEX_FILE, "a/b/c", NULL}, {LC_INDEX_FILE, "b/c/d", NULL}}},
    };
    struct lc_arranged out = {0};
    for (size_t i = 0; i < sizeof LEFT / sizeof LEFT[0]; i++)
        OK(arranged(LEFT[i].samples, 2, 7, &out) == 0 && out.records.used == 0, "%s is left", LEFT[i].what);
    static const struct sample SHORT[] = {{LC_INDEX_SYMLINK, "a", NULL}}, WRONG[] = {{77, "a", NULL}};
    OK(arranged(SHORT, 1, 7, &out) == -1 && arranged(WRONG, 1, 7, &out) == -1, "rows that do not fit their texts");
    OK(arranged(SHORT, 0, 7, &out) == 1, "none at all");
    let_go_of(&out);
}

int main(void)
{
    make_sample();
    test_sample();
    test_every_length();
    test_damage();
    test_limits();
    test_order();
    test_left();
    return tap_end();
}
