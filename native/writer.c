#define _GNU_SOURCE
#include "writer.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#define BUFFERS 4
#define WRITE_BACK ((size_t)1 << 24) /* so much at a time is sent to the disk while we go on */

struct piece {
    uint8_t *data;
    size_t size;
};

struct lc_writer {
    int fd, leaves_holes;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct piece pieces[BUFFERS];
    size_t given, written; /* pieces */
    int is_over, err;
};

static int is_zeros(const uint8_t *data, size_t size)
{
    return size > 0 && data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
}

int lc_write_out(int fd, int leaves_holes, const uint8_t *data, size_t size)
{
    if (leaves_holes && size == LC_BUFFER && is_zeros(data, size))
        return lseek(fd, (off_t)size, SEEK_CUR) < 0 ? errno : 0;
    for (size_t done = 0; done < size;) {
        ssize_t wrote = write(fd, data + done, size - done);
        if (wrote < 0 && errno != EINTR)
            return errno;
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    return 0;
}

static void *work(void *argument)
{
    struct lc_writer *writer = argument;
    size_t unsent = 0;
    pthread_mutex_lock(&writer->lock);
    for (;;) {
        while (writer->written == writer->given && !writer->is_over)
            pthread_cond_wait(&writer->changed, &writer->lock);
        if (writer->written == writer->given)
            break;
        const struct piece piece = writer->pieces[writer->written % BUFFERS];
        int err = writer->err;
        pthread_mutex_unlock(&writer->lock);
        if (err == 0)
            err = lc_write_out(writer->fd, writer->leaves_holes, piece.data, piece.size);
        unsent += piece.size;
        if (err == 0 && writer->leaves_holes && unsent >= WRITE_BACK) { /* it will be fdatasync'ed */
            sync_file_range(writer->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
            unsent = 0;
        }
        pthread_mutex_lock(&writer->lock);
        writer->err = err;
        writer->written++;
        pthread_cond_signal(&writer->changed);
    }
    pthread_mutex_unlock(&writer->lock);
    return NULL;
}

static void dropped(struct lc_writer *writer)
{
    for (int i = 0; i < BUFFERS; i++)
        free(writer->pieces[i].data);
    pthread_cond_destroy(&writer->changed);
    pthread_mutex_destroy(&writer->lock);
    free(writer);
}

struct lc_writer *lc_writer_start(int fd, int leaves_holes)
{
    sigset_t all, before;
    struct lc_writer *writer = calloc(1, sizeof *writer);
    int failed = 0;
    if (writer == NULL)
        return NULL;
    writer->fd = fd;
    writer->leaves_holes = leaves_holes;
    pthread_mutex_init(&writer->lock, NULL);
    pthread_cond_init(&writer->changed, NULL);
    for (int i = 0; i < BUFFERS; i++)
        failed |= (writer->pieces[i].data = malloc(LC_BUFFER)) == NULL;
    sigfillset(&all); /* signals are for the thread that Python runs in */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (failed || pthread_create(&writer->thread, NULL, work, writer) != 0) {
        dropped(writer);
        writer = NULL;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return writer;
}

uint8_t *lc_writer_swap(struct lc_writer *writer, const uint8_t *data, size_t size, int *err)
{
    struct piece *piece = &writer->pieces[writer->given % BUFFERS];
    if (data != piece->data)
        memcpy(piece->data, data, size);
    pthread_mutex_lock(&writer->lock);
    piece->size = size;
    writer->given++;
    pthread_cond_signal(&writer->changed);
    while (writer->given - writer->written >= BUFFERS)
        pthread_cond_wait(&writer->changed, &writer->lock);
    *err = writer->err;
    pthread_mutex_unlock(&writer->lock);
    return *err != 0 ? NULL : writer->pieces[writer->given % BUFFERS].data;
}

int lc_writer_end(struct lc_writer *writer)
{
    pthread_mutex_lock(&writer->lock);
    writer->is_over = 1;
    pthread_cond_signal(&writer->changed);
    pthread_mutex_unlock(&writer->lock);
    pthread_join(writer->thread, NULL);
    int err = writer->err;
    dropped(writer);
    return err;
}
