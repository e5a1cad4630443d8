/* The bindings of survey, recall, learn, tell, remember and TarSink.add_survey. */
#include "py_util.h"

#include "survey.h"

#include <stdlib.h>

#define BUDGET ((uint64_t)64 << 20) /* bytes read between two looks for a signal */

/* Survey ──────────────────────────────────────────────────────────────────────────────────────────────────────── */

/* Paths borrowed from a list that is ours → their number, or -1 with an exception set. */
static Py_ssize_t texts_of(PyObject *py_list, struct lc_text **texts)
{
    Py_ssize_t count = PyList_Size(py_list);
    *texts = calloc((size_t)count + 1, sizeof **texts);
    if (*texts == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++)
        if (lc_py_path(PyList_GetItem(py_list, i), &(*texts)[i].bytes, &(*texts)[i].length) < 0)
            return -1;
    return count;
}

static PyObject *taken(PyObject *py_module, int root_fd, const struct lc_survey *survey)
{
    struct lc_snapshot *snapshot;
    struct lc_error error;
    int result;
    PyObject *py_snapshot = lc_py_new_snapshot(py_module, &snapshot);
    if (py_snapshot == NULL)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    result = lc_scan_survey(root_fd, survey, snapshot, &error);
    Py_END_ALLOW_THREADS
    if (result < 0) {
        Py_DECREF(py_snapshot);
        return lc_py_raise(&error);
    }
    return py_snapshot;
}

PyObject *lc_py_survey(PyObject *py_module, PyObject *py_args)
{
    PyObject *py_names = Py_None, *py_skipped = NULL, *py_name_list = NULL, *py_skip_list = NULL, *py_result = NULL;
    struct lc_text *names = NULL, *skipped = NULL;
    Py_ssize_t name_count = 0, skipped_count = 0;
    int root_fd;
    if (!PyArg_ParseTuple(py_args, "i|OO:survey", &root_fd, &py_names, &py_skipped))
        return NULL;
    py_name_list = Py_IsNone(py_names) ? PyList_New(0) : PySequence_List(py_names);
    py_skip_list = py_skipped == NULL ? PyList_New(0) : PySequence_List(py_skipped);
    if (py_name_list != NULL && py_skip_list != NULL && (name_count = texts_of(py_name_list, &names)) >= 0 &&
        (skipped_count = texts_of(py_skip_list, &skipped)) >= 0) {
        const struct lc_survey survey = {
            .names = Py_IsNone(py_names) ? NULL : names, .name_count = (size_t)name_count,
            .skipped = skipped, .skipped_count = (size_t)skipped_count};
        py_result = taken(py_module, root_fd, &survey);
    }
    free(names);
    free(skipped);
    Py_XDECREF(py_name_list);
    Py_XDECREF(py_skip_list);
    return py_result;
}

/* Contents ────────────────────────────────────────────────────────────────────────────────────────────────────── */

/* The digests beside a survey: one for each record. */
static lc_digest *contents_of(const Py_buffer *buffer, const struct lc_snapshot *survey)
{
    if ((size_t)buffer->len == survey->count * sizeof(lc_digest))
        return buffer->buf;
    PyErr_SetString(PyExc_ValueError, "contents must hold 32 bytes for each path of the survey");
    return NULL;
}

static PyObject *bytes_of(struct lc_bytes *bytes)
{
    PyObject *py_bytes = PyBytes_FromStringAndSize((const char *)bytes->data, (Py_ssize_t)bytes->used);
    free(bytes->data);
    bytes->data = NULL;
    return py_bytes;
}

PyObject *lc_py_recall(PyObject *py_module, PyObject *py_args)
{
    PyObject *py_survey, *py_result = NULL;
    Py_buffer memory, contents;
    if (!PyArg_ParseTuple(py_args, "Oy*w*:recall", &py_survey, &memory, &contents))
        return NULL;
    const struct lc_snapshot *survey = lc_py_snapshot(py_module, py_survey);
    lc_digest *digests = survey == NULL ? NULL : contents_of(&contents, survey);
    if (digests != NULL) {
        struct lc_unknown unknown;
        Py_BEGIN_ALLOW_THREADS
        unknown = lc_recall(survey, memory.buf, (size_t)memory.len, digests);
        Py_END_ALLOW_THREADS
        py_result = Py_BuildValue("(nK)", (Py_ssize_t)unknown.records, (unsigned long long)unknown.bytes);
    }
    PyBuffer_Release(&memory);
    PyBuffer_Release(&contents);
    return py_result;
}

static int learn_all(int root_fd, const struct lc_snapshot *survey, lc_digest *digests)
{
    struct lc_error error;
    size_t done = 0;
    while (done < survey->count) {
        int result;
        Py_BEGIN_ALLOW_THREADS
        result = lc_learn(root_fd, survey, digests, &done, BUDGET, &error);
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

PyObject *lc_py_learn(PyObject *py_module, PyObject *py_args)
{
    PyObject *py_survey, *py_result = NULL;
    Py_buffer contents;
    int root_fd;
    if (!PyArg_ParseTuple(py_args, "iOw*:learn", &root_fd, &py_survey, &contents))
        return NULL;
    const struct lc_snapshot *survey = lc_py_snapshot(py_module, py_survey);
    lc_digest *digests = survey == NULL ? NULL : contents_of(&contents, survey);
    if (digests != NULL && learn_all(root_fd, survey, digests) == 0)
        py_result = Py_NewRef(Py_None);
    PyBuffer_Release(&contents);
    return py_result;
}

static PyObject *told(const struct lc_snapshot *survey, const lc_digest *digests, const struct lc_telling *how)
{
    struct lc_bytes text = {0}, found = {0};
    struct lc_error error;
    PyObject *py_result = NULL;
    int result;
    Py_BEGIN_ALLOW_THREADS
    result = lc_tell(survey, digests, how, &text, &found, &error);
    Py_END_ALLOW_THREADS
    if (result < 0)
        lc_py_raise(&error);
    else
        py_result = Py_BuildValue("(y#y#)", text.used ? (char *)text.data : "", (Py_ssize_t)text.used,
                                  found.used ? (char *)found.data : "", (Py_ssize_t)found.used);
    free(text.data);
    free(found.data);
    return py_result;
}

PyObject *lc_py_tell(PyObject *py_module, PyObject *py_args)
{
    PyObject *py_survey, *py_result = NULL;
    Py_buffer contents, modes;
    Py_ssize_t first, strip;
    if (!PyArg_ParseTuple(py_args, "Oy*nny*:tell", &py_survey, &contents, &first, &strip, &modes))
        return NULL;
    const struct lc_snapshot *survey = lc_py_snapshot(py_module, py_survey);
    const lc_digest *digests = survey == NULL ? NULL : contents_of(&contents, survey);
    const struct lc_telling how = {(size_t)first, (size_t)strip, modes.buf};
    if (digests != NULL && (first < 0 || strip < 0))
        PyErr_SetString(PyExc_ValueError, "first and strip must not be negative");
    else if (digests != NULL && modes.len != 4096 * sizeof *how.modes)
        PyErr_SetString(PyExc_ValueError, "modes must hold 4096 numbers of 32 bits");
    else if (digests != NULL)
        py_result = told(survey, digests, &how);
    PyBuffer_Release(&modes);
    PyBuffer_Release(&contents);
    return py_result;
}

static PyObject *remembered(const struct lc_snapshot *survey, const lc_digest *digests, const Py_buffer *before,
                            long long quiet)
{
    struct lc_bytes out = {0};
    struct lc_error error;
    int result;
    Py_BEGIN_ALLOW_THREADS
    result = lc_remember(survey, digests, before->buf, (size_t)before->len, quiet, &out, &error);
    Py_END_ALLOW_THREADS
    if (result < 0) {
        free(out.data);
        return lc_py_raise(&error);
    }
    return bytes_of(&out);
}

PyObject *lc_py_remember(PyObject *py_module, PyObject *py_args)
{
    PyObject *py_survey, *py_result = NULL;
    Py_buffer contents, before;
    long long quiet;
    if (!PyArg_ParseTuple(py_args, "Oy*y*L:remember", &py_survey, &contents, &before, &quiet))
        return NULL;
    const struct lc_snapshot *survey = lc_py_snapshot(py_module, py_survey);
    const lc_digest *digests = survey == NULL ? NULL : contents_of(&contents, survey);
    if (digests != NULL)
        py_result = remembered(survey, digests, &before, quiet);
    PyBuffer_Release(&contents);
    PyBuffer_Release(&before);
    return py_result;
}

/* TarSink.add_survey ──────────────────────────────────────────────────────────────────────────────────────────── */

static PyObject *index_of(struct lc_packed *packed)
{
    PyObject *py_records = bytes_of(&packed->records);
    PyObject *py_paths = py_records == NULL ? NULL : bytes_of(&packed->paths);
    PyObject *py_targets = py_paths == NULL ? NULL : bytes_of(&packed->targets);
    PyObject *py_hinted = py_targets == NULL ? NULL : bytes_of(&packed->hinted);
    PyObject *py_result = py_hinted == NULL ? NULL : PyTuple_Pack(4, py_records, py_paths, py_targets, py_hinted);
    Py_XDECREF(py_hinted);
    Py_XDECREF(py_records);
    Py_XDECREF(py_paths);
    Py_XDECREF(py_targets);
    return py_result;
}

static PyObject *pack_all(PyObject *py_sink, int root_fd, const struct lc_snapshot *survey, lc_digest *digests,
                          const struct lc_pack_rules *rules)
{
    struct lc_packed packed = {0};
    struct lc_error error;
    PyObject *py_result = NULL;
    int result = 1;
    struct lc_sink *sink = lc_py_take_sink(py_sink);
    if (sink == NULL)
        return NULL;
    struct lc_packer *packer = lc_packer_start(sink, root_fd, survey, digests, rules);
    if (packer == NULL) {
        lc_py_end_turn(py_sink, 1);
        return PyErr_NoMemory();
    }
    while (result == 1) {
        Py_BEGIN_ALLOW_THREADS
        result = lc_packer_step(packer, BUDGET, &packed, &error);
        Py_END_ALLOW_THREADS
        if (result < 0)
            lc_py_raise(&error);
        else if (PyErr_CheckSignals() < 0)
            result = -1;
    }
    Py_BEGIN_ALLOW_THREADS
    lc_packer_end(packer);
    Py_END_ALLOW_THREADS
    lc_py_end_turn(py_sink, result < 0);
    if (result == 0)
        py_result = index_of(&packed);
    free(packed.records.data);
    free(packed.paths.data);
    free(packed.targets.data);
    free(packed.hinted.data);
    return py_result;
}

static int are_right(const struct lc_pack_rules *rules, Py_ssize_t first, Py_ssize_t strip, const Py_buffer *modes)
{
    if (first < 0 || strip < 0)
        PyErr_SetString(PyExc_ValueError, "first and strip must not be negative");
    else if (rules->modes != NULL && modes->len != 2 * 4096 * sizeof *rules->modes)
        PyErr_SetString(PyExc_ValueError, "modes must hold 2 × 4096 numbers of 16 bits");
    else
        return 1;
    return 0;
}

/* → a list of ours that holds the texts, NULL with an exception set. */
static PyObject *hints_of(PyObject *py_hints, unsigned long long largest, struct lc_hints *hints)
{
    struct lc_text *texts = NULL;
    PyObject *py_list = PySequence_List(py_hints);
    Py_ssize_t count = py_list == NULL ? -1 : PyList_Size(py_list), i;
    texts = count < 0 ? NULL : calloc((size_t)count + 1, sizeof *texts);
    if (count >= 0 && texts == NULL)
        PyErr_NoMemory();
    for (i = 0; texts != NULL && i < count; i++) {
        char *bytes;
        Py_ssize_t length;
        if (PyBytes_AsStringAndSize(PyList_GetItem(py_list, i), &bytes, &length) < 0)
            break;
        if (length < 2) {
            PyErr_SetString(PyExc_ValueError, "a hint must have two bytes at least");
            break;
        }
        texts[i] = (struct lc_text){bytes, (size_t)length};
    }
    if (texts == NULL || i < count) {
        free(texts);
        Py_XDECREF(py_list);
        return NULL;
    }
    hints->texts = texts;
    hints->count = (size_t)count;
    hints->largest = largest;
    lc_hints_prepare(hints);
    return py_list;
}

PyObject *lc_py_sink_add_survey(PyObject *py_self, PyObject *py_args)
{
    PyObject *py_survey, *py_result = NULL;
    struct lc_pack_rules rules = {0};
    struct lc_hints hints;
    Py_buffer contents, modes = {0};
    Py_ssize_t first, strip, prefix_length;
    long long latest;
    unsigned long long largest;
    PyObject *py_hints;
    int root_fd;
    if (!PyArg_ParseTuple(py_args, "iOw*nny#IILz*OK:add_survey", &root_fd, &py_survey, &contents, &first, &strip,
                          &rules.prefix, &prefix_length, &rules.uid, &rules.gid, &latest, &modes, &py_hints, &largest))
        return NULL;
    PyObject *py_list = hints_of(py_hints, largest, &hints);
    rules.first = (size_t)first;
    rules.strip = (size_t)strip;
    rules.prefix_length = (size_t)prefix_length;
    rules.latest = latest;
    rules.modes = modes.buf;
    const struct lc_snapshot *survey = lc_py_snapshot(PyType_GetModule(Py_TYPE(py_self)), py_survey);
    lc_digest *digests = survey == NULL ? NULL : contents_of(&contents, survey);
    rules.hints = &hints;
    if (py_list != NULL && digests != NULL && are_right(&rules, first, strip, &modes))
        py_result = pack_all(py_self, root_fd, survey, digests, &rules);
    if (py_list != NULL)
        free((void *)hints.texts);
    Py_XDECREF(py_list);
    PyBuffer_Release(&contents);
    PyBuffer_Release(&modes);
    return py_result;
}
