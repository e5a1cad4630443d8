/* The TarSink type, and the bindings of hash_files and sha256. */
#include "py_util.h"

#include "sha256.h"
#include "tar.h"

#include <stdlib.h>

#define SMALL 65536                      /* less than this is copied without releasing the GIL */
#define BUDGET ((uint64_t)256 << 20)     /* bytes hashed between two looks for a signal */

enum sink_turn { SINK_FREE, SINK_BUSY, SINK_DEAD };

/* One owner at a time: `turn` is read and written under the GIL only. */
struct sink_object {
    PyObject_HEAD
    struct lc_sink sink;
    enum sink_turn turn;
};

static struct sink_object *sink_of(PyObject *py_self)
{
    return (struct sink_object *)py_self;
}

static int take_turn(struct sink_object *self)
{
    if (self->turn == SINK_FREE) {
        self->turn = SINK_BUSY;
        return 0;
    }
    PyErr_SetString(PyExc_RuntimeError,
                    self->turn == SINK_BUSY ? "TarSink is in use" : "TarSink is finished or has failed");
    return -1;
}

struct lc_sink *lc_py_take_sink(PyObject *py_sink)
{
    return take_turn(sink_of(py_sink)) < 0 ? NULL : &sink_of(py_sink)->sink;
}

void lc_py_end_turn(PyObject *py_sink, int failed)
{
    sink_of(py_sink)->turn = failed ? SINK_DEAD : SINK_FREE;
}

static PyObject *end_turn(struct sink_object *self, int result, const struct lc_error *error)
{
    self->turn = result < 0 ? SINK_DEAD : SINK_FREE;
    if (result < 0)
        return lc_py_raise(error);
    Py_RETURN_NONE;
}

static PyObject *sink_new(PyTypeObject *py_type, PyObject *py_args, PyObject *py_kwargs)
{
    PyObject *py_self;
    int out_fd;
    if (py_kwargs != NULL && PyDict_Size(py_kwargs) > 0) {
        PyErr_SetString(PyExc_TypeError, "TarSink() takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(py_args, "i:TarSink", &out_fd))
        return NULL;
    py_self = PyType_GenericAlloc(py_type, 0);
    if (py_self != NULL && lc_sink_open(&sink_of(py_self)->sink, out_fd, lc_sha256_choose(NULL)) < 0) {
        Py_DECREF(py_self);
        return PyErr_NoMemory();
    }
    return py_self;
}

static void sink_dealloc(PyObject *py_self)
{
    PyTypeObject *py_type = Py_TYPE(py_self);
    freefunc release = (freefunc)PyType_GetSlot(py_type, Py_tp_free);
    lc_sink_close(&sink_of(py_self)->sink);
    release(py_self);
    Py_DECREF(py_type);
}

static PyObject *add_entries(struct sink_object *self, int dir_fd, const struct lc_entry *entries, size_t count)
{
    struct lc_error error;
    int result;
    if (take_turn(self) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    result = lc_sink_add(&self->sink, dir_fd, entries, count, &error);
    Py_END_ALLOW_THREADS
    return end_turn(self, result, &error);
}

static PyObject *sink_add(PyObject *py_self, PyObject *const *py_args, Py_ssize_t count)
{
    struct lc_entry entry;
    Py_buffer header;
    PyObject *py_result;
    int dir_fd;
    if (lc_py_wants("add", 4, 4, count) < 0 || lc_py_fd(py_args[1], &dir_fd) < 0 ||
        lc_py_path(py_args[2], &entry.path, &entry.path_length) < 0 || lc_py_size(py_args[3], &entry.size) < 0 ||
        PyObject_GetBuffer(py_args[0], &header, PyBUF_SIMPLE) < 0)
        return NULL;
    entry.header = header.buf;
    entry.header_size = (size_t)header.len;
    py_result = add_entries(sink_of(py_self), dir_fd, &entry, 1);
    PyBuffer_Release(&header);
    return py_result;
}

/* One (header, path | None, size): borrowed from bytes objects that the tuple keeps alive. */
static int parse_entry(PyObject *py_entry, struct lc_entry *entry)
{
    char *header;
    Py_ssize_t size;
    PyObject *py_path;
    if (!PyTuple_Check(py_entry) || PyTuple_Size(py_entry) != 3) {
        PyErr_SetString(PyExc_TypeError, "an entry is a tuple (header, path or None, size)");
        return -1;
    }
    if (PyBytes_AsStringAndSize(PyTuple_GetItem(py_entry, 0), &header, &size) < 0 ||
        lc_py_size(PyTuple_GetItem(py_entry, 2), &entry->size) < 0)
        return -1;
    entry->header = (const uint8_t *)header;
    entry->header_size = (size_t)size;
    entry->path = NULL;
    entry->path_length = 0;
    py_path = PyTuple_GetItem(py_entry, 1);
    return Py_IsNone(py_path) ? 0 : lc_py_path(py_path, &entry->path, &entry->path_length);
}

static PyObject *sink_add_many(PyObject *py_self, PyObject *const *py_args, Py_ssize_t count)
{
    PyObject *py_list, *py_result = NULL;
    struct lc_entry *entries = NULL;
    Py_ssize_t size, i;
    int dir_fd;
    if (lc_py_wants("add_many", 2, 2, count) < 0 || lc_py_fd(py_args[0], &dir_fd) < 0)
        return NULL;
    py_list = PySequence_List(py_args[1]); /* ours alone: nobody takes an entry out while the GIL is released */
    if (py_list == NULL)
        return NULL;
    size = PyList_Size(py_list);
    entries = calloc((size_t)size + 1, sizeof *entries);
    if (entries == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    for (i = 0; i < size; i++)
        if (parse_entry(PyList_GetItem(py_list, i), &entries[i]) < 0)
            goto done;
    py_result = add_entries(sink_of(py_self), dir_fd, entries, (size_t)size);
done:
    free(entries);
    Py_DECREF(py_list);
    return py_result;
}

static PyObject *sink_add_range(PyObject *py_self, PyObject *const *py_args, Py_ssize_t count)
{
    struct sink_object *self = sink_of(py_self);
    struct lc_error error;
    Py_buffer header;
    uint64_t offset, size;
    int fd, result;
    if (lc_py_wants("add_range", 4, 4, count) < 0 || lc_py_fd(py_args[1], &fd) < 0 ||
        lc_py_size(py_args[2], &offset) < 0 || lc_py_size(py_args[3], &size) < 0 ||
        PyObject_GetBuffer(py_args[0], &header, PyBUF_SIMPLE) < 0)
        return NULL;
    if (take_turn(self) < 0) {
        PyBuffer_Release(&header);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    result = lc_sink_put(&self->sink, header.buf, (size_t)header.len, &error);
    if (result == 0)
        result = lc_sink_copy(&self->sink, fd, offset, size, NULL, 0, &error);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&header);
    return end_turn(self, result, &error);
}

static int put_bytes(struct lc_sink *sink, const Py_buffer *header, const Py_buffer *data, struct lc_error *error)
{
    if (lc_sink_put(sink, header->buf, (size_t)header->len, error) < 0 ||
        lc_sink_put(sink, data->buf, (size_t)data->len, error) < 0)
        return -1;
    return lc_sink_pad(sink, (uint64_t)data->len, error);
}

static PyObject *sink_add_bytes(PyObject *py_self, PyObject *const *py_args, Py_ssize_t count)
{
    struct sink_object *self = sink_of(py_self);
    struct lc_error error;
    Py_buffer header = {0}, data = {0};
    PyObject *py_result = NULL;
    int result;
    if (lc_py_wants("add_bytes", 1, 2, count) < 0 || PyObject_GetBuffer(py_args[0], &header, PyBUF_SIMPLE) < 0)
        return NULL;
    if ((count > 1 && PyObject_GetBuffer(py_args[1], &data, PyBUF_SIMPLE) < 0) || take_turn(self) < 0)
        goto done;
    if (data.len < SMALL) {
        result = put_bytes(&self->sink, &header, &data, &error);
    } else {
        Py_BEGIN_ALLOW_THREADS
        result = put_bytes(&self->sink, &header, &data, &error);
        Py_END_ALLOW_THREADS
    }
    py_result = end_turn(self, result, &error);
done:
    PyBuffer_Release(&data);
    PyBuffer_Release(&header);
    return py_result;
}

static PyObject *sink_finish(PyObject *py_self, PyObject *Py_UNUSED(py_none))
{
    struct sink_object *self = sink_of(py_self);
    uint8_t digest[LC_SHA256_SIZE];
    struct lc_error error;
    int result;
    if (take_turn(self) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    result = lc_sink_finish(&self->sink, digest, &error);
    Py_END_ALLOW_THREADS
    self->turn = SINK_DEAD;
    if (result < 0)
        return lc_py_raise(&error);
    return Py_BuildValue("(y#K)", (const char *)digest, (Py_ssize_t)sizeof digest,
                         (unsigned long long)self->sink.length);
}

#define FAST(function) (PyCFunction)(void (*)(void))(function), METH_FASTCALL

static PyMethodDef SINK_METHODS[] = {
    {"add", FAST(sink_add), "add(header, dir_fd, path, size, /): a header and the file it is of."},
    {"add_many", FAST(sink_add_many), "add_many(dir_fd, entries, /): add for each (header, path or None, size)."},
    {"add_range", FAST(sink_add_range), "add_range(header, fd, offset, size, /): a header and a part of a file."},
    {"add_bytes", FAST(sink_add_bytes), "add_bytes(header, data=b'', /): a header and bytes."},
    {"add_survey", lc_py_sink_add_survey, METH_VARARGS,
     "add_survey(root_fd, survey, contents, first, strip, prefix, uid, gid, latest, modes, hints, largest, /) -> "
     "(records, paths, targets, hinted): a folder whole."},
    {"finish", sink_finish, METH_NOARGS, "finish() -> (sha256, length): end the archive."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot SINK_SLOTS[] = {
    {Py_tp_doc, "TarSink(out_fd, /): writes, pads and hashes a tar in one pass; out_fd -1 only hashes."},
    {Py_tp_new, sink_new},
    {Py_tp_dealloc, sink_dealloc},
    {Py_tp_methods, SINK_METHODS},
    {0, NULL},
};

PyType_Spec lc_sink_spec = {
    .name = "rootless_builder._layercore.TarSink",
    .basicsize = sizeof(struct sink_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = SINK_SLOTS,
};

/* Digests ─────────────────────────────────────────────────────────────────────────────────────────────────────── */

static PyObject *list_of_digests(uint8_t (*digests)[LC_SHA256_SIZE], Py_ssize_t count)
{
    PyObject *py_list = PyList_New(count);
    for (Py_ssize_t i = 0; py_list != NULL && i < count; i++) {
        PyObject *py_digest = PyBytes_FromStringAndSize((const char *)digests[i], LC_SHA256_SIZE);
        if (py_digest == NULL || PyList_SetItem(py_list, i, py_digest) < 0)
            Py_CLEAR(py_list);
    }
    return py_list;
}

static int hash_all(int root_fd, const struct lc_entry *files, size_t count, uint8_t (*digests)[LC_SHA256_SIZE])
{
    struct lc_error error;
    size_t done = 0;
    while (done < count) {
        int result;
        Py_BEGIN_ALLOW_THREADS
        result = lc_hash_files(root_fd, files, count, &done, BUDGET, digests, &error);
        Py_END_ALLOW_THREADS
        if (result < 0) {
            lc_py_raise(&error);
            return -1;
        }
        if (PyErr_CheckSignals() < 0)
            return -1;
    }
    return 0;
}

PyObject *lc_py_hash_files(PyObject *Py_UNUSED(py_module), PyObject *const *py_args, Py_ssize_t count)
{
    PyObject *py_paths, *py_result = NULL;
    struct lc_entry *files;
    uint8_t (*digests)[LC_SHA256_SIZE];
    Py_ssize_t size, i;
    int root_fd;
    if (lc_py_wants("hash_files", 2, 2, count) < 0 || lc_py_fd(py_args[0], &root_fd) < 0)
        return NULL;
    py_paths = PySequence_List(py_args[1]);
    if (py_paths == NULL)
        return NULL;
    size = PyList_Size(py_paths);
    files = calloc((size_t)size + 1, sizeof *files);
    digests = calloc((size_t)size + 1, sizeof *digests);
    if (files == NULL || digests == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    for (i = 0; i < size; i++)
        if (lc_py_path(PyList_GetItem(py_paths, i), &files[i].path, &files[i].path_length) < 0)
            goto done;
    if (hash_all(root_fd, files, (size_t)size, digests) == 0)
        py_result = list_of_digests(digests, size);
done:
    free(digests);
    free(files);
    Py_DECREF(py_paths);
    return py_result;
}

PyObject *lc_py_sha256(PyObject *Py_UNUSED(py_module), PyObject *const *py_args, Py_ssize_t count)
{
    const struct lc_sha256_kernel *kernel = lc_sha256_choose(NULL);
    uint8_t digest[LC_SHA256_SIZE];
    struct lc_sha256 hash;
    Py_buffer data;
    if (lc_py_wants("sha256", 1, 2, count) < 0)
        return NULL;
    if (count > 1) {
        const char *name = PyUnicode_AsUTF8AndSize(py_args[1], NULL);
        if (name == NULL)
            return NULL;
        kernel = lc_sha256_choose(name);
        if (kernel == NULL) {
            PyErr_Format(PyExc_ValueError, "no SHA-256 kernel '%s' runs here", name);
            return NULL;
        }
    }
    if (PyObject_GetBuffer(py_args[0], &data, PyBUF_SIMPLE) < 0)
        return NULL;
    lc_sha256_start(&hash, kernel);
    lc_sha256_update(&hash, data.buf, (size_t)data.len);
    lc_sha256_finish(&hash, digest);
    PyBuffer_Release(&data);
    return PyBytes_FromStringAndSize((const char *)digest, sizeof digest);
}
