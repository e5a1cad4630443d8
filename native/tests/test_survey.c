/* Surveys, memories and packing, without Python: under the sanitizers, with memories that lie. */
#define _GNU_SOURCE
#include "tap.h"

#include "survey.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

static char top[] = "/tmp/survey-XXXXXX";
static int root;

static void put_file(const char *path, const void *data, size_t size)
{
    int fd = openat(root, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    close(fd);
}

static struct lc_snapshot surveyed(const struct lc_survey *survey)
{
    struct lc_snapshot snapshot = {0};
    struct lc_error error;
    OK(lc_scan_survey(root, survey, &snapshot, &error) == 0, "a survey");
    return snapshot;
}

static lc_digest *learned(const struct lc_snapshot *snapshot)
{
    lc_digest *digests = calloc(snapshot->count + 1, sizeof *digests);
    struct lc_error error;
    size_t done = 0;
    while (done < snapshot->count)
        if (lc_learn(root, snapshot, digests, &done, 1, &error) < 0)
            abort();
    return digests;
}

static void test_both(void)
{
    static uint8_t data[1200];
    for (const struct lc_sha256_kernel *kernel = lc_sha256_kernels; kernel->name != NULL; kernel++) {
        int good = 1;
        for (size_t i = 0; kernel->runs_here() && i < 1000; i += 7) {
            struct lc_sha256 one, two, alone;
            lc_digest a, b, c;
            lc_sha256_start(&one, kernel);
            lc_sha256_start(&two, kernel);
            lc_sha256_start(&alone, kernel);
            lc_sha256_update(&one, data, i % 130);
            lc_sha256_update_both(&one, &two, data + i % 130, i);
            lc_sha256_update(&alone, data + i % 130, i);
            lc_sha256_finish(&two, b);
            lc_sha256_finish(&alone, c);
            good &= memcmp(b, c, sizeof b) == 0;
            lc_sha256_start(&alone, kernel);
            lc_sha256_update(&alone, data, i % 130);
            lc_sha256_update(&alone, data + i % 130, i);
            lc_sha256_finish(&one, a);
            lc_sha256_finish(&alone, c);
            good &= memcmp(a, c, sizeof a) == 0;
            data[i] = (uint8_t)(i * 31);
        }
        OK(good, "%s: two digests at once", kernel->name);
    }
}

static void test_memory(void)
{
    static const struct lc_text NAMES[] = {{"d", 1}, {"f", 1}, {"link", 4}};
    static const struct lc_survey FEW = {.names = NAMES, .name_count = 3};
    struct lc_snapshot snapshot = surveyed(&FEW);
    struct lc_bytes memory = {0}, lie = {0};
    struct lc_error error;
    lc_digest *digests = learned(&snapshot), *again = calloc(snapshot.count, sizeof *again);
    OK(lc_remember(&snapshot, digests, NULL, 0, INT64_MAX, &memory, &error) == 0, "remembered");
    struct lc_unknown unknown = lc_recall(&snapshot, memory.data, memory.used, again);
    OK(unknown.records == 0 && memcmp(digests, again, snapshot.count * sizeof *again) == 0, "and recalled");
    for (size_t size = 0; size <= memory.used; size++) { /* a heap block of just that size: no read may go beyond it */
        uint8_t *part = malloc(size + 1);
        memcpy(part, memory.data, size);
        part = realloc(part, size ? size : 1);
        lc_recall(&snapshot, part, size, again);
        free(part);
    }
    lc_bytes_add(&lie, memory.data, memory.used);
    for (size_t i = 0; i < lie.used; i++) {
        lie.data[i] ^= 0xff;
        lc_recall(&snapshot, lie.data, lie.used, again);
        lie.data[i] ^= 0xff;
    }
    OK(1, "memories that are cut off or wrong");
    free(lie.data);
    free(memory.data);
    free(again);
    free(digests);
    lc_snapshot_free(&snapshot);
}

static void test_pack(void)
{
    static const struct lc_survey ALL;
    static const struct lc_text HINT = {"PRIVATE", 7};
    struct lc_hints hints = {.texts = &HINT, .count = 1, .largest = 1 << 20};
    struct lc_pack_rules rules = {.prefix = "p/", .prefix_length = 2, .latest = INT64_MAX, .hints = &hints};
    struct lc_snapshot snapshot = surveyed(&ALL);
    struct lc_packed packed = {0};
    struct lc_error error;
    struct lc_sink sink;
    static uint32_t modes[4096];
    const struct lc_telling telling = {0, 1 << 20, modes};
    struct lc_bytes text = {0}, contents = {0};
    lc_digest *digests = learned(&snapshot), *again = calloc(snapshot.count, sizeof *again), end;
    int more;
    lc_hints_prepare(&hints);
    lc_sink_open(&sink, -1, lc_sha256_choose(NULL));
    struct lc_packer *packer = lc_packer_start(&sink, root, &snapshot, again, &rules);
    while ((more = lc_packer_step(packer, 1, &packed, &error)) > 0)
        ;
    lc_packer_end(packer);
    OK(more == 0, "packed in steps");
    OK(lc_sink_finish(&sink, end, &error) == 0 && sink.length % 512 == 0, "packed");
    OK(memcmp(digests, again, snapshot.count * sizeof *again) == 0, "the digests are those that are learned");
    OK(packed.records.used == 40 * snapshot.count && packed.hinted.used == 4, "an index, and one hint");
    OK(lc_tell(&snapshot, again, &telling, &text, &contents, &error) == 0 && contents.used > 0, "told");
    put_file("f", "changed", 7);
    packer = lc_packer_start(&sink, root, &snapshot, again, &rules);
    OK(lc_packer_step(packer, UINT64_MAX, &packed, &error) < 0 && error.err == ESTALE, "a file that changed");
    lc_packer_end(packer);
    lc_sink_close(&sink);
    free(packed.records.data);
    free(packed.paths.data);
    free(packed.targets.data);
    free(packed.hinted.data);
    free(text.data);
    free(contents.data);
    free(digests);
    free(again);
    lc_snapshot_free(&snapshot);
}

static void test_names(void)
{
    static const struct lc_text NAMES[] = {{"d", 1}, {"f", 1}}, SKIPPED[] = {{"a", 1}, {"d/g", 3}, {"z", 1}};
    static const struct lc_survey SOME = {.names = NAMES, .name_count = 2, .skipped = SKIPPED, .skipped_count = 3};
    struct lc_snapshot snapshot = surveyed(&SOME);
    OK(snapshot.count == 3 && snapshot.files == 2, "names, and what is left out: %zu", snapshot.count);
    lc_snapshot_free(&snapshot);
}

int main(void)
{
    enum { many = 700 };
    char path[sizeof top + 8], *big = calloc(1, 600000);
    if (big == NULL || mkdtemp(top) == NULL || (root = open(top, O_RDONLY | O_DIRECTORY)) < 0 ||
        mkdirat(root, "d", 0755) < 0 ||
        mkdirat(root, "m", 0755) < 0 || symlinkat("f", root, "link") < 0)
        return 2;
    put_file("f", "-----BEGIN PRIVATE KEY-----", 27);
    put_file("d/g", "", 0);
    for (int i = 0; i < many; i++) { /* enough for threads */
        snprintf(path, sizeof path, "m/%05d", i);
        put_file(path, big + i, (size_t)i * 7 % 3000);
    }
    put_file("d/big", big, 600000);
    test_both();
    test_names();
    test_memory();
    test_pack();
    free(big);
    close(root);
    snprintf(path, sizeof path, "rm -rf %s", top);
    if (system(path) != 0)
        return 2;
    return tap_end();
}
