/* The kernels of the layer core, without Python: built with the address and undefined-behaviour sanitizers. */
#define _GNU_SOURCE
#include "tap.h"

#include "diff.h"
#include "sha256.h"
#include "tar.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

static char top[] = "/tmp/kernels-XXXXXX";
static int root;

static const char *hex(const uint8_t digest[LC_SHA256_SIZE])
{
    static char text[2 * LC_SHA256_SIZE + 1];
    for (int i = 0; i < LC_SHA256_SIZE; i++)
        sprintf(text + 2 * i, "%02x", digest[i]);
    return text;
}

static void put_file(const char *path, size_t size)
{
    int fd = openat(root, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    for (size_t i = 0; i < size; i++)
        if (write(fd, &"0123456789abcdef"[i % 16], 1) != 1)
            abort();
    close(fd);
}

/* SHA-256 ─────────────────────────────────────────────────────────────────────────────────────────────────────── */

static void test_vectors(const struct lc_sha256_kernel *kernel)
{
    static const struct {
        const char *text, *digest;
    } VECTORS[] = { /* FIPS 180-2, appendix B */
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    for (size_t i = 0; i < sizeof VECTORS / sizeof VECTORS[0]; i++) {
        struct lc_sha256 hash;
        uint8_t digest[LC_SHA256_SIZE];
        lc_sha256_start(&hash, kernel);
        lc_sha256_update(&hash, VECTORS[i].text, strlen(VECTORS[i].text));
        lc_sha256_finish(&hash, digest);
        OK(strcmp(hex(digest), VECTORS[i].digest) == 0, "%s: SHA-256 of \"%s\"", kernel->name, VECTORS[i].text);
    }
}

static void test_pieces(const struct lc_sha256_kernel *kernel)
{
    uint8_t data[1000], whole[LC_SHA256_SIZE], pieces[LC_SHA256_SIZE];
    int good = 1;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7);
    for (size_t size = 0; size <= sizeof data; size += 13)
        for (size_t cut = 1; cut < 140; cut += 9) {
            struct lc_sha256 hash;
            /* On the heap and of exact size, so that the sanitizer sees a byte too many. */
            uint8_t *exact = malloc(size + 1);
            memcpy(exact, data, size);
            lc_sha256_start(&hash, lc_sha256_choose("scalar"));
            lc_sha256_update(&hash, exact, size);
            lc_sha256_finish(&hash, whole);
            lc_sha256_start(&hash, kernel);
            for (size_t at = 0; at < size; at += cut)
                lc_sha256_update(&hash, exact + at, size - at < cut ? size - at : cut);
            lc_sha256_finish(&hash, pieces);
            good &= memcmp(whole, pieces, sizeof whole) == 0;
            free(exact);
        }
    OK(good, "%s: pieces of any size give the scalar kernel's digest", kernel->name);
}

/* Tar ─────────────────────────────────────────────────────────────────────────────────────────────────────────── */

static void test_sink(size_t size)
{
    struct lc_sink sink;
    struct lc_error error;
    uint8_t header[512] = {'H'}, digest[LC_SHA256_SIZE], again[LC_SHA256_SIZE];
    struct lc_sha256 hash;
    int out = memfd_create("out", 0);
    put_file("f", size);
    struct lc_entry entries[] = {
        {header, sizeof header, "f", 1, size},
        {header, sizeof header, NULL, 0, 0},
    };
    OK(lc_sink_open(&sink, out, lc_sha256_choose(NULL)) == 0 && lc_sink_add(&sink, root, entries, 2, &error) == 0 &&
           lc_sink_finish(&sink, digest, &error) == 0,
       "a file of %zu bytes is packed", size);
    size_t length = 512 + (size + 511) / 512 * 512 + 512 + 1024;
    uint8_t *data = malloc(length);
    OK(sink.length == length && pread(out, data, length + 1, 0) == (ssize_t)length, "it takes %zu bytes", length);
    lc_sha256_start(&hash, lc_sha256_choose("scalar"));
    lc_sha256_update(&hash, data, length);
    lc_sha256_finish(&hash, again);
    OK(memcmp(digest, again, sizeof digest) == 0, "the digest is that of what was written");
    lc_sink_close(&sink);
    free(data);
    close(out);
}

static void refuse(const char *path, uint64_t size, int err)
{
    struct lc_sink sink;
    struct lc_error error = {0};
    struct lc_entry entry = {(const uint8_t *)"", 0, path, strlen(path), size};
    if (lc_sink_open(&sink, -1, lc_sha256_choose(NULL)) < 0)
        abort();
    OK(lc_sink_add(&sink, root, &entry, 1, &error) < 0 && error.err == err && error.has_path, "%s, %llu bytes: %s",
       path, (unsigned long long)size, strerror(err));
    lc_sink_close(&sink);
}

static void test_refusals(void)
{
    put_file("f", 4);
    if (symlinkat("f", root, "link") < 0 || mkdirat(root, "d", 0755) < 0 || symlinkat("d", root, "dlink") < 0 ||
        mkfifoat(root, "fifo", 0644) < 0)
        abort();
    put_file("d/f", 4);
    refuse("f", 5, ESTALE);
    refuse("f", 3, ESTALE);
    refuse("f", UINT64_MAX, ESTALE);
    refuse("none", 4, ENOENT);
    refuse("link", 4, ELOOP);
    refuse("dlink/f", 4, ELOOP);
    refuse("d/../f", 4, EXDEV);
    refuse("/etc/passwd", 4, EXDEV);
    refuse("d", 4, EINVAL);
    refuse("fifo", 0, EINVAL);
}

static void test_ranges(void)
{
    struct lc_sink sink;
    struct lc_error error;
    int fd = openat(root, "f", O_RDONLY);
    if (lc_sink_open(&sink, -1, lc_sha256_choose(NULL)) < 0)
        abort();
    OK(lc_sink_copy(&sink, fd, 1, 3, NULL, 0, &error) == 0 && sink.length == 512, "a range is padded to a block");
    OK(lc_sink_copy(&sink, fd, 2, 3, NULL, 0, &error) < 0 && error.err == ESTALE, "a range beyond the end is refused");
    OK(lc_sink_copy(&sink, fd, INT64_MAX, 1, NULL, 0, &error) < 0 && error.err == EOVERFLOW, "offsets do not wrap");
    sink.length = UINT64_MAX;
    OK(lc_sink_put(&sink, "x", 1, &error) < 0 && error.err == EFBIG, "lengths do not wrap");
    lc_sink_close(&sink);
    close(fd);
}

static void test_hash_files(void)
{
    struct lc_entry files[] = {{NULL, 0, "f", 1, 0}, {NULL, 0, "d/f", 3, 0}, {NULL, 0, "none", 4, 0}};
    uint8_t digests[3][LC_SHA256_SIZE];
    struct lc_error error;
    size_t done = 0;
    OK(lc_hash_files(root, files, 3, &done, 1, digests, &error) == 0 && done == 1, "the budget ends a turn");
    OK(lc_hash_files(root, files, 2, &done, 100, digests, &error) == 0 && done == 2, "the next turn goes on");
    OK(memcmp(digests[0], digests[1], LC_SHA256_SIZE) == 0, "same content, same digest");
    OK(lc_hash_files(root, files, 3, &done, 100, digests, &error) < 0 && error.err == ENOENT && done == 2,
       "what is missing is named");
}

/* Scan and diff ───────────────────────────────────────────────────────────────────────────────────────────────── */

static void test_order(void)
{
    OK(lc_path_order("a", 1, "a", 1) == 0, "a = a");
    OK(lc_path_order("a", 1, "a/b", 3) < 0, "a folder is before what it holds");
    OK(lc_path_order("a/b", 3, "a.b", 3) < 0 && lc_path_order("a.b", 3, "a/b", 3) > 0, "a/b before a.b");
    OK(lc_path_order("a/\xff", 3, "a0", 2) < 0, "components, not bytes");
    OK(lc_path_order("\xff", 1, "a", 1) > 0, "bytes are unsigned");
}

static int change_is(const struct lc_changes *changes, size_t at, const struct lc_snapshot *holder,
                     enum lc_change_kind kind, const char *path)
{
    if (at >= changes->count)
        return 0;
    const struct lc_change *change = &changes->list[at];
    return change->kind == kind && change->record->path_length == strlen(path) &&
           memcmp(lc_record_path(holder, change->record), path, strlen(path)) == 0;
}

static void test_scan_and_diff(void)
{
    struct lc_snapshot before = {0}, after = {0};
    struct lc_changes changes = {0};
    struct lc_error error;
    OK(lc_scan(root, &before, &error) == 0 && before.count == 6, "6 paths: d d/f dlink f fifo link");
    OK(lc_snapshot_find(&before, "d/f", 3) != NULL && lc_snapshot_find(&before, "d/", 2) == NULL &&
           lc_snapshot_find(&before, "", 0) == NULL,
       "found by path");
    OK(lc_diff(&before, &before, &changes, &error) == 0 && changes.count == 0, "no difference from itself");
    if (unlinkat(root, "d/f", 0) < 0 || unlinkat(root, "d", AT_REMOVEDIR) < 0 || mkdirat(root, "e", 0755) < 0)
        abort();
    put_file("e/f", 1);
    put_file("f", 9);
    OK(lc_scan(root, &after, &error) == 0 && after.count == 6, "again 6");
    OK(lc_diff(&before, &after, &changes, &error) == 0 && changes.count == 4, "4 changes");
    OK(change_is(&changes, 0, &before, LC_REMOVED, "d") && change_is(&changes, 1, &after, LC_ADDED, "e") &&
           change_is(&changes, 2, &after, LC_ADDED, "e/f") && change_is(&changes, 3, &after, LC_CHANGED, "f"),
       "in canonical order, nothing below what is gone");
    free(changes.list);
    lc_snapshot_free(&before);
    lc_snapshot_free(&after);
    OK(lc_scan(-1, &after, &error) < 0 && error.err == EBADF, "no folder, no scan");
    lc_snapshot_free(&after);
}

static void test_deep_scan(void)
{
    struct lc_snapshot snapshot = {0};
    struct lc_error error;
    int here = dup(root);
    for (int i = 0; i < 1500; i++) {
        if (mkdirat(here, "deep", 0755) < 0)
            abort();
        int below = openat(here, "deep", O_RDONLY | O_DIRECTORY);
        close(here);
        here = below;
    }
    close(here);
    OK(lc_scan(root, &snapshot, &error) == 0 && snapshot.count == 1506, "1500 folders deep");
    lc_snapshot_free(&snapshot);
}

int main(void)
{
    static const size_t SIZES[] = {0, 1, 511, 512, 513, 262143, 262144, 262145, 600000};
    if (mkdtemp(top) == NULL || (root = open(top, O_RDONLY | O_DIRECTORY)) < 0)
        return 2;
    for (const struct lc_sha256_kernel *kernel = lc_sha256_kernels; kernel->name != NULL; kernel++)
        if (kernel->runs_here()) {
            test_vectors(kernel);
            test_pieces(kernel);
        }
    OK(lc_sha256_choose("vax") == NULL, "no kernel of an unknown name");
    for (size_t i = 0; i < sizeof SIZES / sizeof SIZES[0]; i++)
        test_sink(SIZES[i]);
    test_refusals();
    test_ranges();
    test_hash_files();
    test_order();
    test_scan_and_diff();
    test_deep_scan();
    close(root);
    char command[sizeof top + 8];
    snprintf(command, sizeof command, "rm -rf %s", top);
    if (system(command) != 0)
        return 2;
    return tap_end();
}
