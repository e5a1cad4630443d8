/* The Snapshot type, and the bindings of scan and diff. */
#include "py_util.h"

#include "diff.h"

#include <stdlib.h>

/* Never written to after lc_py_scan has filled it: threads may share it. */
struct snapshot_object {
    PyObject_HEAD
    struct lc_snapshot snapshot;
};

static struct lc_snapshot *snapshot_of(PyObject *py_self)
{
    return &((struct snapshot_object *)py_self)->snapshot;
}

const struct lc_snapshot *lc_py_snapshot(PyObject *py_module, PyObject *py_value)
{
    struct lc_state *state = PyModule_GetState(py_module);
    if (Py_TYPE(py_value) == state->py_snapshot_type)
        return snapshot_of(py_value);
    PyErr_SetString(PyExc_TypeError, "not a Snapshot");
    return NULL;
}

PyObject *lc_py_new_snapshot(PyObject *py_module, struct lc_snapshot **snapshot)
{
    struct lc_state *state = PyModule_GetState(py_module);
    PyObject *py_snapshot = PyType_GenericAlloc(state->py_snapshot_type, 0);
    if (py_snapshot != NULL)
        *snapshot = snapshot_of(py_snapshot);
    return py_snapshot;
}

static void snapshot_dealloc(PyObject *py_self)
{
    PyTypeObject *py_type = Py_TYPE(py_self);
    freefunc release = (freefunc)PyType_GetSlot(py_type, Py_tp_free);
    lc_snapshot_free(snapshot_of(py_self));
    release(py_self);
    Py_DECREF(py_type);
}

static Py_ssize_t snapshot_len(PyObject *py_self)
{
    return (Py_ssize_t)snapshot_of(py_self)->count;
}

static PyObject *snapshot_get(PyObject *py_self, PyObject *py_path)
{
    char *path;
    Py_ssize_t length;
    const struct lc_record *record;
    if (PyBytes_AsStringAndSize(py_path, &path, &length) < 0)
        return NULL;
    record = lc_snapshot_find(snapshot_of(py_self), path, (size_t)length);
    if (record == NULL)
        Py_RETURN_NONE;
    return Py_BuildValue("(IIILLLKKKK)", record->mode, record->uid, record->gid, (long long)record->size,
                         (long long)record->mtime_ns, (long long)record->ctime_ns, (unsigned long long)record->dev,
                         (unsigned long long)record->ino, (unsigned long long)record->nlink,
                         (unsigned long long)record->rdev);
}

static PyObject *snapshot_facts(PyObject *py_self, PyObject *Py_UNUSED(py_none))
{
    const struct lc_snapshot *snapshot = snapshot_of(py_self);
    return Py_BuildValue("(KKi)", (unsigned long long)snapshot->files, (unsigned long long)snapshot->bytes,
                         snapshot->odd);
}

static PyMethodDef SNAPSHOT_METHODS[] = {
    {"facts", snapshot_facts, METH_NOARGS, "facts() -> (files, their bytes, odd: what add_survey cannot take)"},
    {"get", snapshot_get, METH_O,
     "get(path, /) -> (mode, uid, gid, size, mtime_ns, ctime_ns, dev, ino, nlink, rdev) | None"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot SNAPSHOT_SLOTS[] = {
    {Py_tp_doc, "What `scan` saw. Immutable: threads may share it."},
    {Py_tp_dealloc, snapshot_dealloc},
    {Py_tp_methods, SNAPSHOT_METHODS},
    {Py_mp_length, snapshot_len},
    {0, NULL},
};

PyType_Spec lc_snapshot_spec = {
    .name = "rootless_builder._layercore.Snapshot",
    .basicsize = sizeof(struct snapshot_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = SNAPSHOT_SLOTS,
};

PyObject *lc_py_scan(PyObject *py_module, PyObject *py_fd)
{
    struct lc_state *state = PyModule_GetState(py_module);
    struct lc_error error;
    PyObject *py_snapshot;
    int root_fd, result;
    if (lc_py_fd(py_fd, &root_fd) < 0)
        return NULL;
    py_snapshot = PyType_GenericAlloc(state->py_snapshot_type, 0);
    if (py_snapshot == NULL)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    result = lc_scan(root_fd, snapshot_of(py_snapshot), &error);
    Py_END_ALLOW_THREADS
    if (result < 0) {
        Py_DECREF(py_snapshot);
        return lc_py_raise(&error);
    }
    return py_snapshot;
}

static PyObject *list_of_changes(const struct lc_changes *changes, const struct lc_snapshot *before,
                                 const struct lc_snapshot *after)
{
    PyObject *py_list = PyList_New((Py_ssize_t)changes->count);
    if (py_list == NULL)
        return NULL;
    for (size_t i = 0; i < changes->count; i++) {
        const struct lc_change *change = &changes->list[i];
        const struct lc_snapshot *holder = change->kind == LC_REMOVED ? before : after;
        PyObject *py_change = Py_BuildValue("(iy#)", (int)change->kind, lc_record_path(holder, change->record),
                                            (Py_ssize_t)change->record->path_length);
        if (py_change == NULL || PyList_SetItem(py_list, (Py_ssize_t)i, py_change) < 0) {
            Py_DECREF(py_list);
            return NULL;
        }
    }
    return py_list;
}

PyObject *lc_py_diff(PyObject *py_module, PyObject *const *py_args, Py_ssize_t count)
{
    struct lc_state *state = PyModule_GetState(py_module);
    struct lc_changes changes = {0};
    struct lc_error error;
    PyObject *py_list;
    int result;
    if (lc_py_wants("diff", 2, 2, count) < 0)
        return NULL;
    if (Py_TYPE(py_args[0]) != state->py_snapshot_type || Py_TYPE(py_args[1]) != state->py_snapshot_type) {
        PyErr_SetString(PyExc_TypeError, "diff() takes two Snapshots");
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    result = lc_diff(snapshot_of(py_args[0]), snapshot_of(py_args[1]), &changes, &error);
    Py_END_ALLOW_THREADS
    py_list = result < 0 ? lc_py_raise(&error)
                         : list_of_changes(&changes, snapshot_of(py_args[0]), snapshot_of(py_args[1]));
    free(changes.list);
    return py_list;
}
