/* Rows of one environment without Python: `Row` is a base of `CompiledRows`, `Step` is a loop's step. How a row is
recorded is in `_record.h`.

Rules:
1. Columns belong to the pump while the producer's mutex is held: `Step` writes only while nobody holds it.
2. An environment is stepped once. What it returned goes to Python as it is where a row is not one for here. */

#include "_record.h"
#include <stddef.h>
#include <structmember.h>

#define AGREEMENT 2 /* what Python's side expects, see `compiled_rows.py` */

typedef struct {
    PyObject_HEAD
    Row *rows;
    PyObject *env_step, *locked, *acquire, *release, *slow;
} Step;

typedef struct {
    PyTypeObject *row;
} State;

/* ---- Row ------------------------------------------------------------------------------------------------------ */

/* As before `expect`. */
static void forget(Row *self)
{
    self->ready = false;
    forget_types(&self->types);
    Py_CLEAR(self->counter);
    forget_values(&self->action);
    forget_values(&self->observation);
    forget_film(&self->film);
    for (int i = 0; i < 3; i++)
        Py_CLEAR(self->kinds[i]);
    PyBuffer_Release(&self->words);
    PyBuffer_Release(&self->rewards);
    PyBuffer_Release(&self->times);
}

static int row_clear(Row *self)
{
    forget(self);
    Py_CLEAR(self->oldest_ns);
    Py_CLEAR(self->ends);
    Py_CLEAR(self->info_keys);
    return 0;
}

static int row_traverse(Row *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE((PyObject *)self));
    Py_VISIT(self->oldest_ns);
    VISIT_TYPES(self->types);
    Py_VISIT(self->ends);
    Py_VISIT(self->info_keys);
    for (int i = 0; i < 3; i++)
        Py_VISIT(self->kinds[i]);
    VISIT_FILM(self->film);
    Py_VISIT(self->counter);
    VISIT_VALUES(self->action);
    VISIT_VALUES(self->observation);
    Py_VISIT(self->words.obj);
    Py_VISIT(self->rewards.obj);
    Py_VISIT(self->times.obj);
    return 0;
}

static void row_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    row_clear((Row *)self);
    free_object(self);
}

PyDoc_STRVAR(expect_doc,
             "expect($self, words, steps_word, numpy, counter, action, observation, /)\n--\n\n"
             "What rows are made of; once.\n\n"
             "words: an array of int64 that outlives the process; steps_word: which of them counts steps.\n"
             "numpy: the types ndarray, float64 and float32, and the values False_ and True_.\n"
             "counter: gives nanoseconds; None: CLOCK_MONOTONIC.\n"
             "action, observation: (type of integers or None for arrays, dtype, lowest, highest, bytes, shape).");

static PyObject *row_expect(Row *self, PyObject *args)
{
    PyObject *words, *counter, *numpy[5], *action[6], *observation[6];
    Py_ssize_t steps_word;
    if (self->types.array != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "expect() was called before");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "On(OOOOO)O(OOOOOO!)(OOOOOO!):expect", &words, &steps_word, &numpy[0], &numpy[1],
                          &numpy[2], &numpy[3], &numpy[4], &counter, &action[0], &action[1], &action[2], &action[3], &action[4],
                          &PyTuple_Type, &action[5], &observation[0], &observation[1], &observation[2],
                          &observation[3], &observation[4], &PyTuple_Type, &observation[5]))
        return NULL;
    if (borrow(words, &self->words, PyBUF_CONTIG) < 0)
        return NULL;
    if (steps_word < 0 || steps_word >= self->words.len / 8 || (uintptr_t)self->words.buf % 8) {
        PyErr_SetString(PyExc_ValueError, "no such word");
        PyBuffer_Release(&self->words);
        return NULL;
    }
    self->steps_word = steps_word;
    set_types(&self->types, numpy);
    if (counter != Py_None)
        self->counter = Py_NewRef(counter);
    if (set_values(&self->action, action) < 0 || set_values(&self->observation, observation) < 0) {
        forget(self);
        return NULL;
    }
    Py_RETURN_NONE;
}

static int exchange(Py_buffer *column, PyObject *memory, Py_ssize_t rows, Py_ssize_t size)
{
    Py_buffer found;
    if (borrow(memory, &found, PyBUF_CONTIG) < 0)
        return -1;
    if (size && found.len / size < rows) {
        PyErr_Format(PyExc_ValueError, "a column of %zd bytes, %zd rows of %zd are needed", found.len, rows, size);
        PyBuffer_Release(&found);
        return -1;
    }
    PyBuffer_Release(column);
    *column = found;
    return 0;
}

PyDoc_STRVAR(fill_doc,
             "fill($self, actions, observations, rewards, times, capacity, /)\n--\n\n"
             "The columns that rows go to from now on: contiguous arrays of `capacity` rows, observations of one more.\n\n"
             "observations: None where they are pictures, which wait for `film`.");

static PyObject *row_fill(Row *self, PyObject *args)
{
    PyObject *actions, *observations, *rewards, *times;
    Py_ssize_t capacity;
    self->ready = false;
    if (!PyArg_ParseTuple(args, "OOOOn:fill", &actions, &observations, &rewards, &times, &capacity))
        return NULL;
    if (self->types.array == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "expect() comes first");
        return NULL;
    }
    if (capacity < 0 || capacity == PY_SSIZE_T_MAX) {
        PyErr_Format(PyExc_ValueError, "a capacity of %zd rows", capacity);
        return NULL;
    }
    const bool pictures = observations == Py_None;
    if (exchange(&self->action.column, actions, capacity, self->action.size) < 0 ||
        (!pictures && exchange(&self->observation.column, observations, capacity + 1, self->observation.size) < 0) ||
        exchange(&self->rewards, rewards, capacity, 8) < 0 || exchange(&self->times, times, capacity, 8) < 0)
        return NULL;
    forget_film(&self->film);
    self->pictures = pictures;
    self->noted = 0;
    self->capacity = capacity;
    self->ready = true;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(film_doc,
             "film($self, block, noted, filled, known, last, most, /)\n--\n\n"
             "Where the pictures of the open fragment go, as `FrameRows.memory` says; `most`: how many there may be.");

static PyObject *row_film(Row *self, PyObject *args)
{
    PyObject *block, *noted, *filled, *known, *last;
    Py_ssize_t most;
    Film *film = &self->film;
    film->ready = false;
    if (!PyArg_ParseTuple(args, "OOOOOn:film", &block, &noted, &filled, &known, &last, &most))
        return NULL;
    if (!self->ready || !self->pictures || most < 0 || most > PY_SSIZE_T_MAX / 24) {
        PyErr_SetString(PyExc_ValueError, "no pictures are expected, or not so many");
        return NULL;
    }
    if (exchange(&film->block, block, 0, 1) < 0 || exchange(&film->noted, noted, most, 24) < 0 ||
        exchange(&film->filled, filled, 2, 8) < 0 || exchange(&film->known, known, 2, 8) < 0 ||
        exchange(&film->last, last, 0, 1) < 0)
        return NULL;
    if (((uintptr_t)film->noted.buf | (uintptr_t)film->filled.buf | (uintptr_t)film->known.buf) % 8) {
        PyErr_SetString(PyExc_ValueError, "numbers are not aligned");
        return NULL;
    }
    film->most = most;
    film->ready = true;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(note_doc,
             "note($self, kinds, most, /)\n--\n\n"
             "Infos of which every value is an int, float or bool are noted here as well, at most `most` values a fragment,\n"
             "in the lists of `_info_keys`: (row, value, kind). kinds: of the three.");

static PyObject *row_note(Row *self, PyObject *args)
{
    PyObject *kinds[3];
    if (!PyArg_ParseTuple(args, "(OOO)n:note", &kinds[0], &kinds[1], &kinds[2], &self->noted_most))
        return NULL;
    for (int i = 0; i < 3; i++) {
        PyObject *before = self->kinds[i];
        self->kinds[i] = Py_NewRef(kinds[i]);
        Py_XDECREF(before);
    }
    Py_RETURN_NONE;
}

static PyObject *call_python(Row *self, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    PyObject *method = PyObject_GetAttrString((PyObject *)self, "step_in_python");
    PyObject *positional = PyTuple_New(count);
    PyObject *named = names == NULL ? NULL : PyDict_New();
    PyObject *answer = NULL;
    if (method == NULL || positional == NULL || (names != NULL && named == NULL))
        goto done;
    for (Py_ssize_t i = 0; i < count; i++)
        PyTuple_SetItem(positional, i, Py_NewRef(args[i]));
    for (Py_ssize_t i = 0; named != NULL && i < PyTuple_Size(names); i++)
        if (PyDict_SetItem(named, PyTuple_GetItem(names, i), args[count + i]) < 0)
            goto done;
    answer = PyObject_Call(method, positional, named);
done:
    Py_XDECREF(method);
    Py_XDECREF(positional);
    Py_XDECREF(named);
    return answer;
}

PyDoc_STRVAR(row_step_doc,
             "step($self, /, action, observation, reward, terminated, truncated, info, render=None)\n--\n\n"
             "As `SingleRows.step`, which `step_in_python` has to be.");

static PyObject *row_step(Row *self, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    if (names == NULL && (count == 6 || (count == 7 && args[6] == Py_None))) {
        int recorded = record(self, args[0], args + 1);
        if (recorded < 0)
            return NULL;
        if (recorded)
            Py_RETURN_FALSE;
    }
    return call_python(self, args, count, names);
}

PyDoc_STRVAR(total_doc,
             "total($self, start, initial, /)\n--\n\n"
             "`initial` plus the rewards from row `start` on, added in their order.");

static PyObject *row_total(Row *self, PyObject *args)
{
    Py_ssize_t start;
    double total;
    if (!PyArg_ParseTuple(args, "nd:total", &start, &total))
        return NULL;
    if (!self->ready || start < 0 || self->rows > self->capacity) {
        PyErr_SetString(PyExc_IndexError, "no such rows");
        return NULL;
    }
    const double *rewards = self->rewards.buf;
    for (Py_ssize_t row = start; row < self->rows; row++)
        total += rewards[row];
    return PyFloat_FromDouble(total);
}

static PyMemberDef row_members[] = {
    {"rows", T_PYSSIZET, offsetof(Row, rows), 0, "Steps in the open fragment."},
    {"_limit", T_PYSSIZET, offsetof(Row, limit), 0, NULL},
    {"_before", T_LONGLONG, offsetof(Row, before), 0, NULL},
    {"_episode", T_LONGLONG, offsetof(Row, episode), 0, NULL},
    {"_t_before", T_PYSSIZET, offsetof(Row, t_before), 0, NULL},
    {"_noted", T_PYSSIZET, offsetof(Row, noted), READONLY, NULL},
    {"_info_keys", T_OBJECT, offsetof(Row, info_keys), 0, NULL},
    {"_open", T_BOOL, offsetof(Row, open), 0, NULL},
    {"_crowded", T_BOOL, offsetof(Row, crowded), 0, NULL},
    {"_bulky", T_BOOL, offsetof(Row, bulky), 0, NULL},
    {"_ends", T_OBJECT, offsetof(Row, ends), 0, NULL},
    {"oldest_ns", T_OBJECT, offsetof(Row, oldest_ns), 0, "When the open fragment's oldest row came; None: it is empty."},
    {NULL},
};

static PyMethodDef row_methods[] = {
    {"expect", (PyCFunction)row_expect, METH_VARARGS, expect_doc},
    {"fill", (PyCFunction)row_fill, METH_VARARGS, fill_doc},
    {"film", (PyCFunction)row_film, METH_VARARGS, film_doc},
    {"note", (PyCFunction)row_note, METH_VARARGS, note_doc},
    {"step", (PyCFunction)(void (*)(void))row_step, METH_FASTCALL | METH_KEYWORDS, row_step_doc},
    {"total", (PyCFunction)row_total, METH_VARARGS, total_doc},
    {NULL},
};

static PyType_Slot row_slots[] = {
    {Py_tp_doc, "Rows of one environment; see `SingleRows`, whose base this is where it is compiled."},
    {Py_tp_dealloc, row_dealloc},
    {Py_tp_traverse, row_traverse},
    {Py_tp_clear, row_clear},
    {Py_tp_members, row_members},
    {Py_tp_methods, row_methods},
    {0, NULL},
};

static PyType_Spec row_spec = {
    .name = "rolltape.actors._row.Row",
    .basicsize = sizeof(Row),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = row_slots,
};

/* ---- Step ----------------------------------------------------------------------------------------------------- */

static int step_clear(Step *self)
{
    Py_CLEAR(self->rows);
    Py_CLEAR(self->env_step);
    Py_CLEAR(self->locked);
    Py_CLEAR(self->acquire);
    Py_CLEAR(self->release);
    Py_CLEAR(self->slow);
    return 0;
}

static int step_traverse(Step *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE((PyObject *)self));
    Py_VISIT(self->rows);
    Py_VISIT(self->env_step);
    Py_VISIT(self->locked);
    Py_VISIT(self->acquire);
    Py_VISIT(self->release);
    Py_VISIT(self->slow);
    return 0;
}

static void step_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    step_clear((Step *)self);
    free_object(self);
}

static PyObject *step_new(PyTypeObject *type, PyObject *args, PyObject *named)
{
    State *state = PyType_GetModuleState(type);
    PyObject *rows, *env_step, *mutex, *slow;
    if (named != NULL && PyDict_Size(named)) {
        PyErr_SetString(PyExc_TypeError, "Step() takes no keyword arguments");
        return NULL;
    }
    if (state == NULL || !PyArg_ParseTuple(args, "O!OOO:Step", state->row, &rows, &env_step, &mutex, &slow))
        return NULL;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Step *self = (Step *)allocate(type, 0);
    if (self == NULL)
        return NULL;
    self->rows = (Row *)Py_NewRef(rows);
    self->env_step = Py_NewRef(env_step);
    self->slow = Py_NewRef(slow);
    self->locked = PyObject_GetAttrString(mutex, "locked");
    self->acquire = PyObject_GetAttrString(mutex, "acquire");
    self->release = PyObject_GetAttrString(mutex, "release");
    if (self->locked == NULL || self->acquire == NULL || self->release == NULL)
        Py_CLEAR(self);
    return (PyObject *)self;
}

/* The answer of a method of the mutex: 1 or 0, -1: an error. */
static int ask(PyObject *method, PyObject *argument)
{
    PyObject *answer = PyObject_CallFunctionObjArgs(method, argument, NULL);
    if (answer == NULL)
        return -1;
    int said = answer == Py_True;
    Py_DECREF(answer);
    return said;
}

/* As `record`, where Python may run in between: at the end of an episode, or because infos are made. The mutex is held
   meanwhile. Where it is not free, Python waits. */
static int record_held(Step *self, PyObject *action, PyObject *const *values)
{
    int held = ask(self->acquire, Py_False);
    if (held <= 0)
        return held;
    int recorded = record(self->rows, action, values);
    PyObject *kind, *error, *traceback;
    PyErr_Fetch(&kind, &error, &traceback);
    if (ask(self->release, NULL) < 0)
        recorded = -1;
    if (kind != NULL)
        PyErr_Restore(kind, error, traceback);
    return recorded;
}

/* 1: recorded; 0: it is Python's; -1: an error. */
static int record_result(Step *self, PyObject *action, PyObject *result)
{
    PyObject *values[5];
    Row *rows = self->rows;
    if (!PyTuple_CheckExact(result) || PyTuple_Size(result) != 5 || !has_room(rows))
        return 0;
    for (int i = 0; i < 5; i++)
        values[i] = PyTuple_GetItem(result, i);
    bool terminated, truncated;
    if (!parse_flag(&rows->types, values[2], &terminated) || !parse_flag(&rows->types, values[3], &truncated))
        return 0;
    bool plain = !rows->pictures && PyDict_CheckExact(values[4]) && PyDict_Size(values[4]) == 0;
    if (terminated || truncated || rows->counter != NULL || !plain)
        return record_held(self, action, values);
    int locked = ask(self->locked, NULL);
    return locked == 0 ? record(rows, action, values) : locked < 0 ? -1 : 0;
}

PyDoc_STRVAR(step_doc,
             "step($self, /, action)\n--\n\n"
             "Step the environment and record the transition.");

static PyObject *step_step(Step *self, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    Py_ssize_t named = names == NULL ? 0 : PyTuple_Size(names);
    if (count + named != 1 || (named && PyUnicode_CompareWithASCIIString(PyTuple_GetItem(names, 0), "action"))) {
        PyErr_SetString(PyExc_TypeError, "step() takes one argument: action");
        return NULL;
    }
    PyObject *action = args[0];
    PyObject *result = PyObject_CallFunctionObjArgs(self->env_step, action, NULL);
    if (result == NULL)
        return NULL;
    int recorded = record_result(self, action, result);
    if (recorded == 0) {
        PyObject *done = PyObject_CallFunctionObjArgs(self->slow, action, result, NULL);
        Py_XDECREF(done);
        recorded = done == NULL ? -1 : 1;
    }
    if (recorded < 0)
        Py_CLEAR(result);
    return result;
}

static PyMethodDef step_methods[] = {
    {"step", (PyCFunction)(void (*)(void))step_step, METH_FASTCALL | METH_KEYWORDS, step_doc},
    {NULL},
};

static PyType_Slot step_slots[] = {
    {Py_tp_doc, "Step(rows, env_step, mutex, slow, /)\n--\n\n"
                "A loop's step. rows: a `Row`; env_step(action): of the environment; mutex: a lock, held by whoever\n"
                "is at the columns; slow(action, result): records what is not usual."},
    {Py_tp_new, step_new},
    {Py_tp_dealloc, step_dealloc},
    {Py_tp_traverse, step_traverse},
    {Py_tp_clear, step_clear},
    {Py_tp_methods, step_methods},
    {0, NULL},
};

static PyType_Spec step_spec = {
    .name = "rolltape.actors._row.Step",
    .basicsize = sizeof(Step),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = step_slots,
};

/* ---- the module ----------------------------------------------------------------------------------------------- */

PyDoc_STRVAR(look_doc,
             "look(array, /)\n--\n\n"
             "What is read of an array of at least one dimension: address, dtype, shape, whether it is C-contiguous.");

static PyObject *look(PyObject *module, PyObject *array)
{
    const ArrayHead *head = (const ArrayHead *)array;
    PyObject *address = PyObject_GetAttrString(array, "nbytes"); /* raises for what is no array */
    if (address == NULL)
        return NULL;
    Py_DECREF(address);
    PyObject *shape = PyTuple_New(head->dimensions > 0 && head->dimensions <= MAX_DIMENSIONS ? head->dimensions : 0);
    if (shape == NULL)
        return NULL;
    for (Py_ssize_t i = 0; i < PyTuple_Size(shape); i++)
        PyTuple_SetItem(shape, i, PyLong_FromSsize_t(head->shape[i]));
    return Py_BuildValue("(NNNO)", PyLong_FromVoidPtr(head->data), PyLong_FromVoidPtr(head->dtype), shape,
                         head->flags & C_CONTIGUOUS ? Py_True : Py_False);
}

static int start(PyObject *module)
{
    State *state = PyModule_GetState(module);
    state->row = (PyTypeObject *)PyType_FromModuleAndSpec(module, &row_spec, NULL);
    if (state->row == NULL || PyModule_AddType(module, state->row) < 0)
        return -1;
    PyObject *step = PyType_FromModuleAndSpec(module, &step_spec, NULL);
    if (step == NULL)
        return -1;
    int added = PyModule_AddType(module, (PyTypeObject *)step);
    Py_DECREF(step);
    if (added == 0)
        added = PyModule_AddIntConstant(module, "AGREEMENT", AGREEMENT);
#ifdef CLOCK_MONOTONIC
    if (added == 0)
        added = PyModule_AddIntConstant(module, "HAS_MONOTONIC", 1);
#else
    if (added == 0)
        added = PyModule_AddIntConstant(module, "HAS_MONOTONIC", 0);
#endif
    return added;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    State *state = PyModule_GetState(module);
    Py_VISIT(state->row);
    return 0;
}

static int module_clear(PyObject *module)
{
    State *state = PyModule_GetState(module);
    Py_CLEAR(state->row);
    return 0;
}

static PyMethodDef functions[] = {{"look", look, METH_O, look_doc}, {NULL}};
static PyModuleDef_Slot slots[] = {{Py_mod_exec, start}, {0, NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "rolltape.actors._row",
    .m_doc = "The usual row of one environment, recorded without Python.",
    .m_size = sizeof(State),
    .m_methods = functions,
    .m_slots = slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
};

PyMODINIT_FUNC PyInit__row(void)
{
    return PyModuleDef_Init(&definition);
}
