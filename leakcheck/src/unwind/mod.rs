//! Unwinding: return addresses of the calling thread, nothing else.
