/* Two folders of few names: the difference is what a slow and plain look at each path finds.
 *
 *   input   some of: 1 byte path, 1 byte what lies there; the first half of them is the folder before, the rest after
 */
#define _GNU_SOURCE
#include <string.h>
#include <sys/stat.h>

#include "diff.h"
#include "require.h"

static const char *const PATHS[] = {"a", "a/a", "a/a/a", "a/a/b", "a/b", "a-", "a-/c", "a.b", "b", "b/a", "b/a/c", "c"};
#define PATH_COUNT (sizeof PATHS / sizeof PATHS[0])

/* state[i]: what lies at PATHS[i], 0 for nothing. Only below folders, and no path twice: as a scan gives it. */
static bool is_below(const char *path, const char *folder)
{
    size_t length = strlen(folder);

    return strncmp(path, folder, length) == 0 && path[length] == '/';
}

static uint32_t mode_of(uint8_t state) { return state % 2 ? S_IFDIR | 0755 : S_IFREG | 0644; }

static void fill(uint8_t *states, const uint8_t *data, size_t count)
{
    memset(states, 0, PATH_COUNT);
    for (size_t i = 0; i < count; i++)
        states[data[2 * i] % PATH_COUNT] = data[2 * i + 1] % 6;
    for (size_t i = 0; i < PATH_COUNT; i++)
        for (size_t j = 0; j < PATH_COUNT; j++)
            if (is_below(PATHS[i], PATHS[j]) && (states[j] == 0 || !S_ISDIR(mode_of(states[j]))))
                states[i] = 0;
}

static struct lc_snapshot snapshot_of(const uint8_t *states)
{
    struct lc_snapshot snapshot = {0};

    snapshot.records = calloc(PATH_COUNT, sizeof *snapshot.records);
    snapshot.paths = malloc(PATH_COUNT * 16);
    require(snapshot.records != NULL && snapshot.paths != NULL);
    for (size_t i = 0; i < PATH_COUNT; i++) {
        if (states[i] == 0)
            continue;
        snapshot.records[snapshot.count++] = (struct lc_record){
            .path = snapshot.paths_used, .path_length = (uint32_t)strlen(PATHS[i]), .mode = mode_of(states[i]),
            .ino = states[i]};
        memcpy(snapshot.paths + snapshot.paths_used, PATHS[i], strlen(PATHS[i]));
        snapshot.paths_used += strlen(PATHS[i]);
    }
    return snapshot;
}

/* Did some folder above go, or become something else? Then this is not told. */
static bool went_with_another(size_t path, const uint8_t *before, const uint8_t *after)
{
    for (size_t i = 0; i < PATH_COUNT; i++)
        if (is_below(PATHS[path], PATHS[i]) && before[i] != 0 && S_ISDIR(mode_of(before[i])) &&
            (after[i] == 0 || !S_ISDIR(mode_of(after[i]))))
            return true;
    return false;
}

static int expected(size_t path, const uint8_t *before, const uint8_t *after)
{
    if (before[path] == after[path])
        return 0;
    if (after[path] == 0)
        return went_with_another(path, before, after) ? 0 : LC_REMOVED;
    return before[path] == 0 ? LC_ADDED : LC_CHANGED;
}

static void compare(const struct lc_changes *changes, const struct lc_snapshot snapshots[2], const uint8_t *before,
                    const uint8_t *after)
{
    size_t told = 0;

    for (size_t i = 0; i < PATH_COUNT; i++) { /* PATHS is in canonical order */
        int kind = expected(i, before, after);
        const struct lc_change *change;
        const char *path;

        if (kind == 0)
            continue;
        require(told < changes->count);
        change = &changes->list[told];
        require((int)change->kind == kind);
        path = lc_record_path(&snapshots[kind != LC_REMOVED], change->record);
        require(change->record->path_length == strlen(PATHS[i]) && memcmp(path, PATHS[i], strlen(PATHS[i])) == 0);
        told++;
    }
    require(told == changes->count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t before[PATH_COUNT], after[PATH_COUNT];
    struct lc_snapshot snapshots[2];
    struct lc_changes changes = {0};
    struct lc_error error;
    size_t half = size / 4;

    fill(before, data, half);
    fill(after, data + 2 * half, size / 2 - half);
    snapshots[0] = snapshot_of(before);
    snapshots[1] = snapshot_of(after);
    require(lc_diff(&snapshots[0], &snapshots[1], &changes, &error) == 0);
    compare(&changes, snapshots, before, after);
    free(changes.list);
    lc_snapshot_free(&snapshots[0]);
    lc_snapshot_free(&snapshots[1]);
    return 0;
}
