/* A folder's memory that was damaged: it is recalled without a read beyond its end, and a memory written from what was
 * recalled says the same again. And what is told of such a folder is as long as it says.
 *
 *   input   1 byte how many records, 4 bytes for each; the rest is damage to the memory: 2 bytes where, 1 byte what
 */
#define _GNU_SOURCE
#include <string.h>
#include <sys/stat.h>

#include "require.h"
#include "survey.h"

#define RECORD 4
#define NAME 8

/* Named "0000000", "0000001", … as a walk would order them. */
static struct lc_snapshot snapshot_of(const uint8_t *data, size_t count)
{
    static const uint32_t KINDS[] = {S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO};
    struct lc_snapshot snapshot = {.count = count, .paths_used = count * 2 * NAME};

    snapshot.records = calloc(count + 1, sizeof *snapshot.records);
    snapshot.paths = malloc(count * 2 * NAME + 1);
    require(snapshot.records != NULL && snapshot.paths != NULL);
    memset(snapshot.paths, 't', count * 2 * NAME);
    for (size_t i = 0; i < count; i++, data += RECORD) {
        struct lc_record *record = &snapshot.records[i];

        record->path = i * 2 * NAME;
        record->path_length = NAME;
        for (size_t digit = 0, rest = i; digit < NAME; digit++, rest /= 10)
            snapshot.paths[record->path + NAME - 1 - digit] = (char)('0' + rest % 10);
        record->mode = KINDS[data[0] % 4] | data[1];
        record->size = data[2] % 128 == 0 ? INT64_MAX : data[2];
        record->mtime_ns = data[3] - 128;
        record->ctime_ns = data[0];
        record->dev = 1;
        record->ino = i;
        record->target = record->path + NAME;
        record->target_length = NAME;
    }
    return snapshot;
}

static void damage(struct lc_bytes *memory, const uint8_t *data, size_t size)
{
    for (; size >= 3 && memory->used > 0; data += 3, size -= 3) {
        size_t at = (size_t)(data[0] | data[1] << 8) % memory->used;

        memory->data[at] ^= data[2];
        if (data[2] == 1)
            memory->used = at; /* cut off */
    }
}

/* A copy in a block of just that size, so that the sanitizer sees a read beyond it. */
static struct lc_unknown recalled(const struct lc_snapshot *survey, const struct lc_bytes *memory, lc_digest *digests)
{
    uint8_t *copy = malloc(memory->used + (memory->used == 0));
    struct lc_unknown unknown;

    require(copy != NULL);
    if (memory->used != 0)
        memcpy(copy, memory->data, memory->used);
    unknown = lc_recall(survey, copy, memory->used, digests);
    free(copy);
    return unknown;
}

static void remember(const struct lc_snapshot *survey, lc_digest *digests, const uint8_t *data, size_t size)
{
    lc_digest *again = calloc(survey->count + 1, sizeof *again);
    struct lc_bytes memory = {0}, settled = {0};
    struct lc_unknown first, second;
    struct lc_error error;

    require(again != NULL && lc_remember(survey, digests, NULL, 0, 0, &memory, &error) == 0);
    damage(&memory, data, size);
    memset(digests, 0, survey->count * sizeof *digests);
    first = recalled(survey, &memory, digests);
    require(lc_remember(survey, digests, memory.data, memory.used, INT64_MAX, &settled, &error) == 0);
    second = recalled(survey, &settled, again);
    require(first.records == second.records && first.bytes == second.bytes);
    require(memcmp(digests, again, survey->count * sizeof *again) == 0);
    free(again);
    free(memory.data);
    free(settled.data);
}

static void tell(const struct lc_snapshot *survey, const lc_digest *digests, size_t strip)
{
    static uint32_t modes[4096];
    const struct lc_telling how = {.strip = strip % (2 * NAME), .modes = modes};
    struct lc_bytes text = {0}, contents = {0};
    struct lc_error error;
    size_t files = 0;

    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
        modes[i] = (uint32_t)(i * 2654435761U);
    for (size_t i = 0; i < survey->count; i++)
        files += S_ISREG(survey->records[i].mode);
    require(lc_tell(survey, digests, &how, &text, &contents, &error) == 0);
    require(contents.used == files * sizeof(lc_digest) && (survey->count == 0) == (text.used == 0));
    require(text.used == 0 || text.data[text.used - 1] == 0);
    free(text.data);
    free(contents.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t count = size == 0 ? 0 : data[0] % 32U;
    struct lc_snapshot snapshot;
    lc_digest *digests;

    if (size < 1 + count * RECORD)
        return 0;
    snapshot = snapshot_of(data + 1, count);
    digests = calloc(count + 1, sizeof *digests);
    require(digests != NULL);
    for (size_t i = 0; i < count; i++)
        memset(digests[i], data[1 + i * RECORD], sizeof digests[i]);
    tell(&snapshot, digests, count + data[0]);
    remember(&snapshot, digests, data + 1 + count * RECORD, size - 1 - count * RECORD);
    free(digests);
    lc_snapshot_free(&snapshot);
    return 0;
}
