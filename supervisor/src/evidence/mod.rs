//! Decision records: written, chained, read, verified.
