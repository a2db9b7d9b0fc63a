/* What the parts in C read of the values that an environment returns.

The limited API has no arrays: `ArrayHead` is the beginning of NumPy's arrays, which its ABI keeps. `look` in `_row.c`
shows what is read there; `compiled_rows.py` compares it with what NumPy says before anything else is called. */

#ifndef ROLLTAPE_VALUES_H
#define ROLLTAPE_VALUES_H

#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030B0000
#endif
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define MAX_DIMENSIONS 64
#define C_CONTIGUOUS 1

typedef struct {
    PyObject_HEAD
    char *data;
    int dimensions;
    Py_ssize_t *shape;
    Py_ssize_t *strides;
    PyObject *base;
    PyObject *dtype;
    int flags;
} ArrayHead;

/* What one value has to be: an integer of a type, or an array. */
typedef struct {
    PyObject *scalar; /* the type of NumPy integers; NULL: an array */
    PyObject *dtype;
    long long low, high;
    int dimensions;
    Py_ssize_t shape[MAX_DIMENSIONS];
    Py_ssize_t size;
    Py_buffer column;
} Values;

/* Types of NumPy, its False and its True. */
typedef struct {
    PyObject *array, *float64, *float32, *no, *yes;
} Types;

#define VISIT_VALUES(values)          \
    do {                              \
        Py_VISIT((values).scalar);    \
        Py_VISIT((values).dtype);     \
        Py_VISIT((values).column.obj); \
    } while (0)
#define VISIT_TYPES(types)           \
    do {                             \
        Py_VISIT((types).array);     \
        Py_VISIT((types).float64);   \
        Py_VISIT((types).float32);   \
        Py_VISIT((types).no);        \
        Py_VISIT((types).yes);       \
    } while (0)

/* ---- looking -------------------------------------------------------------------------------------------------- */

static bool is_array_of(const Types *types, const Values *values, PyObject *value)
{
    const ArrayHead *head = (const ArrayHead *)value;
    if ((PyObject *)Py_TYPE(value) != types->array || head->dtype != values->dtype ||
        head->dimensions != values->dimensions)
        return false;
    for (int i = 0; i < values->dimensions; i++)
        if (head->shape[i] != values->shape[i])
            return false;
    return true;
}

static bool parse_integer(const Values *values, PyObject *value, long long *found)
{
    int overflow = 0;
    if (PyLong_CheckExact(value)) {
        *found = PyLong_AsLongLongAndOverflow(value, &overflow);
        return !overflow && *found >= values->low && *found <= values->high;
    }
    if ((PyObject *)Py_TYPE(value) != values->scalar)
        return false;
    PyObject *index = PyNumber_Index(value);
    if (index == NULL) {
        PyErr_Clear();
        return false;
    }
    *found = PyLong_AsLongLongAndOverflow(index, &overflow);
    Py_DECREF(index);
    return !overflow;
}

static bool parse_number(const Types *types, PyObject *value, double *found)
{
    PyObject *kind = (PyObject *)Py_TYPE(value);
    if (!PyFloat_CheckExact(value) && kind != types->float64 && kind != types->float32 && !PyLong_CheckExact(value))
        return false;
    *found = PyFloat_AsDouble(value);
    if (*found == -1.0 && PyErr_Occurred()) {
        PyErr_Clear();
        return false;
    }
    return true;
}

static bool parse_flag(const Types *types, PyObject *value, bool *found)
{
    *found = value == Py_True || value == types->yes;
    return *found || value == Py_False || value == types->no;
}

/* ---- keeping -------------------------------------------------------------------------------------------------- */

static void set_types(Types *types, PyObject *const *args)
{
    types->array = Py_NewRef(args[0]);
    types->float64 = Py_NewRef(args[1]);
    types->float32 = Py_NewRef(args[2]);
    types->no = Py_NewRef(args[3]);
    types->yes = Py_NewRef(args[4]);
}

static void forget_types(Types *types)
{
    Py_CLEAR(types->array);
    Py_CLEAR(types->float64);
    Py_CLEAR(types->float32);
    Py_CLEAR(types->no);
    Py_CLEAR(types->yes);
}

/* Bytes of one item of a dtype; -1: an error. */
static Py_ssize_t item_bytes(PyObject *dtype)
{
    PyObject *said = PyObject_GetAttrString(dtype, "itemsize");
    Py_ssize_t bytes = said == NULL ? -1 : PyLong_AsSsize_t(said);
    Py_XDECREF(said);
    return bytes;
}

static int set_values(Values *values, PyObject *const *args)
{
    if (args[0] != Py_None)
        values->scalar = Py_NewRef(args[0]);
    values->dtype = Py_NewRef(args[1]);
    values->low = PyLong_AsLongLong(args[2]);
    values->high = PyLong_AsLongLong(args[3]);
    values->size = PyLong_AsSsize_t(args[4]);
    Py_ssize_t dimensions = PyTuple_Size(args[5]);
    if (PyErr_Occurred())
        return -1;
    if (dimensions > MAX_DIMENSIONS) {
        PyErr_Format(PyExc_ValueError, "at most %d dimensions, not %zd", MAX_DIMENSIONS, dimensions);
        return -1;
    }
    values->dimensions = (int)dimensions;
    Py_ssize_t bytes = item_bytes(values->dtype);
    for (Py_ssize_t i = 0; bytes >= 0 && i < dimensions; i++) {
        Py_ssize_t length = values->shape[i] = PyLong_AsSsize_t(PyTuple_GetItem(args[5], i));
        bytes = length < 0 || (length && bytes > PY_SSIZE_T_MAX / length) ? -1 : bytes * length;
    }
    if (PyErr_Occurred())
        return -1;
    bool known = dimensions == 0 && (bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8);
    if (bytes < 0 || bytes != values->size || (values->scalar != NULL && !known)) {
        PyErr_SetString(PyExc_ValueError, "size and shape of a value do not fit");
        return -1;
    }
    return 0;
}

static void forget_values(Values *values)
{
    Py_CLEAR(values->scalar);
    Py_CLEAR(values->dtype);
    PyBuffer_Release(&values->column);
}

/* Not of a memoryview: the collector may clear one that is lent on, and its end then crashes. */
static int borrow(PyObject *memory, Py_buffer *found, int flags)
{
    if (PyMemoryView_Check(memory)) {
        PyErr_SetString(PyExc_TypeError, "an array is needed, not a memoryview");
        return -1;
    }
    return PyObject_GetBuffer(memory, found, flags);
}

static void free_object(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

#endif
