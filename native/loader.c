#define _GNU_SOURCE
#include "loader.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define THREADS 4
#define SLOTS 16
#define BATCH_FILES 64
#define BATCH_BYTES ((uint64_t)1 << 18)
#define WORTH_IT 256 /* records */

static const char CHANGED[] = "file changed while it was read";
static const char ATTRIBUTES[] = "extended attributes";
static const int FILE_FLAGS = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
static const int FOLDER_FLAGS = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

/* Opening ─────────────────────────────────────────────────────────────────────────────────────────────────────── */

void lc_opener_start(struct lc_opener *opener, int root_fd, const struct lc_snapshot *survey)
{
    *opener = (struct lc_opener){.root_fd = root_fd, .survey = survey, .folder = -1};
}

void lc_opener_end(struct lc_opener *opener)
{
    lc_close_fd(&opener->folder);
    free(opener->path);
}

static int is_in_folder(const struct lc_opener *opener, const char *path, size_t length)
{
    size_t above = opener->folder_length;
    return opener->folder >= 0 && length > above && path[above] == '/' && memcmp(path, opener->path, above) == 0 &&
           memchr(path + above + 1, '/', length - above - 1) == NULL;
}

/* The record's path in opener->path; a folder that is not its own is closed. */
static int set_path(struct lc_opener *opener, const struct lc_record *record)
{
    const char *path = lc_record_path(opener->survey, record);
    size_t length = record->path_length;
    if (!is_in_folder(opener, path, length)) {
        lc_close_fd(&opener->folder);
        opener->folder = -1;
    }
    if (length >= opener->capacity) {
        char *grown = realloc(opener->path, length + 4096);
        if (grown == NULL)
            return -1;
        opener->path = grown;
        opener->capacity = length + 4096;
    }
    memcpy(opener->path, path, length);
    opener->path[length] = '\0';
    return 0;
}

static int open_record(struct lc_opener *opener, const struct lc_record *record)
{
    int flags = S_ISDIR(record->mode) ? FOLDER_FLAGS : FILE_FLAGS;
    char *slash = memrchr(opener->path, '/', record->path_length);
    if (slash == NULL)
        return openat(opener->root_fd, opener->path, flags);
    if (opener->folder < 0) {
        opener->folder_length = (size_t)(slash - opener->path);
        *slash = '\0';
        opener->folder = lc_open_folder_beneath(opener->root_fd, opener->path);
        *slash = '/';
        if (opener->folder < 0)
            return -1;
    }
    return openat(opener->folder, slash + 1, flags);
}

/* 1: it has attributes of the user's; security.* and system.* are this host's, not the image's. */
static int has_attributes(int fd)
{
    char names[4096];
    ssize_t got = flistxattr(fd, names, sizeof names);
    if (got < 0)
        return errno == ERANGE;
    for (const char *name = names; name < names + got; name += strlen(name) + 1)
        if (strncmp(name, "user.", 5) == 0)
            return 1;
    return 0;
}

int lc_opener_open(struct lc_opener *opener, const struct lc_record *record, struct lc_error *error)
{
    const char *path = lc_record_path(opener->survey, record);
    if (set_path(opener, record) < 0)
        return lc_fail(error, ENOMEM, NULL, NULL, 0);
    int fd = open_record(opener, record);
    if (fd < 0)
        return lc_fail(error, errno, NULL, path, record->path_length);
    if (has_attributes(fd)) {
        close(fd);
        return lc_fail(error, ENOTSUP, ATTRIBUTES, path, record->path_length);
    }
    return fd;
}

/* Loading ─────────────────────────────────────────────────────────────────────────────────────────────────────── */

/* A run of records, read by one thread. */
struct batch {
    size_t first, count;
    int is_ready;
    struct lc_loaded loaded[BATCH_FILES];
    uint8_t *data;
    size_t capacity;
};

struct lc_loader {
    int root_fd;
    const struct lc_snapshot *survey;
    const struct lc_hints *hints;
    const struct lc_sha256_kernel *kernel;
    pthread_mutex_t lock;
    pthread_cond_t ready, room; /* a batch was read; one was used up */
    pthread_t threads[THREADS];
    int thread_count, is_over;
    size_t begun, used;         /* batches */
    size_t next_record;         /* the first that no batch has */
    struct batch batches[SLOTS];
    size_t at;                  /* of the batch that is being used: the next record */
};

static int is_ours(const struct lc_record *record)
{
    return S_ISDIR(record->mode) || (S_ISREG(record->mode) && (uint64_t)record->size <= LC_LOADED_SIZE);
}

/* A folder's size is its file system's affair: nothing of it is read. */
static size_t room_for(const struct lc_record *record)
{
    return is_ours(record) && S_ISREG(record->mode) ? (size_t)record->size + 1 : 0;
}

static int load_file(const struct lc_loader *loader, int fd, uint64_t size, uint8_t *data, struct lc_loaded *loaded)
{
    struct lc_sha256 hash;
    size_t got = 0;
    for (;;) {
        ssize_t part = read(fd, data + got, (size_t)size + 1 - got);
        if (part < 0 && errno == EINTR)
            continue;
        if (part < 0)
            return errno;
        got += (size_t)part;
        if (part == 0 || got > size)
            break;
        if (got == size) /* there was room for one byte more, and none came */
            break;
    }
    if (got != size) {
        loaded->what = CHANGED;
        return ESTALE;
    }
    lc_sha256_start(&hash, loader->kernel);
    lc_sha256_update(&hash, data, got);
    lc_sha256_finish(&hash, loaded->digest);
    loaded->data = data;
    loaded->has_hint = loader->hints != NULL && size < loader->hints->largest && lc_hints_is_text(data, got) &&
                       lc_hints_found(loader->hints, data, got);
    return 0;
}

static void load_record(const struct lc_loader *loader, struct lc_opener *opener, const struct lc_record *record,
                        uint8_t *data, struct lc_loaded *loaded)
{
    struct lc_error error;
    memset(loaded, 0, sizeof *loaded);
    if (!is_ours(record))
        return;
    loaded->done = 1;
    int fd = lc_opener_open(opener, record, &error);
    if (fd < 0) {
        loaded->err = error.err;
        loaded->what = error.what;
        return;
    }
    if (S_ISREG(record->mode))
        loaded->err = load_file(loader, fd, (uint64_t)record->size, data, loaded);
    close(fd);
}

static void load_batch(const struct lc_loader *loader, struct lc_opener *opener, struct batch *batch)
{
    const struct lc_record *records = &loader->survey->records[batch->first];
    size_t needed = 0, used = 0;
    for (size_t i = 0; i < batch->count; i++)
        needed += room_for(&records[i]);
    if (needed > batch->capacity) {
        free(batch->data);
        batch->data = malloc(needed);
        batch->capacity = batch->data == NULL ? 0 : needed;
    }
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->data == NULL && needed > 0) {
            memset(&batch->loaded[i], 0, sizeof batch->loaded[i]); /* no memory: the packer reads it itself */
            continue;
        }
        load_record(loader, opener, &records[i], batch->data + used, &batch->loaded[i]);
        used += room_for(&records[i]);
    }
}

/* The next run that nobody has begun, or NULL at the end. The lock is held. */
static struct batch *begin_batch(struct lc_loader *loader)
{
    const struct lc_snapshot *survey = loader->survey;
    uint64_t bytes = 0;
    while (!loader->is_over && loader->next_record < survey->count && loader->begun - loader->used >= SLOTS)
        pthread_cond_wait(&loader->room, &loader->lock);
    if (loader->is_over || loader->next_record >= survey->count)
        return NULL;
    struct batch *batch = &loader->batches[loader->begun++ % SLOTS];
    batch->first = loader->next_record;
    batch->count = 0;
    batch->is_ready = 0;
    while (loader->next_record < survey->count && batch->count < BATCH_FILES && bytes < BATCH_BYTES) {
        const struct lc_record *record = &survey->records[loader->next_record++];
        bytes += room_for(record);
        batch->count++;
    }
    return batch;
}

static void *work(void *argument)
{
    struct lc_loader *loader = argument;
    struct lc_opener opener;
    struct batch *batch;
    lc_opener_start(&opener, loader->root_fd, loader->survey);
    pthread_mutex_lock(&loader->lock);
    while ((batch = begin_batch(loader)) != NULL) {
        pthread_mutex_unlock(&loader->lock);
        load_batch(loader, &opener, batch);
        pthread_mutex_lock(&loader->lock);
        batch->is_ready = 1;
        pthread_cond_signal(&loader->ready);
    }
    pthread_mutex_unlock(&loader->lock);
    lc_opener_end(&opener);
    return NULL;
}

/* ─────────────────────────────────────────────────────────────────────────────────────────────────────────────── */

struct lc_loader *lc_loader_start(int root_fd, const struct lc_snapshot *survey, size_t first,
                                  const struct lc_hints *hints)
{
    sigset_t all, before;
    if (survey->count < first + WORTH_IT)
        return NULL;
    struct lc_loader *loader = calloc(1, sizeof *loader);
    if (loader == NULL)
        return NULL;
    loader->root_fd = root_fd;
    loader->survey = survey;
    loader->hints = hints;
    loader->kernel = lc_sha256_choose(NULL);
    loader->next_record = first;
    pthread_mutex_init(&loader->lock, NULL);
    pthread_cond_init(&loader->ready, NULL);
    pthread_cond_init(&loader->room, NULL);
    sigfillset(&all); /* signals are for the thread that Python runs in */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (loader->thread_count < THREADS &&
           pthread_create(&loader->threads[loader->thread_count], NULL, work, loader) == 0)
        loader->thread_count++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (loader->thread_count == 0) {
        lc_loader_end(loader);
        return NULL;
    }
    return loader;
}

const struct lc_loaded *lc_loader_next(struct lc_loader *loader)
{
    struct batch *batch = &loader->batches[loader->used % SLOTS];
    if (loader->at == 0 || loader->at == batch->count) {
        pthread_mutex_lock(&loader->lock);
        if (loader->at > 0) {
            batch->is_ready = 0;
            loader->used++;
            pthread_cond_broadcast(&loader->room);
            batch = &loader->batches[loader->used % SLOTS];
        }
        while (!(loader->begun > loader->used && batch->is_ready))
            pthread_cond_wait(&loader->ready, &loader->lock);
        pthread_mutex_unlock(&loader->lock);
        loader->at = 0;
    }
    return &batch->loaded[loader->at++];
}

void lc_loader_end(struct lc_loader *loader)
{
    if (loader == NULL)
        return;
    pthread_mutex_lock(&loader->lock);
    loader->is_over = 1;
    pthread_cond_broadcast(&loader->room);
    pthread_mutex_unlock(&loader->lock);
    for (int i = 0; i < loader->thread_count; i++)
        pthread_join(loader->threads[i], NULL);
    for (int i = 0; i < SLOTS; i++)
        free(loader->batches[i].data);
    pthread_cond_destroy(&loader->room);
    pthread_cond_destroy(&loader->ready);
    pthread_mutex_destroy(&loader->lock);
    free(loader);
}
