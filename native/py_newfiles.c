/* The binding of make_files. */
#include "py_util.h"

#include "newfiles.h"

#include <stdlib.h>

static struct lc_text text_in(const Py_buffer *buffer)
{
    return (struct lc_text){buffer->buf, (size_t)buffer->len};
}

static PyObject *make_all(int folder_fd, const struct lc_newfiles *files)
{
    struct lc_bytes made = {0};
    struct lc_error error;
    PyObject *py_result = NULL;
    int result;
    Py_BEGIN_ALLOW_THREADS
    result = lc_make_files(folder_fd, files, &made, &error);
    Py_END_ALLOW_THREADS
    if (result < 0)
        lc_py_raise(&error);
    else
        py_result = PyBytes_FromStringAndSize((const char *)made.data, (Py_ssize_t)made.used);
    free(made.data);
    return py_result;
}

PyObject *lc_py_make_files(PyObject *Py_UNUSED(py_module), PyObject *py_args)
{
    Py_buffer data, wanted, names;
    int folder_fd;
    if (!PyArg_ParseTuple(py_args, "iy*y*y*:make_files", &folder_fd, &data, &wanted, &names))
        return NULL;
    const struct lc_newfiles files = {text_in(&data), text_in(&wanted), text_in(&names)};
    PyObject *py_result = make_all(folder_fd, &files);
    PyBuffer_Release(&data);
    PyBuffer_Release(&wanted);
    PyBuffer_Release(&names);
    return py_result;
}
