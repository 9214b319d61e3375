//! Who runs it: the binary daybook
