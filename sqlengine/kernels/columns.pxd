from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libcpp cimport bool as cbool
from libcpp.vector cimport vector


cdef extern from "columns.h" nogil:
    cdef cppclass Column:
        int kind
        int width
        const uint8_t* valid
        const uint8_t* data
        const uint8_t* bytes
        int64_t offset
        int64_t length
    void hash_column(const Column& c, uint64_t* out, cbool first)


cdef Column view(object array) except *
cdef vector[Column] views(object columns) except *
