/* A tar from anybody: what is taken of it are whole rows of clean paths, and rows in order are in order.
 *
 *   input   where to begin (1 byte, times 64), then a tar; its checksums are put right, or nothing would pass them
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arrange.h"
#include "index.h"
#include "require.h"
#include "scan.h"
#include "tarread.h"

#define BLOCK 512
#define LIMIT ((uint64_t)1 << 30)

static void mend_checksums(uint8_t *data, size_t size)
{
    for (size_t at = 0; at + BLOCK <= size; at += BLOCK) {
        char digits[8];
        unsigned sum = 0;

        if (data[at + 148] == 0xff)
            continue;
        memset(data + at + 148, ' ', 8);
        for (size_t i = 0; i < BLOCK; i++)
            sum += data[at + i];
        snprintf(digits, sizeof digits, "%06o", sum);
        memcpy(data + at + 148, digits, 7);
    }
}

static void check_path(const char *path)
{
    require(path[0] != '\0' && path[0] != '/' && strlen(path) <= 4096 && strstr(path, "//") == NULL);
    require(strcmp(path, "..") != 0 && strncmp(path, "../", 3) != 0 && strstr(path, "/../") == NULL);
}

/* Texts that end with NUL → their number. */
static size_t check_texts(const struct lc_bytes *texts, bool paths)
{
    size_t count = 0;

    require(texts->used == 0 || texts->data[texts->used - 1] == '\0');
    for (size_t at = 0; at < texts->used; count++) {
        if (paths)
            check_path((const char *)texts->data + at);
        at += strlen((const char *)texts->data + at) + 1;
    }
    return count;
}

static void check_order(const struct lc_arranged *out)
{
    const char *path = (const char *)out->paths.data, *before = NULL;

    for (size_t i = 0; i < out->records.used / LC_INDEX_RECORD; i++, before = path, path += strlen(path) + 1) {
        struct lc_index_record record = lc_index_get(out->records.data + i * LC_INDEX_RECORD);

        require(before == NULL || lc_path_order(before, strlen(before), path, strlen(path)) < 0);
        require(record.kind != LC_INDEX_LINK || record.first < i);
    }
}

static void arrange(const struct lc_tar_rows *rows, uint64_t most)
{
    const struct lc_arrangement given = {{(const char *)rows->records.data, rows->records.used},
                                         {(const char *)rows->paths.data, rows->paths.used},
                                         {(const char *)rows->targets.data, rows->targets.used}, 0};
    struct lc_arranged out = {0};
    struct lc_error error;
    int result = lc_arrange(&given, most, &out, &error);

    require(result >= 0);
    if (result > 0) {
        require(out.records.used == rows->records.used && check_texts(&out.paths, true) == out.records.used / LC_INDEX_RECORD);
        check_order(&out);
    }
    free(out.records.data);
    free(out.paths.data);
    free(out.targets.data);
    free(out.order.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lc_tar_rows rows = {0};
    uint8_t *tar; /* of exact size, so that the sanitizer sees a byte too many */

    if (size < 2 || (tar = malloc(size - 1)) == NULL)
        return 0;
    memcpy(tar, data + 1, size - 1);
    mend_checksums(tar, size - 1);
    rows.end = data[0] % 4 == 0 ? data[0] * (uint64_t)64 : 0;
    const struct lc_tar_part part = {tar, size - 1, data[0], LIMIT};
    uint64_t begin = rows.end;

    require(lc_tar_read(&part, &rows) == 0);
    require(rows.end >= begin && rows.files <= LIMIT && rows.records.used % LC_INDEX_RECORD == 0);
    require(check_texts(&rows.paths, true) == rows.records.used / LC_INDEX_RECORD);
    check_texts(&rows.targets, false);
    arrange(&rows, 1000);
    free(rows.records.data);
    free(rows.paths.data);
    free(rows.targets.data);
    free(tar);
    return 0;
}
