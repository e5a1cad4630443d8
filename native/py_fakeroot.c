/* rootless_builder._fakeroot: the Python face of the supervisor. Stable ABI of Python 3.11. */
#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030B0000
#endif
#include <Python.h>

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "fakeroot.h"
#include "pid1.h"

static PyObject *os_error(int rc)
{
    errno = -rc;
    return PyErr_SetFromErrno(PyExc_OSError);
}

static PyObject *probe(PyObject *module, PyObject *none)
{
    (void)module;
    (void)none;
    return PyLong_FromUnsignedLong(fr_probe());
}

static PyObject *install_filter(PyObject *module, PyObject *args)
{
    int fsync, fd;

    (void)module;
    if (!PyArg_ParseTuple(args, "p:install_filter", &fsync))
        return NULL;
    fd = fr_install_filter(fsync);
    return fd < 0 ? os_error(fd) : PyLong_FromLong(fd);
}

/* The loop, without the GIL; signal handlers of Python run in between. 0, -errno, 1: a Python exception is set. */
static int serve_all(struct fr_super *super)
{
    int rc;

    do {
        Py_BEGIN_ALLOW_THREADS
        rc = fr_serve(super);
        Py_END_ALLOW_THREADS
        if (rc == -EINTR && PyErr_CheckSignals() < 0)
            return 1;
    } while (rc == -EINTR);
    return rc;
}

#define IMAGE SIZE_MAX

/* The final table of the image, or of mount number `which`. */
static PyObject *table_of(struct fr_super *super, size_t which)
{
    PyObject *py_table;
    void *table = NULL;
    size_t length = 0;
    int rc;

    Py_BEGIN_ALLOW_THREADS
    rc = which == IMAGE ? fr_export(super, &table, &length) : fr_export_mount(super, which, &table, &length);
    Py_END_ALLOW_THREADS
    if (rc < 0)
        return os_error(rc);
    py_table = PyBytes_FromStringAndSize(table, (Py_ssize_t)length);
    free(table);
    return py_table;
}

static PyObject *result_of(struct fr_super *super, size_t mount_count)
{
    PyObject *py_image = table_of(super, IMAGE), *py_mounts = PyTuple_New((Py_ssize_t)mount_count);
    struct fr_counts counts;

    for (size_t i = 0; py_image != NULL && py_mounts != NULL && i < mount_count; i++) {
        PyObject *py_table = table_of(super, i);

        if (py_table == NULL || PyTuple_SetItem(py_mounts, (Py_ssize_t)i, py_table) < 0)
            Py_CLEAR(py_mounts);
    }
    if (py_image == NULL || py_mounts == NULL) {
        Py_XDECREF(py_image);
        Py_XDECREF(py_mounts);
        return NULL;
    }
    fr_count(super, &counts);
    return Py_BuildValue("NNKKKKK", py_image, py_mounts, (unsigned long long)counts.notified,
                         (unsigned long long)counts.continued, (unsigned long long)counts.entries,
                         (unsigned long long)counts.table_bytes, (unsigned long long)counts.credentials);
}

/* ((path, table), …), bytes all: good as long as the tuple is. False with an exception set. */
static int read_mounts(PyObject *py_mounts, struct fr_mount *mounts, size_t *count)
{
    *count = (size_t)PyTuple_Size(py_mounts);
    if (*count > FR_MOUNTS_MAX) {
        PyErr_Format(PyExc_ValueError, "more than %d mounts have owners of their own", FR_MOUNTS_MAX);
        return 0;
    }
    for (size_t i = 0; i < *count; i++) {
        Py_ssize_t length;

        if (!PyArg_ParseTuple(PyTuple_GetItem(py_mounts, (Py_ssize_t)i), "yy#:serve", &mounts[i].path,
                              &mounts[i].table, &length))
            return 0;
        mounts[i].table_length = (size_t)length;
    }
    return 1;
}

static PyObject *serve(PyObject *module, PyObject *args)
{
    struct fr_super *super = NULL;
    struct fr_options options = {.upper_fd = -1};
    unsigned long long dev;
    struct fr_mount mounts[FR_MOUNTS_MAX];
    PyObject *py_result = NULL, *py_mounts;
    Py_buffer table, view;
    int listener, rc;

    (void)module;
    if (!PyArg_ParseTuple(args, "iiy*KiiO!y*:serve", &listener, &options.proc_fd, &table, &dev, &options.upper_fd,
                          &options.control_fd, &PyTuple_Type, &py_mounts, &view))
        return NULL;
    options.mounts = mounts;
    if (!read_mounts(py_mounts, mounts, &options.mount_count)) {
        PyBuffer_Release(&table);
        PyBuffer_Release(&view);
        close(listener);
        return NULL;
    }
    options.image_dev = dev;
    options.table = table.buf;
    options.table_length = (size_t)table.len;
    options.view = view.buf;
    options.view_length = (size_t)view.len;
    rc = fr_open(&super, &options);
    PyBuffer_Release(&table);
    PyBuffer_Release(&view);
    if (rc == 0)
        rc = fr_add_listener(super, listener);
    else
        close(listener); /* the processes that wait for an answer get ENOSYS, and end */
    if (rc == 0)
        rc = serve_all(super);
    if (rc < 0)
        os_error(rc);
    else if (rc == 0)
        py_result = result_of(super, options.mount_count);
    fr_close(super);
    return py_result;
}

static PyObject *fork_pid1(PyObject *module, PyObject *args)
{
    int link;
    pid_t pid;

    (void)module;
    if (!PyArg_ParseTuple(args, "i:fork_pid1", &link))
        return NULL;
    pid = fork();
    if (pid == 0)
        pid1_live(link);
    return pid < 0 ? PyErr_SetFromErrno(PyExc_OSError) : PyLong_FromLong(pid);
}

static PyMethodDef methods[] = {
    {"probe", probe, METH_NOARGS, "probe() -> int: FR_HAS_* bits of what the kernel offers"},
    {"install_filter", install_filter, METH_VARARGS, "install_filter(fsync, /) -> int: the listener's fd"},
    {"serve", serve, METH_VARARGS,
     "serve(listener, proc_fd, table, dev, upper_fd, control_fd, mounts, view, /) -> "
     "(table, tables of the mounts, notified, continued, entries, table_bytes, credentials); mounts: ((path, table), …); "
     "view: what shim.c makes, b\"\" for none"},
    {"fork_pid1", fork_pid1, METH_VARARGS,
     "fork_pid1(link, /) -> int: the pid of a child that never returns, and serves at `link` (pid1.h)"},
    {NULL, NULL, 0, NULL},
};

static int execute(PyObject *module)
{
    return PyModule_AddIntConstant(module, "HAS_LISTENER", FR_HAS_LISTENER) < 0 ||
                   PyModule_AddIntConstant(module, "HAS_WAIT_KILLABLE", FR_HAS_WAIT_KILLABLE) < 0 ||
                   PyModule_AddIntConstant(module, "HAS_OPENAT2", FR_HAS_OPENAT2) < 0 ||
                   PyModule_AddIntConstant(module, "HAS_PIDFD_GETFD", FR_HAS_PIDFD_GETFD) < 0 ||
                   PyModule_AddIntConstant(module, "HAS_VM_READ", FR_HAS_VM_READ) < 0 ||
                   PyModule_AddIntConstant(module, "HAS_LOCKS_LIMIT", FR_HAS_LOCKS_LIMIT) < 0
               ? -1
               : 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)execute},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_fakeroot", "The fakeroot filesystem supervisor.", 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__fakeroot(void) { return PyModuleDef_Init(&definition); }
