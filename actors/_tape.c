/* Recorded steps that an environment is given again, each looked at before the next is taken; `taped_pass.py` uses it.

Rules:
1. A step is as recorded where all it returns has the recorded bits and is of the types that recordings are made of.
   With the first that is not, playing ends: what differs is for Python to say.
2. Nothing is kept or copied, so that an environment may write to what it returned as it likes.
3. What is not known of a row, such as an observation that was not recorded, is not compared.

Only the limited API of Python 3.11 is used, so that one library serves 3.11 and all later versions. */

#include "_values.h"

enum { OBSERVATION, REWARD, TERMINATED, TRUNCATED, INFO, RETURNED };
enum { VALUE = 'v', NUMBER = 'n', FLAG = 'b' };

/* What one of the returned values has to be by row: as `values` say, a number, or a flag. */
typedef struct {
    char kind;
    Values values;
    Py_ssize_t first, rows; /* of the column in memory */
    Py_ssize_t places;      /* of a row, each with its own byte of `known` */
    Py_buffer known;        /* from row 0 on; none: all are known */
    char *ordered;          /* room for an array in C order */
} Column;

typedef struct {
    PyObject *key;
    Column column;
} Key;

typedef struct {
    PyObject_HEAD
    Types types;
    Column returned[INFO];
    Py_ssize_t keys;
    Key *infos;
    bool playing;
} Tape;

/* ---- comparing ------------------------------------------------------------------------------------------------ */

static bool is_known(const Column *column, Py_ssize_t row, Py_ssize_t place)
{
    const Py_ssize_t at = row * column->places + place;
    return column->known.obj == NULL || (at < column->known.len && ((const char *)column->known.buf)[at]);
}

static bool same_array(const Column *column, Py_ssize_t row, const char *recorded, const char *data)
{
    const Py_ssize_t size = column->values.size, each = size / column->places;
    if (memcmp(recorded, data, size) == 0)
        return true;
    for (Py_ssize_t place = 0; place < column->places; place++)
        if (is_known(column, row, place) && memcmp(recorded + place * each, data + place * each, each))
            return false;
    return true;
}

/* Copies an array in C order, whatever its own is; the end of what was written. */
static char *write_ordered(char *to, const char *from, const ArrayHead *head, int axis, Py_ssize_t item)
{
    if (axis == head->dimensions) {
        memcpy(to, from, item);
        return to + item;
    }
    for (Py_ssize_t i = 0; i < head->shape[axis]; i++)
        to = write_ordered(to, from + i * head->strides[axis], head, axis + 1, item);
    return to;
}

/* The bytes of an array in C order; NULL where it is not one as the column has them. */
static const char *array_bytes(const Types *types, const Column *column, PyObject *value)
{
    const Values *values = &column->values;
    const ArrayHead *head = (const ArrayHead *)value;
    Py_ssize_t item = values->size;
    if (!is_array_of(types, values, value))
        return NULL;
    if (head->flags & C_CONTIGUOUS)
        return head->data;
    for (int i = 0; i < values->dimensions; i++)
        item /= values->shape[i];
    write_ordered(column->ordered, head->data, head, 0, item);
    return column->ordered;
}

static bool same_integer(Py_ssize_t size, const char *recorded, long long value)
{
    const int64_t eight = value;
    const int32_t four = (int32_t)value;
    const int16_t two = (int16_t)value;
    const int8_t one = (int8_t)value;
    return memcmp(recorded, size == 8 ? (const void *)&eight : size == 4 ? (const void *)&four : size == 2 ? (const void *)&two : &one,
                  size) == 0;
}

/* Whether a value is the recorded one of a row, which is not negative. */
static bool is_same(const Types *types, const Column *column, Py_ssize_t row, PyObject *value)
{
    const Values *values = &column->values;
    const Py_ssize_t at = row - column->first;
    if (column->places == 1 && !is_known(column, row, 0))
        return true;
    if (at < 0 || at >= column->rows)
        return false;
    const char *recorded = (const char *)values->column.buf + at * values->size;
    const char *data;
    long long integer;
    double number;
    bool flag;
    switch (column->kind) {
    case NUMBER:
        return parse_number(types, value, &number) && memcmp(recorded, &number, 8) == 0;
    case FLAG:
        return parse_flag(types, value, &flag) && flag == (*recorded != 0);
    default:
        if (values->scalar != NULL)
            return parse_integer(values, value, &integer) && same_integer(values->size, recorded, integer);
        data = array_bytes(types, column, value);
        return data != NULL && same_array(column, row, recorded, data);
    }
}

static bool is_same_info(const Tape *self, Py_ssize_t row, PyObject *info)
{
    if (!PyDict_CheckExact(info))
        return false;
    Py_ssize_t count = 0;
    for (Py_ssize_t i = 0; i < self->keys; i++) {
        const Key *key = &self->infos[i];
        if (!is_known(&key->column, row, 0))
            continue;
        PyObject *value = PyDict_GetItemWithError(info, key->key);
        if (value == NULL) {
            PyErr_Clear();
            return false;
        }
        if (key->column.kind == NUMBER && (PyLong_CheckExact(value) || (PyObject *)Py_TYPE(value) == self->types.float32))
            return false; /* of another type than the recorded one */
        if (!is_same(&self->types, &key->column, row, value))
            return false;
        count++;
    }
    return PyDict_Size(info) == count;
}

static bool is_same_step(const Tape *self, Py_ssize_t row, PyObject *result)
{
    if (!PyTuple_CheckExact(result) || PyTuple_Size(result) != RETURNED)
        return false;
    for (int i = 0; i < INFO; i++)
        if (!is_same(&self->types, &self->returned[i], row, PyTuple_GetItem(result, i)))
            return false;
    return is_same_info(self, row, PyTuple_GetItem(result, INFO));
}

/* ---- Tape ----------------------------------------------------------------------------------------------------- */

static void forget_column(Column *column)
{
    forget_values(&column->values);
    PyBuffer_Release(&column->known);
    PyMem_Free(column->ordered);
    column->ordered = NULL;
}

static int tape_clear(Tape *self)
{
    forget_types(&self->types);
    for (int i = 0; i < INFO; i++)
        forget_column(&self->returned[i]);
    for (Py_ssize_t i = 0; i < self->keys; i++) {
        forget_column(&self->infos[i].column);
        Py_CLEAR(self->infos[i].key);
    }
    self->keys = 0;
    return 0;
}

static int tape_traverse(Tape *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE((PyObject *)self));
    VISIT_TYPES(self->types);
    for (int i = 0; i < INFO; i++) {
        VISIT_VALUES(self->returned[i].values);
        Py_VISIT(self->returned[i].known.obj);
    }
    for (Py_ssize_t i = 0; i < self->keys; i++) {
        Py_VISIT(self->infos[i].key);
        VISIT_VALUES(self->infos[i].column.values);
        Py_VISIT(self->infos[i].column.known.obj);
    }
    return 0;
}

static void tape_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    tape_clear((Tape *)self);
    PyMem_Free(((Tape *)self)->infos);
    free_object(self);
}

/* -1: an error. `args`: kind, what values have to be, column, known, places. */
static int set_column(Column *column, PyObject *args)
{
    const char *kind;
    PyObject *expected[6], *rows, *known;
    if (!PyArg_ParseTuple(args, "s(OOOOOO!)OOn:column", &kind, &expected[0], &expected[1], &expected[2], &expected[3],
                          &expected[4], &PyTuple_Type, &expected[5], &rows, &known, &column->places))
        return -1;
    column->kind = kind[0];
    if (set_values(&column->values, expected) < 0 || borrow(rows, &column->values.column, PyBUF_CONTIG_RO) < 0)
        return -1;
    if (known != Py_None && borrow(known, &column->known, PyBUF_CONTIG_RO) < 0)
        return -1;
    const Py_ssize_t size = column->values.size;
    const bool fits = kind[0] == VALUE || (kind[0] == NUMBER && size == 8) || (kind[0] == FLAG && size == 1);
    if (!fits || size < 1 || column->places < 1 || size % column->places || column->values.column.len % size) {
        PyErr_SetString(PyExc_ValueError, "kind, size, places and rows of a column do not fit");
        return -1;
    }
    column->rows = column->values.column.len / size;
    column->ordered = PyMem_Malloc(size);
    if (column->ordered == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

static int set_infos(Tape *self, PyObject *infos)
{
    const Py_ssize_t count = PyTuple_Size(infos);
    if (count < 0)
        return -1;
    self->infos = PyMem_Calloc(count ? count : 1, sizeof(Key));
    if (self->infos == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (; self->keys < count; ) {
        Key *key = &self->infos[self->keys];
        PyObject *name, *column;
        if (!PyArg_ParseTuple(PyTuple_GetItem(infos, self->keys), "UO!:info", &name, &PyTuple_Type, &column))
            return -1;
        key->key = Py_NewRef(name);
        self->keys++;
        if (set_column(&key->column, column) < 0)
            return -1;
        if (key->column.known.obj == NULL) {
            PyErr_SetString(PyExc_ValueError, "an info key says of each row whether it has it");
            return -1;
        }
    }
    return 0;
}

static PyObject *tape_new(PyTypeObject *type, PyObject *args, PyObject *named)
{
    PyObject *numpy[5], *columns[INFO], *infos;
    if (named != NULL && PyDict_Size(named)) {
        PyErr_SetString(PyExc_TypeError, "Tape() takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "(OOOOO)O!O!O!O!O!:Tape", &numpy[0], &numpy[1], &numpy[2], &numpy[3], &numpy[4],
                          &PyTuple_Type, &columns[0], &PyTuple_Type, &columns[1], &PyTuple_Type, &columns[2],
                          &PyTuple_Type, &columns[3], &PyTuple_Type, &infos))
        return NULL;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Tape *self = (Tape *)allocate(type, 0);
    if (self == NULL)
        return NULL;
    set_types(&self->types, numpy);
    for (int i = 0; i < INFO; i++)
        if (set_column(&self->returned[i], columns[i]) < 0)
            goto failed;
    if (set_infos(self, infos) == 0)
        return (PyObject *)self;
failed:
    Py_DECREF(self);
    return NULL;
}

PyDoc_STRVAR(observe_doc,
             "observe($self, observations, first, /)\n--\n\n"
             "Observations come from another array from now on; `first` is the row of its first.");

static PyObject *tape_observe(Tape *self, PyObject *args)
{
    PyObject *rows;
    Py_ssize_t first;
    Py_buffer found;
    Column *column = &self->returned[OBSERVATION];
    if (!PyArg_ParseTuple(args, "On:observe", &rows, &first))
        return NULL;
    if (self->playing) {
        PyErr_SetString(PyExc_RuntimeError, "the tape is playing");
        return NULL;
    }
    if (borrow(rows, &found, PyBUF_CONTIG_RO) < 0)
        return NULL;
    PyBuffer_Release(&column->values.column);
    column->values.column = found;
    column->first = first;
    column->rows = found.len / column->values.size;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(is_observed_doc,
             "is_observed($self, row, observation, /)\n--\n\n"
             "Whether an observation is that of a row.");

static PyObject *tape_is_observed(Tape *self, PyObject *args)
{
    Py_ssize_t row;
    PyObject *observation;
    if (!PyArg_ParseTuple(args, "nO:is_observed", &row, &observation))
        return NULL;
    if (row < 0)
        return PyErr_Format(PyExc_ValueError, "row %zd", row);
    return PyBool_FromLong(is_same(&self->types, &self->returned[OBSERVATION], row, observation));
}

PyDoc_STRVAR(play_doc,
             "play($self, step, actions, row, /)\n--\n\n"
             "Take steps, the first of which is that of `row`, until one is not as recorded.\n\n"
             "step: of an environment; actions: a list. Returns how many were as recorded, and what the last one taken\n"
             "returned (None: none was taken). Raises what `step` raises.");

static PyObject *tape_play(Tape *self, PyObject *args)
{
    PyObject *step, *actions, *result;
    Py_ssize_t row, done = 0;
    if (!PyArg_ParseTuple(args, "OO!n:play", &step, &PyList_Type, &actions, &row))
        return NULL;
    if (row < 0)
        return PyErr_Format(PyExc_ValueError, "row %zd", row);
    if (self->playing) {
        PyErr_SetString(PyExc_RuntimeError, "the tape is playing");
        return NULL;
    }
    result = Py_NewRef(Py_None);
    self->playing = true; /* what is compared stays where it is, whatever a step does */
    for (; done < PyList_Size(actions); done++) {
        PyObject *action = Py_NewRef(PyList_GetItem(actions, done));
        Py_DECREF(result);
        result = PyObject_CallFunctionObjArgs(step, action, NULL);
        Py_DECREF(action);
        if (result == NULL || !is_same_step(self, row + done, result))
            break;
    }
    self->playing = false;
    return result == NULL ? NULL : Py_BuildValue("(nN)", done, result);
}

static PyMethodDef tape_methods[] = {
    {"observe", (PyCFunction)tape_observe, METH_VARARGS, observe_doc},
    {"is_observed", (PyCFunction)tape_is_observed, METH_VARARGS, is_observed_doc},
    {"play", (PyCFunction)tape_play, METH_VARARGS, play_doc},
    {NULL},
};

static PyType_Slot tape_slots[] = {
    {Py_tp_doc,
     "Tape(numpy, observation, reward, terminated, truncated, infos, /)\n--\n\n"
     "numpy: the types ndarray, float64 and float32, and the values False_ and True_.\n"
     "The others are columns: (kind, expected, rows, known, places). kind: 'v' as `expected` says, 'n' a number, 'b' a\n"
     "flag. expected: (type of integers or None for arrays, dtype, lowest, highest, bytes of a row, shape). rows: a\n"
     "contiguous array. known: a byte a place and row, or None. infos: ((key, column), …), `known` says which rows\n"
     "have the key; a row has no other keys."},
    {Py_tp_new, tape_new},
    {Py_tp_dealloc, tape_dealloc},
    {Py_tp_traverse, tape_traverse},
    {Py_tp_clear, tape_clear},
    {Py_tp_methods, tape_methods},
    {0, NULL},
};

static PyType_Spec tape_spec = {
    .name = "rolltape.actors._tape.Tape",
    .basicsize = sizeof(Tape),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = tape_slots,
};

/* ---- the module ----------------------------------------------------------------------------------------------- */

static int start(PyObject *module)
{
    PyObject *tape = PyType_FromModuleAndSpec(module, &tape_spec, NULL);
    if (tape == NULL)
        return -1;
    int added = PyModule_AddType(module, (PyTypeObject *)tape);
    Py_DECREF(tape);
    return added;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, start}, {0, NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "rolltape.actors._tape",
    .m_doc = "Recorded steps that an environment is given again.",
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__tape(void)
{
    return PyModuleDef_Init(&definition);
}
