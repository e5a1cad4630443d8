/* What the bindings share: from kernel errors to exceptions, and arguments checked. Every PyObject * is py_….
 *
 * A binding parses, releases the GIL, calls one kernel, takes the GIL back, builds the result; nothing returns
 * in between. */
#ifndef LC_PY_UTIL_H
#define LC_PY_UTIL_H

#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030b0000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "lc_common.h"

struct lc_state {
    PyTypeObject *py_snapshot_type;
    PyTypeObject *py_sink_type;
};

/* Methods that module.c gathers, and the types it makes. */
extern PyType_Spec lc_snapshot_spec, lc_sink_spec;
PyObject *lc_py_scan(PyObject *py_module, PyObject *py_fd);
PyObject *lc_py_diff(PyObject *py_module, PyObject *const *py_args, Py_ssize_t count);
PyObject *lc_py_hash_files(PyObject *py_module, PyObject *const *py_args, Py_ssize_t count);
PyObject *lc_py_survey(PyObject *py_module, PyObject *py_args);
PyObject *lc_py_recall(PyObject *py_module, PyObject *py_args);
PyObject *lc_py_learn(PyObject *py_module, PyObject *py_args);
PyObject *lc_py_tell(PyObject *py_module, PyObject *py_args);
PyObject *lc_py_remember(PyObject *py_module, PyObject *py_args);
PyObject *lc_py_read_headers(PyObject *py_module, PyObject *py_args);
PyObject *lc_py_arrange(PyObject *py_module, PyObject *py_args);
PyObject *lc_py_make_files(PyObject *py_module, PyObject *py_args);
PyObject *lc_py_sink_add_survey(PyObject *py_self, PyObject *py_args);
PyObject *lc_py_sha256(PyObject *py_module, PyObject *const *py_args, Py_ssize_t count);

struct lc_snapshot;
struct lc_sink;

/* Of a Snapshot; NULL with TypeError set for anything else. */
const struct lc_snapshot *lc_py_snapshot(PyObject *py_module, PyObject *py_value);
PyObject *lc_py_new_snapshot(PyObject *py_module, struct lc_snapshot **snapshot);

/* The kernel of a TarSink, ours until lc_py_end_turn; NULL with RuntimeError set when it is not free. */
struct lc_sink *lc_py_take_sink(PyObject *py_sink);
void lc_py_end_turn(PyObject *py_sink, int failed);

/* Sets OSError(errno, message[, path]), Python choosing the subclass; returns NULL. */
static inline PyObject *lc_py_raise(const struct lc_error *error)
{
    const char *what = error->what != NULL ? error->what : strerror(error->err);
    PyObject *py_error;
    if (error->err == ENOMEM && !error->has_path)
        return PyErr_NoMemory();
    if (error->has_path)
        py_error = PyObject_CallFunction(PyExc_OSError, "isy#", error->err, what, error->path,
                                         (Py_ssize_t)error->path_length);
    else
        py_error = PyObject_CallFunction(PyExc_OSError, "is", error->err, what);
    if (py_error != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(py_error), py_error);
        Py_DECREF(py_error);
    }
    return NULL;
}

static inline int lc_py_wants(const char *function, Py_ssize_t least, Py_ssize_t most, Py_ssize_t count)
{
    if (count >= least && count <= most)
        return 0;
    PyErr_Format(PyExc_TypeError, "%s() takes %zd to %zd positional arguments, not %zd", function, least, most, count);
    return -1;
}

/* A descriptor, or -1 for none (what needs one then fails with EBADF). Returns -1 with an exception set. */
static inline int lc_py_fd(PyObject *py_value, int *fd)
{
    long value = PyLong_AsLong(py_value);
    if (value == -1 && PyErr_Occurred())
        return -1;
    if (value < -1 || value > INT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "not a file descriptor");
        return -1;
    }
    *fd = (int)value;
    return 0;
}

static inline int lc_py_size(PyObject *py_value, uint64_t *size)
{
    long long value = PyLong_AsLongLong(py_value);
    if (value == -1 && PyErr_Occurred())
        return -1;
    if (value < 0) {
        PyErr_SetString(PyExc_ValueError, "offset and size must not be negative");
        return -1;
    }
    *size = (uint64_t)value;
    return 0;
}

/* Borrows the bytes of a path; no NUL within. */
static inline int lc_py_path(PyObject *py_path, const char **path, size_t *length)
{
    char *bytes;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(py_path, &bytes, &size) < 0)
        return -1;
    if (strlen(bytes) != (size_t)size) {
        PyErr_SetString(PyExc_ValueError, "embedded null byte");
        return -1;
    }
    *path = bytes;
    *length = (size_t)size;
    return 0;
}

#endif
