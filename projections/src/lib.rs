//! What it means to a reader: rows, follow, rebuild, digests
