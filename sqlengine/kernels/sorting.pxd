from libc.stdint cimport int64_t, uint8_t
from libcpp cimport bool as cbool
from libcpp.vector cimport vector

from sqlengine.kernels.columns cimport Column

cdef extern from "sort_keys.h" nogil:
    cdef cppclass KeyColumn:
        Column c
        cbool desc
        cbool nulls_first
    cdef cppclass KeyRows:
        uint8_t* data
        void encode(const vector[KeyColumn]& keys, int64_t n) except +
        int64_t begin(int64_t i)
        int64_t length(int64_t i)
        int64_t nbytes()
        int compare(int64_t a, const KeyRows& other, int64_t b)


cdef class SortKeys:
    cdef KeyRows rows
    cdef readonly int64_t length
