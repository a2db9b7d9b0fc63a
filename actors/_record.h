/* One row of one environment: looked at as a whole, then written to the columns of the open fragment.

Rules:
1. What is not exactly as expected is left to Python (`SingleRows.step`) untouched: here a row is recorded whole or not
   at all. All is looked at first and written afterwards; nothing in between runs Python or lets go of the interpreter.
   Infos are made before that, as they wake the collector of cycles, and looked up again.
2. There is one count of rows, `Row.rows`. Python reads and writes it, and the other fields, as attributes.

Only the limited API of Python 3.11 is used, so that one library serves 3.11 and all later versions. */

#ifndef ROLLTAPE_RECORD_H
#define ROLLTAPE_RECORD_H

#include "_film.h"
#include "_values.h"
#include <time.h>

#define MOST_KEYS 16

typedef struct {
    PyObject_HEAD
    Py_ssize_t rows, limit, t_before, noted;
    long long before, episode;
    char open, crowded, bulky;
    PyObject *info_keys; /* by key a list of what was noted of it: row, value, kind */
    PyObject *kinds[3];  /* of int, float and bool */
    Py_ssize_t noted_most;
    bool pictures; /* observations go to the film */
    Film film;
    PyObject *oldest_ns, *ends;
    bool ready;
    Py_ssize_t capacity;
    Py_buffer words, rewards, times;
    Py_ssize_t steps_word;
    Types types;
    PyObject *counter;                        /* NULL: CLOCK_MONOTONIC */
    Values action, observation;
} Row;

/* A value that has been looked at and not yet been written. */
typedef struct {
    const char *data; /* of an array */
    long long integer;
} Value;

/* A row of them. */
typedef struct {
    Value action, observation;
    double reward;
    bool terminated, truncated;
    Py_ssize_t infos;
    PyObject *lists[MOST_KEYS]; /* where each info goes; borrowed */
} Parsed;

/* The infos of a row as they are noted. They are made first, because that may wake the collector of cycles. */
typedef struct {
    Py_ssize_t count;
    PyObject *keys[MOST_KEYS], *cells[MOST_KEYS];
} Infos;

/* ---- looking -------------------------------------------------------------------------------------------------- */

static const char *array_data(const Types *types, const Values *values, PyObject *value)
{
    const ArrayHead *head = (const ArrayHead *)value;
    return is_array_of(types, values, value) && head->flags & C_CONTIGUOUS ? head->data : NULL;
}

static bool parse_value(const Types *types, const Values *values, PyObject *value, Value *found)
{
    if (values->scalar != NULL)
        return parse_integer(values, value, &found->integer);
    found->data = array_data(types, values, value);
    return found->data != NULL;
}

static bool has_room(const Row *self)
{
    return self->ready && self->open && !self->crowded && self->oldest_ns != NULL && self->oldest_ns != Py_None &&
           self->rows >= 0 && self->rows < self->limit - 1 && self->rows < self->capacity;
}

static PyObject *kind_of(const Row *self, PyObject *value)
{
    int overflow = 0;
    if (PyLong_CheckExact(value)) {
        PyLong_AsLongLongAndOverflow(value, &overflow);
        return overflow ? NULL : self->kinds[0];
    }
    return PyFloat_CheckExact(value) ? self->kinds[1] : PyBool_Check(value) ? self->kinds[2] : NULL;
}

static void forget_infos(Infos *infos)
{
    for (Py_ssize_t i = 0; i < infos->count; i++) {
        Py_DECREF(infos->keys[i]);
        Py_DECREF(infos->cells[i]);
    }
    infos->count = 0;
}

/* 1: made; 0: not for here; -1: an error. */
static int make_infos(const Row *self, PyObject *info, Infos *infos)
{
    Py_ssize_t place = 0;
    PyObject *key, *value;
    infos->count = 0;
    if (!PyDict_CheckExact(info))
        return 0;
    const Py_ssize_t size = PyDict_Size(info);
    if (size > MOST_KEYS || (size && self->noted + size > self->noted_most))
        return 0;
    while (PyDict_Next(info, &place, &key, &value)) {
        PyObject *kind = PyUnicode_CheckExact(key) ? kind_of(self, value) : NULL;
        PyObject *cell = kind == NULL || infos->count == MOST_KEYS ? NULL : Py_BuildValue("(nOO)", self->rows, value, kind);
        if (cell == NULL) {
            forget_infos(infos);
            return PyErr_Occurred() ? -1 : 0;
        }
        infos->keys[infos->count] = Py_NewRef(key);
        infos->cells[infos->count++] = cell;
    }
    return 1;
}

/* Whether each info's key is known already; where what was noted of it is, goes to `found`. */
static bool find_infos(const Row *self, PyObject *info, const Infos *infos, Parsed *found)
{
    found->infos = infos->count;
    if (!PyDict_CheckExact(info) || PyDict_Size(info) != infos->count)
        return false;
    if (infos->count && (self->info_keys == NULL || !PyDict_CheckExact(self->info_keys)))
        return false;
    for (Py_ssize_t i = 0; i < infos->count; i++) {
        found->lists[i] = PyDict_GetItemWithError(self->info_keys, infos->keys[i]);
        if (found->lists[i] == NULL || !PyList_CheckExact(found->lists[i])) {
            PyErr_Clear();
            return false;
        }
    }
    return true;
}

/* Whether the row is one for here; nothing is changed. `values` are observation, reward, terminated, truncated, info. */
static bool parse(const Row *self, PyObject *action, PyObject *const *values, const Infos *infos, Parsed *found)
{
    if (!has_room(self) || (self->pictures && !film_has_room(&self->film, self->observation.size)) ||
        !parse_flag(&self->types, values[2], &found->terminated) ||
        !parse_flag(&self->types, values[3], &found->truncated))
        return false;
    const bool ended = found->terminated || found->truncated;
    if (ended && (self->bulky || self->pictures || self->ends == NULL || !PyList_CheckExact(self->ends)))
        return false; /* what an episode takes may make the fragment full */
    return find_infos(self, values[4], infos, found) &&
           parse_value(&self->types, &self->action, action, &found->action) &&
           parse_value(&self->types, &self->observation, values[0], &found->observation) &&
           parse_number(&self->types, values[1], &found->reward);
}

/* ---- writing -------------------------------------------------------------------------------------------------- */

static bool read_counter(const Row *self, int64_t *now)
{
#ifdef CLOCK_MONOTONIC
    if (self->counter == NULL) {
        struct timespec t;
        if (clock_gettime(CLOCK_MONOTONIC, &t) != 0)
            return false;
        *now = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
        return true;
    }
#endif
    if (self->counter == NULL)
        return false;
    PyObject *value = PyObject_CallFunctionObjArgs(self->counter, NULL);
    if (value == NULL)
        return false;
    *now = PyLong_AsLongLong(value);
    Py_DECREF(value);
    return !(*now == -1 && PyErr_Occurred());
}

static void write_value(const Values *values, Py_ssize_t row, const Value *value)
{
    char *at = (char *)values->column.buf + row * values->size;
    if (values->scalar == NULL)
        memcpy(at, value->data, values->size);
    else if (values->size == 8)
        *(int64_t *)at = value->integer;
    else if (values->size == 4)
        *(int32_t *)at = (int32_t)value->integer;
    else if (values->size == 2)
        *(int16_t *)at = (int16_t)value->integer;
    else
        *(int8_t *)at = (int8_t)value->integer;
}

/* -1: an error, and what was noted of other keys is for Python to take back. */
static int write_infos(Row *self, const Infos *infos, const Parsed *found)
{
    for (Py_ssize_t i = 0; i < infos->count; i++)
        if (PyList_Append(found->lists[i], infos->cells[i]) < 0)
            return -1;
    self->noted += infos->count;
    return 0;
}

static void write_row(Row *self, const Parsed *found, int64_t now)
{
    Py_ssize_t row = self->rows;
    write_value(&self->action, row, &found->action);
    if (self->pictures)
        film_add(&self->film, found->observation.data, self->observation.size, self->episode, self->t_before + row + 1);
    else
        write_value(&self->observation, row + 1, &found->observation);
    ((double *)self->rewards.buf)[row] = found->reward;
    ((int64_t *)self->times.buf)[row] = now;
    ((volatile int64_t *)self->words.buf)[self->steps_word] = self->before + row + 1;
    self->rows = row + 1;
}

static int note_end(Row *self, const Parsed *found)
{
    PyObject *end = PyLong_FromSsize_t(self->rows << 2 | found->terminated << 1 | found->truncated);
    int failed = end == NULL ? -1 : PyList_Append(self->ends, end);
    Py_XDECREF(end);
    return failed;
}

static int end_episode(Row *self, const Parsed *found)
{
    PyObject *done = PyObject_CallMethod((PyObject *)self, "_end", "sOO", "completed",
                                         found->terminated ? Py_True : Py_False,
                                         found->truncated ? Py_True : Py_False);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* As `record`, with the infos of the row. */
static int record_with(Row *self, PyObject *action, PyObject *const *values, const Infos *infos)
{
    Parsed found;
    int64_t now;
    if (!parse(self, action, values, infos, &found))
        return 0;
    Py_ssize_t row = self->rows;
    if (!read_counter(self, &now))
        return PyErr_Occurred() ? -1 : 0;
    if (self->counter != NULL && (self->rows != row || !parse(self, action, values, infos, &found)))
        return 0; /* it was somebody's own function, and may have done anything */
    bool ended = found.terminated || found.truncated;
    if (ended && note_end(self, &found) < 0)
        return -1;
    if (write_infos(self, infos, &found) < 0)
        return -1;
    write_row(self, &found, now);
    return ended && end_episode(self, &found) < 0 ? -1 : 1;
}

/* 1: recorded; 0: not one for here; -1: the counter or the end raised. Nobody else may touch the columns. */
static int record(Row *self, PyObject *action, PyObject *const *values)
{
    Infos infos = {0};
    Py_ssize_t row = self->rows;
    int made = has_room(self) ? make_infos(self, values[4], &infos) : 0;
    int recorded = made < 0 ? -1 : made && self->rows == row ? record_with(self, action, values, &infos) : 0;
    forget_infos(&infos);
    return recorded;
}

#endif
