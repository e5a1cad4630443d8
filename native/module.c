/* rootless_builder._layercore: the method table and the module's state; layercore.py is the door to it. */
#include "py_util.h"

#include "diff.h"
#include "sha256.h"

static PyMethodDef METHODS[] = {
    {"scan", lc_py_scan, METH_O, "scan(root_fd, /) -> Snapshot: every path below a folder, with its lstat."},
    {"diff", (PyCFunction)(void (*)(void))lc_py_diff, METH_FASTCALL,
     "diff(before, after, /) -> list[tuple[int, bytes]]: ADDED, CHANGED or REMOVED paths, canonical order."},
    {"hash_files", (PyCFunction)(void (*)(void))lc_py_hash_files, METH_FASTCALL,
     "hash_files(root_fd, paths, /) -> list[bytes]: SHA-256 of regular files below a folder."},
    {"survey", lc_py_survey, METH_VARARGS,
     "survey(root_fd, names=None, skipped=(), /) -> Snapshot: what COPY takes from a folder."},
    {"recall", lc_py_recall, METH_VARARGS, 
     "recall(survey, memory, contents, /) -> (records, bytes): fills in digests known from before; what is not known."},
    {"learn", lc_py_learn, METH_VARARGS, "learn(root_fd, survey, contents, /): the digests that are not known."},
    {"tell", lc_py_tell, METH_VARARGS,
     "tell(survey, contents, first, strip, modes, /) -> (bytes, bytes): what a selection's digest is made of."},
    {"remember", lc_py_remember, METH_VARARGS,
     "remember(survey, contents, before, quiet, /) -> bytes: a memory for recall."},
    {"read_headers", lc_py_read_headers, METH_VARARGS,
     "read_headers(data, at, position, limit, files, /) -> (records, paths, targets, files, end, spare): the ordinary "
     "entries of a tar."},
    {"arrange", lc_py_arrange, METH_VARARGS,
     "arrange(records, paths, targets, attributes, most, /) -> (records, paths, targets, order) or None: in canonical "
     "order."},
    {"make_files", lc_py_make_files, METH_VARARGS,
     "make_files(folder_fd, data, wanted, names, /) -> bytes: small files of an unpacked layer."},
    {"sha256", (PyCFunction)(void (*)(void))lc_py_sha256, METH_FASTCALL,
     "sha256(data, kernel=KERNEL, /) -> bytes: for tests; ValueError for a kernel that cannot run here."},
    {NULL, NULL, 0, NULL},
};

static PyObject *kernel_names(void)
{
    PyObject *py_list = PyList_New(0), *py_tuple;
    if (py_list == NULL)
        return NULL;
    for (const struct lc_sha256_kernel *kernel = lc_sha256_kernels; kernel->name != NULL; kernel++) {
        PyObject *py_name;
        if (!kernel->runs_here())
            continue;
        py_name = PyUnicode_FromString(kernel->name);
        if (py_name == NULL || PyList_Append(py_list, py_name) < 0) {
            Py_XDECREF(py_name);
            Py_DECREF(py_list);
            return NULL;
        }
        Py_DECREF(py_name);
    }
    py_tuple = PyList_AsTuple(py_list);
    Py_DECREF(py_list);
    return py_tuple;
}

static int add_type(PyObject *py_module, PyType_Spec *spec, PyTypeObject **type)
{
    *type = (PyTypeObject *)PyType_FromModuleAndSpec(py_module, spec, NULL);
    return *type == NULL ? -1 : PyModule_AddType(py_module, *type);
}

static int layercore_exec(PyObject *py_module)
{
    struct lc_state *state = PyModule_GetState(py_module);
    PyObject *py_names = kernel_names();
    int failed = py_names == NULL || PyModule_AddObjectRef(py_module, "KERNELS", py_names) < 0;
    Py_XDECREF(py_names);
    if (failed || add_type(py_module, &lc_snapshot_spec, &state->py_snapshot_type) < 0 ||
        add_type(py_module, &lc_sink_spec, &state->py_sink_type) < 0 ||
        PyModule_AddStringConstant(py_module, "KERNEL", lc_sha256_choose(NULL)->name) < 0 ||
        PyModule_AddIntConstant(py_module, "ADDED", LC_ADDED) < 0 ||
        PyModule_AddIntConstant(py_module, "CHANGED", LC_CHANGED) < 0 ||
        PyModule_AddIntConstant(py_module, "REMOVED", LC_REMOVED) < 0)
        return -1;
    return 0;
}

static int layercore_traverse(PyObject *py_module, visitproc visit, void *arg)
{
    struct lc_state *state = PyModule_GetState(py_module);
    Py_VISIT(state->py_snapshot_type);
    Py_VISIT(state->py_sink_type);
    return 0;
}

static int layercore_clear(PyObject *py_module)
{
    struct lc_state *state = PyModule_GetState(py_module);
    Py_CLEAR(state->py_snapshot_type);
    Py_CLEAR(state->py_sink_type);
    return 0;
}

static void layercore_free(void *module)
{
    layercore_clear(module);
}

static PyModuleDef_Slot SLOTS[] = {
    {Py_mod_exec, layercore_exec},
    {0, NULL},
};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_layercore",
    .m_doc = "The layer core in C; see rootless_builder/layercore.py.",
    .m_size = sizeof(struct lc_state),
    .m_methods = METHODS,
    .m_slots = SLOTS,
    .m_traverse = layercore_traverse,
    .m_clear = layercore_clear,
    .m_free = layercore_free,
};

PyMODINIT_FUNC PyInit__layercore(void);

PyMODINIT_FUNC PyInit__layercore(void)
{
    return PyModuleDef_Init(&MODULE);
}
