/* The bindings of read_headers and arrange. */
#include "py_util.h"

#include "arrange.h"
#include "tarread.h"

#include <stdlib.h>

#define SMALL 65536 /* less than this is read without releasing the GIL */

static const char *start_of(const struct lc_bytes *bytes)
{
    return bytes->used > 0 ? (const char *)bytes->data : "";
}

/* read_headers ────────────────────────────────────────────────────────────────────────────────────────────────────── */

static PyObject *rows_of(const struct lc_tar_rows *rows)
{
    return Py_BuildValue("(y#y#y#KKI)", start_of(&rows->records), (Py_ssize_t)rows->records.used,
                         start_of(&rows->paths), (Py_ssize_t)rows->paths.used, start_of(&rows->targets),
                         (Py_ssize_t)rows->targets.used, (unsigned long long)rows->files,
                         (unsigned long long)rows->end, (unsigned int)rows->spare);
}

static int read_part(const struct lc_tar_part *part, struct lc_tar_rows *rows)
{
    int result;
    if (part->size < SMALL)
        return lc_tar_read(part, rows);
    Py_BEGIN_ALLOW_THREADS
    result = lc_tar_read(part, rows);
    Py_END_ALLOW_THREADS
    return result;
}

PyObject *lc_py_read_headers(PyObject *Py_UNUSED(py_module), PyObject *py_args)
{
    PyObject *py_result = NULL;
    struct lc_tar_rows rows = {0};
    unsigned long long position, limit, files;
    Py_ssize_t at;
    Py_buffer data;
    if (!PyArg_ParseTuple(py_args, "y*nKKK:read_headers", &data, &at, &position, &limit, &files))
        return NULL;
    const struct lc_tar_part part = {data.buf, (size_t)data.len, position, limit};
    rows.files = files;
    rows.end = (uint64_t)at;
    if (at < 0)
        PyErr_SetString(PyExc_ValueError, "at must not be negative");
    else if (read_part(&part, &rows) < 0)
        PyErr_NoMemory();
    else
        py_result = rows_of(&rows);
    free(rows.records.data);
    free(rows.paths.data);
    free(rows.targets.data);
    PyBuffer_Release(&data);
    return py_result;
}

/* arrange ─────────────────────────────────────────────────────────────────────────────────────────────────────────── */

static PyObject *arranged(const struct lc_arrangement *rows, uint64_t most)
{
    struct lc_arranged out = {0};
    struct lc_error error;
    PyObject *py_result = NULL;
    int result;
    Py_BEGIN_ALLOW_THREADS
    result = lc_arrange(rows, most, &out, &error);
    Py_END_ALLOW_THREADS
    if (result < 0)
        lc_py_raise(&error);
    else if (result == 0)
        py_result = Py_NewRef(Py_None);
    else
        py_result = Py_BuildValue("(y#y#y#y#)", start_of(&out.records), (Py_ssize_t)out.records.used,
                                  start_of(&out.paths), (Py_ssize_t)out.paths.used, start_of(&out.targets),
                                  (Py_ssize_t)out.targets.used, start_of(&out.order), (Py_ssize_t)out.order.used);
    free(out.records.data);
    free(out.paths.data);
    free(out.targets.data);
    free(out.order.data);
    return py_result;
}

static struct lc_text text_in(const Py_buffer *buffer)
{
    return (struct lc_text){buffer->buf, (size_t)buffer->len};
}

PyObject *lc_py_arrange(PyObject *Py_UNUSED(py_module), PyObject *py_args)
{
    Py_buffer records, paths, targets;
    unsigned int attributes;
    unsigned long long most;
    if (!PyArg_ParseTuple(py_args, "y*y*y*IK:arrange", &records, &paths, &targets, &attributes, &most))
        return NULL;
    const struct lc_arrangement rows = {text_in(&records), text_in(&paths), text_in(&targets), attributes};
    PyObject *py_result = arranged(&rows, most);
    PyBuffer_Release(&records);
    PyBuffer_Release(&paths);
    PyBuffer_Release(&targets);
    return py_result;
}
